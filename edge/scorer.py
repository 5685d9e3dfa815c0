"""The one thread that owns the device: frames of all lines in, inspections out."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass

from core.adaptation import TextFeatures
from core.alfa import Alfa, Inspection
from core.image import Rgb
from edge.clock import monotonic


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
    submitted: float
    result: Future[Scored]


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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
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

    def submit(self, image: Rgb, text: TextFeatures) -> Future[Scored]:
        """The inspection of `image` to come; a failure of the pass is the future's exception.

        Raises:
            ScorerStoppedError: after `stop`.
        """
        job = _Job(image, text, monotonic(), Future())
        with self._lock:
            if self._stopped:
                raise ScorerStoppedError("the scorer has stopped")
            self._jobs.put(job)
        return job.result

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, last = [job], False
            while len(jobs) < self._batch and not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    last = True
                    break
                jobs.append(more)
            self._score(jobs)
            if last:
                return

    def _score(self, jobs: list[_Job]) -> None:
        started = monotonic()
        try:
            inspections = self._alfa.inspect([job.image for job in jobs], [job.text for job in jobs])
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
