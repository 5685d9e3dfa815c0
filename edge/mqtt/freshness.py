"""Tells messages that waited at the broker from new ones."""

from __future__ import annotations

import secrets

BACK_S = 2.0
"""The marker comes back within so many seconds, if no old message holds it up."""
LONGEST_S = 30.0
"""Old messages hold it up for so many seconds at most."""
HELD_S = 1.0
"""A broker may keep messages back while one has not been acknowledged for longer than this, seconds."""


class Marker:
    """Of one connection: a message that the service sends to itself. Brokers keep the order, so what comes before it
    may have waited, and what comes after it has not.

    One is sent where the broker resumed a session, for what it kept while the service was away; and where messages were
    acknowledged late, for what it may have kept back meanwhile. Times are of the monotonic clock.
    """

    def __init__(self, resumed: bool, now: float) -> None:
        self._expected: bytes | None = None
        self._unsent = False
        self._began = self._due = now
        self._open: dict[int, float] = {}  # messages that are not acknowledged, and since when
        if resumed:
            self._ask()

    def to_send(self, now: float) -> bytes | None:
        """The marker, once, if there is one to send."""
        if not self._unsent:
            return None
        self._unsent = False
        self._began, self._due = now, now + BACK_S
        return self._expected

    def came(self, payload: bytes) -> None:
        """A marker has come; those of earlier connections mean nothing."""
        if payload == self._expected:
            self._expected = None

    def is_old(self, now: float) -> bool:
        """Whether a message that comes now may have waited."""
        if not self.sorting(now):
            return False
        self._due = min(now + BACK_S, self._began + LONGEST_S)  # there may be more of them before the marker
        return True

    def sorting(self, now: float) -> bool:
        """Whether the marker is still to come. One that is overdue is not waited for."""
        return self._expected is not None and (self._unsent or now < self._due or self._held(now))

    def overdue(self, now: float) -> bool:
        """Whether the marker should have come back."""
        return self._expected is not None and not self.sorting(now)

    def hold(self, mid: int, now: float) -> None:
        """A message came, and is to be acknowledged later."""
        self._open[mid] = now

    def let_go(self, mid: int, now: float) -> bool:
        """It is acknowledged now; whether there is a marker to send."""
        if now - self._open.pop(mid, now) > HELD_S:
            if self._expected is None:
                self._ask()
                return True
            self._began, self._due = now, now + BACK_S
        return False

    def _held(self, now: float) -> bool:
        return now - min(self._open.values(), default=now) > HELD_S

    def _ask(self) -> None:
        self._expected, self._unsent = secrets.token_hex(8).encode(), True
