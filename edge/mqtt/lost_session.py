"""Says that the broker has not kept a line's session: what waited there is lost, and nobody else would notice."""

from __future__ import annotations

import threading
from datetime import datetime

from edge.clock import iso_ms, monotonic, utc_now
from edge.ops.alarms import Alarms

TELL_S = 8 * 3600.0
"""The alarm lasts for a shift, so that somebody reads it."""


TAKEN_OVER = "another client took the line's id, and its session with it"
GIVEN_UP = "the broker kept a message that cannot be read, so that the session was given up"
_FORGOTTEN = (
    "the broker has not kept the line's session: another client may have the line's id (the broker's log names it), or "
    "the broker was started anew without `persistence true`, or the service was away for longer than it keeps sessions"
)


class LostSession:
    """Of one line. Any thread may call it, under any lock; except `look`, which raises the alarm."""

    def __init__(self, line: str, alarms: Alarms) -> None:
        self._line = line
        self._alarms = alarms
        self._lock = threading.Lock()
        self._since: datetime | None = None
        self._message: str | None = None
        self._until = 0.0  # on the monotonic clock

    def note(self, since: datetime | None, why: str | None) -> None:
        """A connection was made, and what should have waited for it did not, or not all of it.

        Args:
            since: When the line last had a connection; None: not known.
            why: In words, as far as it is known.
        """
        with self._lock:
            if self._message is None:
                self._since = since
            began = "an earlier run" if self._since is None else iso_ms(self._since)
            self._message = (
                f"triggers may have been lost since {began}, up to {iso_ms(utc_now())}: {why or _FORGOTTEN}; "
                f"send those again that have no answer (this is said for {TELL_S / 3600:g} hours)"
            )
            self._until = monotonic() + TELL_S

    def look(self) -> None:
        """Raises the alarm, or ends it when its time is over; to be called now and then."""
        with self._lock:
            if self._message is not None and monotonic() >= self._until:
                self._message = None
            message = self._message
        self._alarms.set("broker_session", message, self._line)
