"""What a line last said of its state, and whether the broker has been told."""

from __future__ import annotations

import threading

from edge.clock import utc_now
from edge.messages import LineStatus, State, StatusAlarm


class CurrentStatus:
    """Of one line. Any thread may call it; nothing in it waits."""

    def __init__(self, line: str, node: str, version: str) -> None:
        self._lock = threading.Lock()
        self._status = LineStatus(line=line, state="starting", since=utc_now(), node=node, version=version)
        self._unsaid = self._ended = False

    @property
    def unsaid(self) -> bool:
        """Whether there is something to say on this connection."""
        return self._unsaid

    def change(
        self,
        state: State,
        reason: str | None,
        remedy: str | None = None,
        generation: int | None = None,
        alarms: tuple[StatusAlarm, ...] = (),
        *,
        last: bool = False,
    ) -> bool:
        """Notes it; whether there is something new to say. After the `last` there is not."""
        with self._lock:
            if self._ended:
                return False
            self._ended = last
            changed = self._status.model_copy(
                update={
                    "state": state,
                    "reason": reason,
                    "since": self._status.since if state == self._status.state else utc_now(),
                    "remedy": remedy,
                    "generation": self._status.generation if generation is None else generation,
                    "alarms": alarms,
                }
            )
            if changed == self._status:
                return False
            self._status, self._unsaid = changed, True
            return True

    def repeat(self) -> None:
        """It is to be said again: the connection is another."""
        with self._lock:
            self._unsaid = True

    def to_say(self) -> bytes | None:
        """What to say, once."""
        with self._lock:
            if not self._unsaid:
                return None
            self._unsaid = False
            return self._status.to_json()

    def last_will(self) -> bytes:
        """What the broker says when the connection is lost."""
        reason = "connection lost; it had been made at `since`"
        with self._lock:
            will = {"state": "offline", "since": utc_now(), "reason": reason, "remedy": None, "alarms": ()}
            return self._status.model_copy(update=will).to_json()
