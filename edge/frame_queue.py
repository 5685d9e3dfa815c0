"""Frames that wait for a pass: which of them go into the next one, and which cannot be ready in time any more."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.image import Rgb
from edge.pass_times import PassTimes

if TYPE_CHECKING:
    from core.adaptation import TextFeatures
    from core.memory import Index
    from edge.inference import Scored


@dataclass(eq=False)
class Job:
    """A frame and its result to come.

    Attributes:
        due: When the result has to be there, seconds of `edge.clock.monotonic`; infinite where that does not matter.
        alone: It was in a pass that failed, and now has one of its own: others are not to fail with it.
    """

    image: Rgb
    text: TextFeatures
    index: Index | None
    line: str
    due: float
    submitted: float
    result: Future[Scored]
    alone: bool = False


class FrameQueue:
    """Frames by line. Guarded by its owner's lock; its cost grows with the frames that wait, not with their square.

    - A frame that cannot be ready when it is due is given up, and never begun.
    - While all others can be ready, the one that is due first is next.
    - Where they cannot, the line that was served longest ago is next, so that each gets its share whatever the others
      ask for. Of a line the oldest give way to the newer ones: then those that are begun have time to spare. A line
      keeps its newest frame that can be ready, so the device never waits for one.
    """

    def __init__(self, batch: int, times: PassTimes) -> None:
        """`batch`: the most frames in a pass."""
        self._batch = batch
        self._times = times
        self._lines: dict[str, list[Job]] = {}  # in the order of their turns, those without frames too

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, job: Job) -> None:
        """One more frame waits."""
        insort(self._lines.setdefault(job.line, []), job, key=lambda other: other.due)

    def put_back(self, jobs: list[Job]) -> None:
        """The pass of `jobs` has failed: each is to have one of its own, and their lines have not had their turn."""
        for job in jobs:
            job.alone = True
            self.add(job)
        first = {job.line: self._lines[job.line] for job in jobs}
        self._lines = first | {line: waiting for line, waiting in self._lines.items() if line not in first}

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
        given_up = self._too_late(now, 0.0 if doubt else self._times.cautious(1))
        by_due = sorted(self._in_turn(), key=lambda job: job.due)
        if self._all_ready(by_due, now, pause):
            batch = self._choose(by_due, now)
        else:
            given_up += self._make_way(now, pause)
            batch = self._choose(self._in_turn(), now)
        if not batch and self:
            batch = [max(self._in_turn(), key=lambda job: job.due)]
        for job in batch:
            waiting = self._lines.pop(job.line)
            waiting.remove(job)
            self._lines[job.line] = waiting
        end = now + self._times.typical(len(batch)) + pause
        return batch, given_up + self._too_late(end, self._times.cautious(1))

    def ready_at(self, line: str, start: float, pause: float) -> float:
        """When a frame of `line` that came now would be ready, if the device is free at `start`.

        Older frames of the line count for nothing, as they give way where they have to.
        """
        waiting = [other for other, jobs in self._lines.items() if jobs or other == line]
        ahead = waiting.index(line) if line in waiting else len(waiting)
        size = max(1, min(self._batch, len(self)))
        passes = ahead // self._batch
        return start + passes * (self._times.typical(size) + pause) + self._times.cautious(1)

    def _too_late(self, start: float, duration: float) -> list[Job]:
        """Takes those that are due before a pass from `start` on, of `duration` seconds, has ended."""
        given_up: list[Job] = []
        for jobs in self._lines.values():
            count = 0
            while count < len(jobs) and jobs[count].due < start + duration:
                count += 1
            given_up += jobs[:count]
            del jobs[:count]
        return given_up

    def _all_ready(self, jobs: Sequence[Job], now: float, pause: float) -> bool:
        """Whether all of `jobs` can be ready in time, in their order."""
        typical = self._times.typical(min(self._batch, len(jobs)))
        return all(
            now + number // self._batch * (typical + pause) + typical <= job.due for number, job in enumerate(jobs)
        )

    def _make_way(self, now: float, pause: float) -> list[Job]:
        """Of each line, takes the oldest frames that keep a newer one from being ready in time."""
        given_up: list[Job] = []
        lines = [jobs for jobs in self._lines.values() if jobs]
        counts = [len(jobs) for jobs in lines]
        typical = self._times.typical(min(self._batch, len(self)))
        for place, jobs in enumerate(lines):
            if len(jobs) < 2:
                continue
            ahead = _ahead(counts, place)
            ready = [now + frames // self._batch * (typical + pause) + typical for frames in ahead]
            first = 0
            for number, job in enumerate(jobs):
                while ready[0] <= job.due < ready[number - first]:  # not for one that cannot be ready anyway
                    first += 1
            given_up += jobs[:first]
            del jobs[:first]
            counts[place] = len(jobs)
        return given_up

    def _choose(self, jobs: Iterable[Job], now: float) -> list[Job]:
        """The frames of the next pass, so few that all of them are ready in time."""
        batch: list[Job] = []
        earliest = math.inf
        for job in jobs:
            size = len(batch) + 1
            ready = now + self._times.cautious(size)
            if batch and (earliest < ready or not self._times.gains(size)):
                break
            if job.due < ready or (batch and job.alone):
                continue
            batch.append(job)
            earliest = min(earliest, job.due)
            if job.alone or size == self._batch:
                break
        return batch

    def _in_turn(self) -> Iterator[Job]:
        """One frame of each line, then the second of each, and so on."""
        for turn in range(max(map(len, self._lines.values()), default=0)):
            for jobs in self._lines.values():
                if turn < len(jobs):
                    yield jobs[turn]


def _ahead(counts: Sequence[int], place: int) -> list[int]:
    """How many frames come before each of those of the line at `place`, if lines of so many frames take turns."""
    found = []
    for turn in range(counts[place]):
        ahead = turn
        for other, count in enumerate(counts):
            if other != place:
                ahead += min(count, turn + (other < place))
        found.append(ahead)
    return found
