"""What a line last said of its state, and whether the broker has been told."""

from __future__ import annotations

import threading

from edge.clock import utc_now
from edge.messages import ActiveRecipe, LineHealth, LineStatus, StatusAlarm


class CurrentStatus:
    """Of one line. Any thread may call it; nothing in it waits."""

    def __init__(self, line: str, node: str, version: str) -> None:
        self._lock = threading.Lock()
        self._status = LineStatus(
            line=line, state="starting", level="warning", since=utc_now(), node=node, version=version
        )
        self._unsaid = self._ended = False

    @property
    def unsaid(self) -> bool:
        """Whether there is something to say on this connection."""
        return self._unsaid

    def change(
        self,
        health: LineHealth,
        generation: int | None = None,
        alarms: tuple[StatusAlarm, ...] = (),
        recipe: ActiveRecipe | None = None,
        *,
        last: bool = False,
    ) -> bool:
        """Notes it; whether there is something new to say. After the `last` there is not."""
        with self._lock:
            if self._ended:
                return False
            self._ended = last
            changed = self._status.model_copy(
                update=dict(health)
                | {
                    "since": self._status.since if health.state == self._status.state else utc_now(),
                    "generation": self._status.generation if generation is None else generation,
                    "alarms": alarms,
                    "recipe": recipe or self._status.recipe,
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
        lost = LineHealth(
            state="offline",
            level="fault",
            reason="connection lost; it had been made at `since`",
            remedy="look after the box, its service and its network",
        )
        with self._lock:
            will = self._status.model_copy(update=dict(lost) | {"since": utc_now(), "alarms": ()})
        return will.to_json()
