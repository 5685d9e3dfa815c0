"""How long a message may have waited at the broker before it came."""

from __future__ import annotations

import secrets

BACK_S = 2.0
"""The sync message comes back within so many seconds, if no old message holds it up."""
LONGEST_S = 30.0
"""Old messages hold it up for so many seconds at most."""
HELD_S = 1.0
"""A broker may keep messages back while one has not been acknowledged for longer than this, seconds."""


class Freshness:
    """Of one connection. The service sends a sync message to itself. Brokers keep the order: what comes before it may
    have waited, and what comes after it has not.

    One is sent where the broker resumed a session, for what it kept while the service was away; and where messages were
    acknowledged late, for what it may have kept back meanwhile. Times are of the monotonic clock.
    """

    def __init__(self, resumed: bool, now: float, away_s: float) -> None:
        """`away_s`: for how long the broker may have kept messages before this connection; infinite if not known."""
        self._expected: bytes | None = None
        self._unsent = False
        self._began = self._due = now
        self._kept_since = now - away_s
        self._open: dict[int, float] = {}  # messages that are not acknowledged, and since when
        if resumed:
            self._ask()

    def to_send(self, now: float) -> bytes | None:
        """The sync message, once, if there is one to send."""
        if not self._unsent:
            return None
        self._unsent = False
        self._began, self._due = now, now + BACK_S
        return self._expected

    def came(self, payload: bytes) -> bool:
        """A sync message has come; whether it is the expected one. Those of earlier connections mean nothing."""
        if self._expected is None or payload != self._expected:
            return False
        self._expected = None
        return True

    def waited_s(self, now: float) -> float:
        """For how long a message that comes now may have waited, at most."""
        if not self.sorting(now):
            return 0.0
        self._due = min(now + BACK_S, self._began + LONGEST_S)  # there may be more of them before the sync message
        return now - self._kept_since

    def sorting(self, now: float) -> bool:
        """Whether the sync message is still to come. One that is overdue is not waited for."""
        return self._expected is not None and (self._unsent or now < self._due or self._held(now))

    def overdue(self, now: float) -> bool:
        """Whether the sync message should have come back."""
        return self._expected is not None and not self.sorting(now)

    def hold(self, packet: int, now: float) -> None:
        """A message came, and is to be acknowledged later."""
        self._open[packet] = now

    def let_go(self, packet: int, now: float) -> bool:
        """It is acknowledged now; whether there is a sync message to send."""
        since = self._open.pop(packet, now)
        if now - since > HELD_S:
            if self._expected is None:
                self._kept_since = since
                self._ask()
                return True
            self._began, self._due = now, now + BACK_S
        return False

    def _held(self, now: float) -> bool:
        return now - min(self._open.values(), default=now) > HELD_S

    def _ask(self) -> None:
        self._expected, self._unsent = secrets.token_hex(8).encode(), True
