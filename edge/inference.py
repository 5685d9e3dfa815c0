"""The one thread that owns the device: frames of all lines in, inspections out, and whatever else needs the model."""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from core.image import Rgb
from core.model_error import NotFiniteError as NotFiniteError
from core.tiles import WHOLE, Tiling
from edge.arrivals import Arrivals
from edge.clock import monotonic
from edge.frame_queue import FrameQueue, Job, rows_of
from edge.ops.worker import STOP_S, Worker, Workers
from edge.pass_times import PassTimes

if TYPE_CHECKING:
    from core.bank.tiled_index import AnyIndex
    from core.inspection import Inspection
    from core.inspector import AnyInspector, Texts

T = TypeVar("T")

_DOUBT_S = 1.0  # after so long without a pass, how long one takes is measured anew


@dataclass(frozen=True)
class Scored:
    """An inspection and what it took, milliseconds."""

    inspection: Inspection
    queue_ms: float
    score_ms: float


@dataclass(frozen=True, eq=False)
class _Call:
    """Something else for the thread that owns the device."""

    inspector: AnyInspector
    work: Callable[[AnyInspector], Any]
    result: Future[Any]


class InferenceStoppedError(RuntimeError):
    """The service is stopping; the frame was not inspected."""


class TooLateError(RuntimeError):
    """The frame was not inspected: its result could not be ready when it was due."""


class Inference:
    """Inspects frames that wait, up to `batch` rows in one pass, and lets no line crowd out another.

    Methods share the model: each frame names its own, and a pass is of one method.

    It measures how long a pass takes by each of them, and begins none whose result would come too late: such a frame
    gets its `TooLateError` as soon as that is certain. `FrameQueue` says which frames are next. A frame that is spare
    has its pass only where no other one waits and `Arrivals` expects none meanwhile. Any thread may call it.
    """

    def __init__(self, batch: int, workers: Workers | None = None) -> None:
        """Starts nothing yet.

        Args:
            batch: The most rows in a pass: frames, or tiles of them.
            workers: Who watches the thread.
        """
        self._worker = Worker(workers, "inference", self._work)
        self._lock = threading.Lock()  # guards what follows
        self._pass_times: defaultdict[AnyInspector, PassTimes] = defaultdict(PassTimes)
        self._call_times = PassTimes()
        self._frames = FrameQueue(batch, self._pass_times)
        self._arrivals = Arrivals()  # of the frames that are not spare
        self._spare: deque[Job] = deque()
        self._calls: dict[str, deque[_Call]] = {}  # by line, in the order of their turns
        self._calls_turn = True  # calls and passes alternate
        self._busy_until: float | None = None  # when what is in work will probably end
        self._last_pass = -math.inf
        self._stopped = False

    def start(self) -> None:
        """Starts the thread."""
        self._worker.start()

    def stop(self, timeout_s: float = STOP_S) -> None:
        """Refuses what comes, and ends the thread once it has done what waits, or as much of that as it can in time."""
        with self._lock:
            self._stopped = True
            spare = [job.result for job in self._spare]
            self._spare.clear()
        for result in spare:
            _fail(result, InferenceStoppedError("inference has stopped"))
        self._worker.stop(timeout_s)
        with self._lock:  # of a thread that has failed, or was never started
            left = [job.result for job in self._frames.clear()]
            left += [call.result for calls in self._calls.values() for call in calls]
            self._calls.clear()
        for result in left:
            _fail(result, InferenceStoppedError("inference has stopped"))

    @property
    def waiting(self) -> int:
        """Frames that wait for their turn, without those that are spare."""
        with self._lock:
            return len(self._frames)

    def ready_at(self, inspector: AnyInspector, line: str) -> float:
        """When a frame that `line` submitted now would be ready, seconds of `edge.clock.monotonic`; an estimate.

        Now, while nothing is known: at the start, and after a second without a pass.
        """
        now = monotonic()
        with self._lock:
            if self._doubts(now):
                return now
            pause = self._pause()
            return self._frames.ready_at(inspector, line, max(now, self._busy_until or now) + pause, pause)

    def submit(
        self,
        inspector: AnyInspector,
        image: Rgb,
        text: Texts,
        index: AnyIndex | None = None,
        *,
        line: str = "",
        due: float | None = None,
        tiling: Tiling = WHOLE,
        threshold: float = math.inf,
    ) -> Future[Scored]:
        """The inspection of `image` to come; it may be cancelled until its pass begins.

        Args:
            inspector: The method, which from now on only this thread uses.
            image: RGB, H x W x 3, `uint8`.
            text: Of the pack.
            index: The line's shots.
            line: Whose turn it takes.
            due: When the result has to be there, seconds of `edge.clock.monotonic`.
            tiling: How the image is cut; the tiling of `index`.
            threshold: Of the recipe: from which on a method may look again.

        Returns:
            A future, whose exception is `TooLateError` where it cannot be ready when it is due, `NotFiniteError` where
            the model's answer is no number, else the failure of the pass. Its callbacks hold up all frames.

        Raises:
            InferenceStoppedError: after `stop`.
        """
        now = monotonic()
        job = Job(
            inspector,
            image,
            text,
            index,
            line,
            math.inf if due is None else due,
            now,
            Future(),
            tiling=tiling,
            threshold=threshold,
        )
        with self._lock:
            self._refuse_after_stop()
            begins = now if self._busy_until is None else max(now, self._busy_until)
            takes = self._frames.cautious(job)
            too_late = self._busy_until is not None and job.due < begins + takes
            self._arrivals.note(line, now, job.due - now - takes)
            if not too_late:
                self._frames.add(job)
        if too_late:
            _give_up(job, now, begins - now, takes)
        else:
            self._worker.wake()
        return job.result

    def submit_spare(
        self,
        inspector: AnyInspector,
        image: Rgb,
        text: Texts,
        index: AnyIndex | None = None,
        *,
        line: str = "",
        tiling: Tiling = WHOLE,
        threshold: float = math.inf,
    ) -> Future[Scored]:
        """As `submit`, in time that no other frame needs: it may wait for ever. Who calls it bounds how many wait.

        Raises:
            InferenceStoppedError: after `stop`.
        """
        job = Job(
            inspector, image, text, index, line, math.inf, monotonic(), Future(), tiling=tiling, threshold=threshold
        )
        with self._lock:
            self._refuse_after_stop()
            self._spare.append(job)
        self._worker.wake()
        return job.result

    def ask(self, inspector: AnyInspector, work: Callable[[AnyInspector], T], *, line: str = "") -> Future[T]:
        """What `work` makes of a method. Frames wait meanwhile, so it has to be short.

        Between two calls there is a pass where frames wait; calls of several lines take turns, those of one keep their
        order. A thread that waits for the result must not be this one.

        Raises:
            InferenceStoppedError: after `stop`.
        """
        call = _Call(inspector, work, Future())
        with self._lock:
            self._refuse_after_stop()
            self._calls.setdefault(line, deque()).append(call)
        self._worker.wake()
        return call.result

    def _refuse_after_stop(self) -> None:
        if self._stopped:
            raise InferenceStoppedError("inference has stopped")

    def _doubts(self, now: float) -> bool:
        """Whether the durations may hold no more: nothing is in work, and the last pass was long ago."""
        return self._busy_until is None and now - self._last_pass > _DOUBT_S

    def _pause(self) -> float:
        """Seconds that calls take between two passes."""
        return self._call_times.typical(1) if self._calls else 0.0

    def _work(self) -> float | None:
        """One call or one pass."""
        call: _Call | None = None
        batch: list[Job] = []
        given_up: list[Job] = []
        spare: Job | None = None
        pause: float | None = None
        now = monotonic()
        with self._lock:
            if self._calls and (self._calls_turn or not len(self._frames)):
                call = self._next_call()
                self._busy_until = now + self._call_times.typical(1)
            elif len(self._frames):
                batch, given_up = self._frames.take(now, self._pause(), doubt=self._doubts(now))
                self._busy_until = now + self._frames.typical(batch)
            elif self._spare:
                spare, pause = self._next_spare(now)
            self._calls_turn = call is None
            busy_s = self._frames.typical(batch)
            takes = [self._frames.cautious(job) for job in (*given_up, *batch[:1])]
        for job, cautious in zip(given_up, takes, strict=False):
            _give_up(job, now, busy_s, cautious)
        if call is not None:
            self._answer(call)
        elif batch := [job for job in batch if job.alone or job.result.set_running_or_notify_cancel()]:
            self._inspect(batch, anew=batch[0].due < now + takes[-1])
        elif spare is not None and spare.result.set_running_or_notify_cancel():
            self._inspect([spare], spare=True)
        with self._lock:
            self._busy_until = None
            worked = call is not None or batch or spare is not None
            return 0.0 if self._calls or len(self._frames) or (worked and self._spare) else pause

    def _next_spare(self, now: float) -> tuple[Job | None, float | None]:
        """The spare frame whose pass begins now; or none, and the seconds until one may, None: not before a frame has
        come.
        """
        pauses = []
        for job in self._spare:
            takes = self._frames.cautious(job)
            pause = self._arrivals.wait(now, takes)
            if pause == 0.0:
                self._spare.remove(job)
                self._busy_until = now + takes
                return job, None
            pauses += [] if pause is None else [pause]
        return None, min(pauses, default=None)

    def _next_call(self) -> _Call:
        line = next(iter(self._calls))
        calls = self._calls.pop(line)
        call = calls.popleft()
        if calls:
            self._calls[line] = calls
        return call

    def _answer(self, call: _Call) -> None:
        if not call.result.set_running_or_notify_cancel():
            return
        started = monotonic()
        try:
            value = call.work(call.inspector)
        except Exception as error:  # the future carries it to who asked
            call.result.set_exception(error)
        else:
            call.result.set_result(value)
        ended = monotonic()
        with self._lock:
            self._call_times.note(1, ended - started, ended)

    def _inspect(self, batch: Sequence[Job], *, anew: bool = False, spare: bool = False) -> None:
        started, inspector = monotonic(), batch[0].inspector
        try:
            rows = ((job.image, job.text, job.index, job.tiling) for job in batch)
            found = inspector.inspect(*zip(*rows, strict=True), thresholds=[job.threshold for job in batch])
        except NotFiniteError as error:  # which has the answers to the other frames too
            found = error.inspections
        except Exception as error:  # the future carries it to the line, which answers `error`
            with self._lock:
                self._note_pass(monotonic(), spare)
                if len(batch) > 1:  # a bad frame must not cost the others their verdict
                    self._frames.put_back(list(batch))
            if len(batch) == 1:
                batch[0].result.set_exception(error)
            return
        ended, again = monotonic(), any(inspection.looked_again for inspection in found)
        with self._lock:
            self._note_pass(ended, spare)
            if anew:
                self._pass_times[inspector].forget()
            self._pass_times[inspector].note(rows_of(batch), ended - started, ended, again=again)
        for job, inspection in zip(batch, found, strict=True):
            if (fault := inspection.fault) is not None:
                job.result.set_exception(NotFiniteError(f"{fault}; {_remedy_of(inspector)}"))
            else:
                job.result.set_result(Scored(inspection, (started - job.submitted) * 1000, (ended - started) * 1000))

    def _note_pass(self, ended: float, spare: bool) -> None:
        """A spare pass says nothing of those that others wait for, and leaves in doubt what was in doubt."""
        if not spare:
            self._last_pass = ended


def _remedy_of(inspector: AnyInspector) -> str:
    backbone = inspector.backbone
    if backbone.dtype != "fp32":
        return f'the model {backbone.name} may overflow in {backbone.dtype}: set model.dtype = "fp32"'
    return f"{inspector.weights} may be damaged: fetch them again"


def _give_up(job: Job, now: float, busy: float, takes: float) -> None:
    times = (now - job.submitted, job.due - now, busy, takes)
    waited, left, busy, takes = (round(seconds * 1000) for seconds in times)
    due = f"is due in {left} ms" if left >= 0 else f"was due {-left} ms ago"
    wait = f"it has waited for {waited} ms, others are before it for {busy} ms"
    message = f"its result {due}, {wait}, and a pass takes {takes} ms"
    _fail(job.result, TooLateError(message), running=job.alone)


def _fail(result: Future[Any], error: Exception, *, running: bool = False) -> None:
    """Answers a future with `error`, unless who waited for it has given up."""
    if running or result.set_running_or_notify_cancel():
        result.set_exception(error)
