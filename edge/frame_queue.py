"""Frames that wait for a pass: which of them go into the next one, and which cannot be ready in time any more."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.image import Rgb
from core.tiles import WHOLE, Tiling
from edge.pass_times import PassTimes

if TYPE_CHECKING:
    from core.bank.tiled_index import AnyIndex
    from core.inspector import AnyInspector, Texts
    from edge.inference import Scored

_REMEMBERED = 0.99  # of a line's share, with each frame that is begun: shares are those of about the last hundred


@dataclass(eq=False)
class Job:
    """A frame and its result to come.

    Attributes:
        inspector: The method that it is judged by.
        due: When the result has to be there, seconds of `edge.clock.monotonic`; infinite where that does not matter.
        alone: It was in a pass that failed, and now has one of its own: others are not to fail with it.
        tiling: How the frame is cut.
        threshold: Of the recipe.
    """

    inspector: AnyInspector
    image: Rgb
    text: Texts
    index: AnyIndex | None
    line: str
    due: float
    submitted: float
    result: Future[Scored]
    alone: bool = False
    tiling: Tiling = WHOLE
    threshold: float = math.inf

    @property
    def rows(self) -> int:
        """Rows of the pass that it takes: each tile is one."""
        return self.tiling.count


class FrameQueue:
    """Frames by line. Guarded by its owner's lock.

    - A pass is of one method: frames of others wait for the next one.
    - A frame that cannot be ready when it is due is given up, and never begun.
    - While all others can be ready, the one that is due first is next, and those that are never due come last.
    - Where they cannot, as few as possible give way: the oldest of the line that was served most of late. So each line
      has its share whatever the others ask for, and those that are begun have time to spare.
    """

    def __init__(self, batch: int, times: Mapping[AnyInspector, PassTimes]) -> None:
        """Empty.

        Args:
            batch: The most rows in a pass, unless one frame has more.
            times: How long a pass takes by each method.
        """
        self._batch = batch
        self._times = times
        self._rows: dict[str, int] = {}  # of the latest frame of each line
        self._lines: dict[str, list[Job]] = {}  # of each line those that are due first come first
        self._shares: dict[str, float] = {}  # how many frames of each line were begun of late

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, job: Job) -> None:
        """One more frame waits."""
        self._batch = max(self._batch, job.rows)
        self._rows[job.line] = job.rows
        insort(self._lines.setdefault(job.line, []), job, key=lambda other: other.due)
        self._shares.setdefault(job.line, 0.0)

    def put_back(self, jobs: list[Job]) -> None:
        """The pass of `jobs` has failed: each is to have one of its own, and that one did not count."""
        for job in jobs:
            job.alone = True
            self.add(job)
            self._shares[job.line] -= 1

    def clear(self) -> list[Job]:
        """Takes all that wait."""
        left = [job for jobs in self._lines.values() for job in jobs]
        self._lines.clear()
        return left

    def take(self, now: float, pause: float, *, doubt: bool) -> tuple[list[Job], list[Job]]:
        """The frames of a pass that begins now, none if none waits; and those that are given up.

        Args:
            now: Seconds of `edge.clock.monotonic`.
            pause: Seconds between this pass and the next, in which the device does something else.
            doubt: The durations may hold no more: rather than none, a frame is begun that they say is too late.
        """
        given_up = self._too_late(now, known=not doubt)
        jobs = self._in_order()
        if not doubt and self._any_late(jobs, now, pause):
            jobs, giving_way = self._make_way(jobs, now, pause)
            given_up += giving_way
        batch = self._choose(jobs, now)
        if not batch and jobs:
            batch = [max(jobs, key=lambda job: job.due)]
        for job in batch:
            self._lines[job.line].remove(job)
            for line in self._shares:
                self._shares[line] *= _REMEMBERED
            self._shares[job.line] += 1
        end = now + self.typical(batch) + pause
        return batch, given_up + self._too_late(end)

    def typical(self, batch: Sequence[Job]) -> float:
        """What a pass of these frames, all of one method, takes on average, seconds; 0 of none."""
        return self._times[batch[0].inspector].typical(rows_of(batch)) if batch else 0.0

    def cautious(self, job: Job) -> float:
        """What a pass of this frame alone seldom exceeds, seconds."""
        return self._times[job.inspector].cautious(job.rows)

    def ready_at(self, inspector: AnyInspector, line: str, start: float, pause: float) -> float:
        """When a frame of `line` that came now would be ready at the earliest, if the device is free at `start`.

        That is after one frame of each line that was served less of late; all others give way where they have to.
        """
        share = self._shares.get(line, 0.0)
        ahead = [jobs[0] for other, jobs in self._lines.items() if jobs and self._shares[other] < share]
        waiting = _rows_by_method(job for jobs in self._lines.values() for job in jobs)
        for other, rows in _rows_by_method(ahead).items():
            size = max(1, min(self._batch, waiting[other]))
            alone = other is not inspector  # else the frame joins the last pass
            passes = -(-rows // self._batch) if alone else rows // self._batch
            start += passes * (self._times[other].typical(size) + pause)
        return start + self._times[inspector].cautious(self._rows.get(line, 1))

    def _too_late(self, start: float, *, known: bool = True) -> list[Job]:
        """Takes those that are due before a pass from `start` on has ended, as far as its duration is known."""
        given_up: list[Job] = []
        for jobs in self._lines.values():
            count = 0
            while count < len(jobs) and jobs[count].due < start + known * self.cautious(jobs[count]):
                count += 1
            given_up += jobs[:count]
            del jobs[:count]
        return given_up

    def _in_order(self) -> list[Job]:
        """All that wait, by when they are due; where that is the same, lines take turns."""
        turns = [
            (job.due, self._shares[line] + number, order, job)
            for order, (line, jobs) in enumerate(self._lines.items())
            for number, job in enumerate(jobs)
        ]
        return [job for *_, job in sorted(turns, key=lambda turn: turn[:3])]

    def _ready(self, rows: Mapping[AnyInspector, int], now: float, pause: float) -> float:
        """When so many rows of each method are ready, in passes as large as can be."""
        ready, passes = now, 0
        for inspector, count in rows.items():
            if count:
                times, full = self._times[inspector], (count - 1) // self._batch
                ready += full * times.typical(self._batch) + times.typical(count - full * self._batch)
                passes += full + 1
        return ready + max(0, passes - 1) * pause

    def _any_late(self, jobs: Iterable[Job], now: float, pause: float) -> bool:
        """Whether one of `jobs` cannot be ready in time, one after another."""
        rows: Counter[AnyInspector] = Counter()
        for job in jobs:
            rows[job.inspector] += job.rows
            if job.due < self._ready(rows, now, pause):
                return True
        return False

    def _make_way(self, jobs: list[Job], now: float, pause: float) -> tuple[list[Job], list[Job]]:
        """Parts `jobs` into those that can be ready in time one after another, and as few as possible that give way.

        Of equal durations that is J. M. Moore's rule (1968): where one would be late, one of those up to it goes.
        """
        patient = [job for job in jobs if job.due == math.inf]
        if patient and self._shares[patient[0].line] <= min(self._shares[job.line] for job in jobs):
            jobs = [patient[0], *(job for job in jobs if job is not patient[0])]  # it has its share, too
        kept: list[Job] = []
        giving_way: list[Job] = []
        counts = dict.fromkeys(self._lines, 0)  # of those that are kept and may give way
        rows: Counter[AnyInspector] = Counter()  # of those that are kept
        for job in jobs:
            kept.append(job)
            rows[job.inspector] += job.rows
            counts[job.line] += job.due < math.inf
            while kept and kept[-1].due < self._ready(rows, now, pause):
                oldest = [self._lines[line][0] for line in counts if counts[line]]
                gone = max(oldest, key=lambda job: (self._shares[job.line] + counts[job.line], -job.due))
                self._lines[gone.line].remove(gone)
                kept.remove(gone)
                rows[gone.inspector] -= gone.rows
                giving_way.append(gone)
                counts[gone.line] -= 1
        return kept, giving_way

    def _choose(self, jobs: Iterable[Job], now: float) -> list[Job]:
        """The frames of the next pass, so few that all of them are ready in time."""
        batch: list[Job] = []
        earliest = math.inf
        rows = 0
        for job in jobs:
            if batch and job.inspector is not batch[0].inspector:
                continue
            times = self._times[job.inspector]
            size = rows + job.rows
            ready = now + times.cautious(size)
            if batch and (size > self._batch or earliest < ready or not times.gains(size, rows)):
                break
            if job.due < ready or (batch and job.alone):
                continue
            batch.append(job)
            rows = size
            earliest = min(earliest, job.due)
            if job.alone or size >= self._batch:
                break
        return batch


def _rows_by_method(jobs: Iterable[Job]) -> Counter[AnyInspector]:
    rows: Counter[AnyInspector] = Counter()
    for job in jobs:
        rows[job.inspector] += job.rows
    return rows


def rows_of(jobs: Iterable[Job]) -> int:
    """The rows of a pass of these frames."""
    return sum(job.rows for job in jobs)
