"""Verdicts that wait on disk, oldest first, no faster than a broker that comes back should have them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection
from datetime import datetime

from edge.clock import monotonic, utc_now
from edge.settings import MqttSettings
from edge.storage.outbox import Outbox, Waiting

_BATCH = 64  # verdicts read from disk at a time


class Backlog:
    """Verdicts of a line that wait on disk. For one thread, but any may call `again`, set `behind` and read `more`."""

    def __init__(self, outbox: Outbox, line: str, settings: MqttSettings) -> None:
        self.behind = True
        """Whether there may be some on disk that were not read yet; the last run may have left them."""
        self._outbox = outbox
        self._line = line
        self._late_s = settings.historical_after_s
        self._pause = 1 / settings.replay_rate
        self._batch: deque[Waiting] = deque()
        self._began_anew = False
        self._due = 0.0

    @property
    def more(self) -> bool:
        """Whether there may be one to send."""
        return self.behind or bool(self._batch)

    def again(self) -> None:
        """What was on its way is behind again, and older than what was read last."""
        self._began_anew = self.behind = True

    def next(self, besides: Collection[str], last: int) -> Waiting | None:
        """The verdict to send next, none of `besides` nor beyond the sequence number `last`; None: nothing is behind.

        It stays the next one until `sent`. Raises what the outbox raises.
        """
        if self._began_anew:
            self._began_anew = False
            self._batch.clear()
            self.behind = True  # `again` may have come in the midst of the last call
        if not self._batch and self.behind:
            self.behind = False  # before it looks: what comes behind meanwhile says so
            not_there_yet = self._outbox.keeps(self._line)  # given without the disk, so that it will be behind then
            try:
                found = self._outbox.waiting(self._line, _BATCH, besides)
            except BaseException:
                self.behind = True
                raise
            self._batch.extend(verdict for verdict in found if verdict.seq <= last)
            if not_there_yet or (self._batch and len(found) == _BATCH):
                self.behind = True
        return self._batch[0] if self._batch else None

    def due(self, verdict: Waiting) -> float:
        """When it may be sent, on the monotonic clock: late ones go no faster than the settings say."""
        return self._due if is_late(verdict.issued_at, self._late_s) else 0.0

    def sent(self, verdict: Waiting) -> None:
        """It is on its way."""
        self._batch.popleft()
        if is_late(verdict.issued_at, self._late_s):
            self._due = monotonic() + self._pause


def is_late(issued_at: datetime, late_s: float) -> bool:
    """Whether a verdict that is sent now is historical; one from the future is, since the clock was set back."""
    return abs((utc_now() - issued_at).total_seconds()) > late_s


def marked(payload: bytes) -> bytes:
    """A verdict's JSON, said to be historical."""
    return json.dumps(json.loads(payload) | {"historical": True}, ensure_ascii=False, separators=(",", ":")).encode()
