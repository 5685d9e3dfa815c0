"""Topics of which the broker has refused the last message."""

from __future__ import annotations

import threading

from edge.ops.alarms import Alarms
from edge.topics import ANOMALY, Topic


class Refusals:
    """Of one line. Any thread may call it, under any lock; except `look`, which raises the alarms."""

    def __init__(self, line: str, alarms: Alarms) -> None:
        self._line = line
        self._alarms = alarms
        self._lock = threading.Lock()
        self._messages: dict[Topic, str | None] = {}

    def note(self, topic: Topic, message: str | None) -> bool:
        """What became of a message: why it was refused, None if it was taken; whether that is news."""
        with self._lock:
            before, self._messages[topic] = self._messages.get(topic), message
        return before != message

    def look(self) -> None:
        """Raises the alarms, or ends them; to be called now and then."""
        with self._lock:
            messages = tuple(self._messages.items())
        for topic, message in messages:
            code = "verdicts_refused" if topic is ANOMALY else "broker_topic"
            self._alarms.set(code, message, self._line, about=topic.pattern)
