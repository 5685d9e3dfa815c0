"""The one thread that owns the device: frames of all lines in, inspections out."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from core.image import Rgb
from edge.clock import monotonic

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


@dataclass(frozen=True)
class _Job:
    image: Rgb
    text: TextFeatures
    index: Index | None
    submitted: float
    result: Future[Scored]


@dataclass(frozen=True)
class _Errand:
    """Something else for the thread that owns the device."""

    work: Callable[[Alfa], Any]
    result: Future[Any]


_NOTHING = _Errand(lambda alfa: None, Future())


class ScorerStoppedError(RuntimeError):
    """The service is stopping; the frame was not scored."""


class Scorer:
    """Scores what waits, oldest first, up to `batch` frames in one pass.

    A line waits for its answer before it takes its next frame, so that each has at most one frame here and none can
    crowd out another.
    """

    def __init__(self, alfa: Alfa, batch: int) -> None:
        self._alfa = alfa
        self._batch = batch
        self._jobs: queue.SimpleQueue[_Job | _Errand | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="scorer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Scores what waits, refuses what comes, and ends the thread."""
        with self._lock:
            self._stopped = True
            self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, image: Rgb, text: TextFeatures, index: Index | None = None) -> Future[Scored]:
        """The inspection of `image` to come; a failure of the pass is the future's exception.

        Raises:
            ScorerStoppedError: after `stop`.
        """
        job = _Job(image, text, index, monotonic(), Future())
        self._put(job)
        return job.result

    def ask(self, work: Callable[[Alfa], T]) -> Future[T]:
        """What `work` makes of the method, between two passes; frames wait meanwhile, so it has to be short.

        Raises:
            ScorerStoppedError: after `stop`.
        """
        errand = _Errand(work, Future())
        self._put(errand)
        return errand.result

    def _put(self, one: _Job | _Errand) -> None:
        with self._lock:
            if self._stopped:
                raise ScorerStoppedError("the scorer has stopped")
            self._jobs.put(one)

    def _run(self) -> None:
        one = self._jobs.get()
        while one is not None:
            if isinstance(one, _Errand):
                self._do(one)
                one = self._jobs.get()
                continue
            jobs = [one]
            one = self._next(len(jobs))
            while isinstance(one, _Job):
                jobs.append(one)
                one = self._next(len(jobs))
            self._score(jobs)
            if one is _NOTHING:
                one = self._jobs.get()

    def _next(self, held: int) -> _Job | _Errand | None:
        """What waits behind a batch that holds so many; `_NOTHING` when it is full, or nothing waits."""
        return _NOTHING if held >= self._batch or self._jobs.empty() else self._jobs.get()

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
