"""A line's camera, as the line sees it: newest frames, and a status that is never silent about a fault."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType

from edge.address import shown_source
from edge.camera.child import CameraError, Child, socket_path
from edge.camera.frame import Frame, FrameError
from edge.camera.health import UNSEEN, Health
from edge.camera.protocol import CameraState, FrameRequest, LinkError, Report
from edge.clock import monotonic, utc_now
from edge.ops.alarms import Alarms
from edge.ops.backoff import Backoff
from edge.ops.logs import line_log
from edge.settings import CameraSettings, HealthSettings

FRESH_S = 1.0  # a live frame that has waited longer for its reader is passed over
_TICK_S = 0.1  # between two looks at the process
_LOCK_S = 1.0  # for a thread that is about to let go of the camera


@dataclass(frozen=True)
class CameraStatus:
    """How a camera is."""

    state: CameraState
    """`starting`; `running`; `fault`, which is tried again by itself; `ended`: the file holds no more."""
    reason: str | None
    """Why it is in fault or ended; without credentials."""
    reconnects: int
    """Attempts to open the source after the first of each process."""
    restarts: int
    """Camera processes that were replaced."""
    since: datetime
    """When the state was entered, UTC."""
    damaged: int = 0
    """Frames that were damaged on the way, or predicted from such a one, asked for or not."""
    width: int | None = None
    """Of the last frame, pixels."""
    height: int | None = None
    """Of the last frame, pixels."""
    interval_s: float | None = None
    """Between two frames of a live source, seconds: the median of the last ones; None for other sources, and before
    the first frames."""
    health: Health = UNSEEN
    """Of the newest frame that was looked at. With a fault the camera is `running`, but its frames are not to be
    judged; that of a picture that stands still is told within about a second, any other one with a frame."""


class Camera:
    """Runs the camera's process, replaces it when it dies or hangs, and takes frames from it.

    Used by one thread; `status` may be read by any. While the line waits for a trigger, `poll` has to be
    called about every second: nothing is noticed, and no process replaced, between calls.

        with Camera("line-1", settings, runtime_dir) as camera:
            frame = camera.next_frame(timeout_s=1.0)
    """

    def __init__(
        self,
        line: str,
        settings: CameraSettings,
        runtime_dir: Path,
        health: HealthSettings = HealthSettings(),
        alarms: Alarms | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            line: Its name.
            settings: The camera's.
            runtime_dir: Folder of the sockets.
            health: What a frame has to be like, for the alarm; see `limit`.
            alarms: Where a fault is told, for as long as it lasts: of the camera, and of its frames.

        Raises:
            CameraError: the path of the camera's socket would be too long.
        """
        socket_path(runtime_dir, line)
        self._line = line
        self._settings = settings
        self._health = health
        self._each_counts = settings.trigger == "line"  # as a part: no frame is passed over
        self._unsaid_limits = False  # whether the process has other limits
        self._runtime_dir = runtime_dir
        self._lock = threading.Lock()  # a ZMQ socket that two threads use at once aborts the whole service
        self._alarms = alarms or Alarms()
        self._log = line_log(__name__, line)
        self._backoff = Backoff(settings.retry_s, settings.retry_max_s)
        self._status = CameraStatus("starting", None, 0, 0, utc_now())
        self._child: Child | None = None
        self._lingering: list[Child] = []  # killed, but the kernel has not let go of them yet
        self._spawn_at: float | None = None
        self._reconnects_before = self._damaged_before = 0  # of the processes before this one
        self._opened = False  # whether this process has had its source open
        self._taken = 0  # items of a source that is not live that were answered for
        self._live = False
        self._wants = 0
        self._asked: int | None = None  # the request that has no answer yet
        self._ready: Frame | None = None  # a frame that came, and was not yet delivered
        self._refused = False  # whether a request was answered, but by no frame
        self._missing: str | None = None  # why, when a fault was the answer
        self._passed = 0  # frames passed over here since the last one delivered

    @property
    def status(self) -> CameraStatus:
        """The status as of the last call."""
        return self._status

    @property
    def live(self) -> bool:
        """Whether the source goes on by itself, so that frames grow old."""
        return self._live

    def start(self) -> None:
        """Starts the camera's process; does not wait for the camera.

        Raises:
            CameraError: the process cannot be started, or is running already.
        """
        with self._lock:
            if self._child is not None or self._spawn_at is not None:
                raise CameraError(f"the camera of line {self._line} is running already")
            self._set("starting", None)
            try:
                self._child = self._spawn()
            except OSError as error:
                raise CameraError(f"the camera process of line {self._line} cannot be started: {error}") from error

    def limit(self, health: HealthSettings) -> None:
        """Has frames looked at by other limits from now on, where they are others."""
        if health != self._health:
            self._health, self._unsaid_limits = health, True

    def poll(self, timeout_s: float = 0.0) -> None:
        """Watches the camera for `timeout_s` seconds without asking for a frame."""
        self._serve(timeout_s, wanted=False, not_before=0.0)

    def next_frame(self, timeout_s: float, not_before: float | None = None) -> Frame | None:
        """The next frame, or None if none came within `timeout_s` seconds; `status` then tells of any fault.

        Of a live source it is the newest: frames grabbed in the meantime are passed over and counted, and so
        is one that lay unread for more than `FRESH_S`, or that was grabbed before `not_before` (seconds of
        `edge.clock.monotonic`, for instance the moment of a trigger). Other sources give frame after frame;
        there a picture that cannot be read, and the end, return None at once.

        Raises:
            CameraError: the camera was not started.
        """
        return self._serve(timeout_s, wanted=True, not_before=not_before or 0.0)

    def missing(self) -> str | None:
        """Why the last request brought a fault and no frame, once: that part still needs its answer."""
        reason, self._missing = self._missing, None
        return reason

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends the process: politely, and after `timeout_s` seconds by force. May be called twice."""
        if not self._lock.acquire(timeout=max(timeout_s, _LOCK_S)):
            self._log.error("the camera's thread hangs; its process ends when it finds the service gone")
            return
        try:
            child, self._child, self._spawn_at, self._asked = self._child, None, None, None
            if child is not None and not child.stop(timeout_s):
                self._lingering.append(child)
            self._lingering = [child for child in self._lingering if not child.reap()]
            for child in self._lingering:
                self._log.error("the camera process %d does not end", child.process.pid)
        finally:
            self._lock.release()

    def __enter__(self) -> Camera:
        """Starts it, unless that was done before: a camera may come up while the model is loaded."""
        if self._child is None and self._spawn_at is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, timeout_s: float, wanted: bool, not_before: float) -> Frame | None:
        began = monotonic()
        deadline = began + timeout_s
        wait = 0.0
        with self._lock:
            if self._child is None and self._spawn_at is None:
                raise CameraError(f"the camera of line {self._line} is not running; call start()")
            while True:
                self._pump(wait)  # first, lest words that lie unread count as silence
                self._supervise()
                self._tell_limits()
                if wanted:
                    frame = self._pick(not_before, began - FRESH_S)
                    if frame is not None:
                        return frame
                    if self._refused:
                        self._refused = False
                        return None
                    self._ask()
                left = deadline - monotonic()
                if left <= 0:
                    return None
                wait = min(_TICK_S, left)

    def _supervise(self) -> None:
        """Replaces a process that is dead or hangs."""
        self._lingering = [child for child in self._lingering if not child.reap()]
        if self._child is not None:
            failure = self._child.failure()
            if failure is not None:
                self._lose(failure)
        elif self._spawn_at is not None and monotonic() >= self._spawn_at:
            try:
                self._child = self._spawn()
            except OSError as error:
                self._spawn_at = monotonic() + self._backoff.fail()
                self._set("fault", f"the camera process cannot be started: {error}")
            else:
                self._spawn_at = None
                self._set("fault", self._status.reason, restarts=self._status.restarts + 1)

    def _spawn(self) -> Child:
        return Child(self._line, self._settings, self._runtime_dir, self._health, self._taken)

    def _lose(self, reason: str) -> None:
        """Ends the process, and sets the time of the next.

        What it was reading then, of a source that is not live, is answered for: it may end the next process as well.
        """
        child = self._child
        assert child is not None
        self._refused = self._opened and not self._live and self._asked is not None
        if self._refused:
            self._taken += 1
            self._missing = f"{reason}, as it read item {self._taken} of {shown_source(self._settings.source)}"
        self._child = self._asked = None
        if self._live and not self._each_counts:
            self._ready = None  # what comes next is of another connection; an item of a file comes once
        self._opened = False
        self._passed = 0
        self._reconnects_before, self._damaged_before = self._status.reconnects, self._status.damaged
        if monotonic() - child.started > self._settings.retry_max_s:  # the pauses are for those that die young
            self._backoff.succeed()
            self._spawn_at = monotonic()
        else:
            self._spawn_at = monotonic() + self._backoff.fail()
        self._set("fault", reason)
        self._see(UNSEEN)
        if not child.kill(_TICK_S):
            self._lingering.append(child)

    def _pump(self, wait_s: float) -> None:
        """Takes in what the process has sent, waiting up to `wait_s` seconds for it."""
        child = self._child
        if child is None:
            time.sleep(wait_s)
            return
        try:
            for message in child.receive(wait_s):
                if isinstance(message, Frame):
                    self._asked, self._ready = None, message
                    self._taken += not self._live
                    self._backoff.succeed()
                else:
                    self._note(message)
                if self._child is not child:
                    return
        except (FrameError, LinkError) as error:
            self._lose(f"the camera process sends what is no frame: {error}")

    def _note(self, report: Report) -> None:
        """Takes over the state that the process reports."""
        if report.hung is not None:
            self._lose(report.hung)
            return
        self._live = report.live
        if report.state == "fault" and report.live and not self._each_counts:
            self._ready = None  # what comes next is of another connection
            self._passed = 0
        if report.answers is not None and report.answers == self._asked:
            self._asked, self._refused = None, True
            self._missing = report.reason if report.state == "fault" else None
            self._taken += report.state == "fault" and not self._live
        self._opened = self._opened or report.state == "running"
        self._alarms.set("camera_reader", report.notice, self._line)
        self._see(report.health)
        self._status = replace(
            self._status,
            reconnects=self._reconnects_before + report.reconnects,
            damaged=self._damaged_before + report.damaged,
            width=report.width or self._status.width,
            height=report.height or self._status.height,
            interval_s=report.interval_s,
        )
        if report.state == "fault" and report.answers is not None and not report.live:
            self._change("fault", report.reason)  # of one picture: its part is an error, and no alarm is due
        elif report.state != "starting":  # after a fault the fault stays until it is over
            self._set(report.state, report.reason)

    def _pick(self, not_before: float, fresh: float) -> Frame | None:
        """The frame that came, unless it was grabbed before `not_before` or has lain unread since `fresh`."""
        frame, self._ready = self._ready, None
        if frame is None:
            return None
        if self._live and not self._each_counts and (frame.captured < not_before or frame.ready < fresh):
            self._passed += frame.dropped + 1
            return None
        passed, self._passed = self._passed, 0
        return replace(frame, dropped=frame.dropped + passed)

    def _ask(self) -> None:
        """Asks for a frame, unless the last request is still open."""
        if self._child is not None and self._asked is None and self._child.request(FrameRequest(want=self._wants + 1)):
            self._wants += 1
            self._asked = self._wants

    def _tell_limits(self) -> None:
        """Tells the process what frames have to be like, where that has changed since it was started."""
        if self._unsaid_limits and self._child is not None and self._child.request(FrameRequest(limits=self._health)):
            self._unsaid_limits = False

    def _see(self, health: Health) -> None:
        self._status = replace(self._status, health=health)
        message = f"the camera's frames are not judged: {health.fault.message}" if health.fault is not None else None
        self._alarms.set("camera", message, self._line, "frames")

    def _set(self, state: CameraState, reason: str | None, restarts: int | None = None) -> None:
        """Takes over a state of the camera, and tells what is new of it."""
        before = self._status.state
        self._change(state, reason, restarts)
        self._alarms.set(
            "camera", f"the camera gives no frames: {reason}" if state == "fault" else None, self._line, "source"
        )
        if state != "fault" and before in ("starting", "running") and state != before:
            self._log.info("the camera is %s%s", state, f": {reason}" if reason else "")

    def _change(self, state: CameraState, reason: str | None, restarts: int | None = None) -> None:
        before = self._status
        self._status = replace(
            before,
            state=state,
            reason=reason,
            since=before.since if state == before.state else utc_now(),
            restarts=before.restarts if restarts is None else restarts,
        )
