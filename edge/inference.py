"""The one thread that owns the device: frames of all lines in, inspections out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from core.image import Rgb
from edge.clock import monotonic
from edge.ops.systemd import Beat

if TYPE_CHECKING:
    from core.adaptation import TextFeatures
    from core.alfa import Alfa, Inspection
    from core.memory import Index

T = TypeVar("T")


@dataclass(frozen=True)
class Scored:
    """An inspection and what it took, milliseconds."""

    inspection: Inspection
    queue_ms: float
    score_ms: float


@dataclass(frozen=True, eq=False)
class _Job:
    image: Rgb
    text: TextFeatures
    index: Index | None
    line: str
    due: float | None
    submitted: float
    result: Future[Scored]


@dataclass(frozen=True, eq=False)
class _Errand:
    """Something else for the thread that owns the device."""

    work: Callable[[Alfa], Any]
    result: Future[Any]


class InferenceStoppedError(RuntimeError):
    """The service is stopping; the frame was not scored."""


class TooLateError(RuntimeError):
    """The frame was not scored: its answer was due before its turn came."""


class Inference:
    """Scores what waits, up to `batch` frames in one pass, and lets no line crowd out another.

    Each pass takes the lines in turn, the one that has waited longest for its turn first, and of each its oldest frame;
    a frame whose answer is due already costs no pass.
    """

    def __init__(self, alfa: Alfa, batch: int, beat: Beat | None = None) -> None:
        self._beat = beat or Beat("scorer")
        self._alfa = alfa
        self._batch = batch
        self._changed = threading.Condition()
        self._jobs: dict[str, deque[_Job]] = {}  # by line, in the order of their turns
        self._errands: deque[_Errand] = deque()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Scores what waits, refuses what comes, and ends the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def waiting(self) -> int:
        """Frames that wait for their turn."""
        with self._changed:
            return sum(map(len, self._jobs.values()))

    def submit(
        self, image: Rgb, text: TextFeatures, index: Index | None = None, *, line: str = "", due: float | None = None
    ) -> Future[Scored]:
        """The inspection of `image` to come; a failure of the pass is the future's exception.

        Args:
            image: RGB, H x W x 3, `uint8`.
            text: Of the pack.
            index: The line's shots.
            line: Whose turn it takes.
            due: Seconds of `edge.clock.monotonic`; a frame not begun by then is not scored (`TooLateError`).

        Raises:
            InferenceStoppedError: after `stop`.
        """
        job = _Job(image, text, index, line, due, monotonic(), Future())
        with self._changed:
            self._refuse_after_stop()
            self._jobs.setdefault(line, deque()).append(job)
            self._changed.notify()
        return job.result

    def ask(self, work: Callable[[Alfa], T]) -> Future[T]:
        """What `work` makes of the method, between two passes; frames wait meanwhile, so it has to be short.

        Raises:
            InferenceStoppedError: after `stop`.
        """
        errand = _Errand(work, Future())
        with self._changed:
            self._refuse_after_stop()
            self._errands.append(errand)
            self._changed.notify()
        return errand.result

    def _refuse_after_stop(self) -> None:
        if self._stopped:
            raise InferenceStoppedError("the scorer has stopped")

    def _run(self) -> None:
        self._work()
        self._beat.done()  # of one that has failed the watchdog is to notice that it has ended

    def _work(self) -> None:
        while True:
            with self._changed:
                self._beat.idle()
                self._changed.wait_for(lambda: self._jobs or self._errands or self._stopped)
                if not self._jobs and not self._errands:
                    return
                self._beat.touch()
                errand = self._errands.popleft() if self._errands else None
                jobs = self._pick()
            if errand is not None:
                self._do(errand)
            now = monotonic()
            for job in jobs:
                if job.due is not None and job.due <= now:
                    job.result.set_exception(TooLateError("its answer was due before its turn came"))
            jobs = [job for job in jobs if not job.result.done()]
            if jobs:
                self._score(jobs)

    def _pick(self) -> list[_Job]:
        """The next batch; the lines in it go to the end of the queue. `_changed` is held."""
        picked: list[_Job] = []
        while self._jobs and len(picked) < self._batch:
            line = next(iter(self._jobs))
            jobs = self._jobs.pop(line)
            picked.append(jobs.popleft())
            if jobs:
                self._jobs[line] = jobs
        return picked

    def _do(self, errand: _Errand) -> None:
        try:
            errand.result.set_result(errand.work(self._alfa))
        except Exception as error:  # the future carries it to who asked
            errand.result.set_exception(error)

    def _score(self, jobs: list[_Job]) -> None:
        started = monotonic()
        try:
            inspections = self._alfa.inspect(*zip(*((job.image, job.text, job.index) for job in jobs), strict=True))
        except Exception as error:  # the future carries it to the line, which answers `error`
            if len(jobs) > 1:  # one bad frame must not cost the others their verdict
                for job in jobs:
                    self._score([job])
            else:
                jobs[0].result.set_exception(error)
            return
        took = (monotonic() - started) * 1000
        for job, inspection in zip(jobs, inspections, strict=True):
            job.result.set_result(Scored(inspection, (started - job.submitted) * 1000, took))
