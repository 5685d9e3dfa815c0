"""A line's counters and latencies."""

from __future__ import annotations

import math
from collections import Counter, deque

from edge.inspection.judging import Judging
from edge.messages import LatencySummary, Verdict

_LATENCIES = 4096  # verdicts that the percentiles of one stats message look back on, at most


class Counters:
    """Counts what one line does; fed by its threads, read by any."""

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        """By kind."""
        self.dropped = 0
        """Frames passed over for newer ones."""
        self.triggers = 0
        """Triggers that came."""
        self.unkept = 0
        """Verdicts without a place on disk."""
        self.in_review = 0
        """Parts that wait for a person's review, as far as is known without asking the disk."""
        self.judging = Judging()
        """Whether parts are judged at all."""
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)

    def issued(self, verdict: Verdict, *, kept: bool = False) -> None:
        """Counts a verdict; `kept`: its trigger had waited at the broker."""
        self.judging.note(verdict, kept=kept)
        self.verdicts[verdict.verdict] += 1
        self.in_review += verdict.review
        if verdict.timing_ms is not None:
            self._latencies.append(verdict.timing_ms.total)

    def by_kind(self) -> dict[str, int]:
        """The verdicts of each kind, since the service started."""
        return {kind: self.verdicts[kind] for kind in ("normal", "anomaly", "error")}

    def latencies(self) -> LatencySummary | None:
        """Nearest-rank percentiles of the latencies since the last call, milliseconds."""
        taken = sorted(self._latencies)
        self._latencies.clear()
        if not taken:
            return None
        p50, p99 = (taken[math.ceil(p * len(taken)) - 1] for p in (0.50, 0.99))
        return LatencySummary(p50=p50, p99=p99, max=taken[-1])
