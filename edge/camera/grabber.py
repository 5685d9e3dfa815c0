"""The thread of a camera process that holds the source: opens, grabs, decodes what is wanted, opens anew."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from statistics import median
from typing import cast

from core.image import Rgb
from core.printable import shown
from edge.address import shown_source
from edge.camera.errors import SourceError
from edge.camera.frame import Frame, FrameError, Parts
from edge.camera.health import UNSEEN, FrameHealth, Health
from edge.camera.protocol import CameraState, Report
from edge.camera.source import Source, Waiting, is_there, open_source
from edge.clock import monotonic, utc_now
from edge.ops.backoff import Backoff
from edge.ops.redact import redact
from edge.settings import CameraSettings, HealthSettings

MARGIN_S = 3.0  # what a native call may take beyond the timeout it was given
_INTERVALS = 31  # of which the median is taken; odd, so that one of them is it
_FEW = 3  # fewer tell nothing
_SKIP_S = 60.0  # for going back to a place in a long video
_CLOSE_S = 6.0  # in which a camera of a network that is gone is told goodbye
LOOK_S = 1.0  # between two looks: at a live picture that nobody asks for, or for a source that is absent


class Grabber(threading.Thread):
    """Feeds `emit` with the messages of frames that were asked for, and of a report on each change of state.

    A live source is grabbed without pause, so that nothing grows old in a driver's or decoder's queue; a
    request gets the first frame whose grab ends after it came. Other sources, and those that are triggered, are grabbed
    once per request.
    Grabbing and decoding are one thread's, so a decoded frame is always the one grabbed last. `emit` is
    called in that thread. Every frame is checked before it is delivered; between requests, one of a live source
    about every second, so that the first part after a long pause is not judged by a picture that stands still.
    """

    def __init__(
        self,
        settings: CameraSettings,
        emit: Callable[[Parts], None],
        opener: Callable[[CameraSettings], Source] = open_source,
        health: HealthSettings = HealthSettings(),
        taken: int = 0,
    ) -> None:
        """Items of a source that is not live are taken once: it begins behind the first `taken` ones, whenever it is
        opened."""
        super().__init__(name="grabber", daemon=True)  # it may be stuck in a native call when the process ends
        self._settings = settings
        self._emit = emit
        self._open = opener
        self._backoff = Backoff(settings.retry_s, settings.retry_max_s)
        self._health = FrameHealth(health)
        self._taken = taken
        self._changed = threading.Condition()
        self._wanted: int | None = None
        self._closing = False
        self._intervals: deque[float] = deque(maxlen=_INTERVALS)  # between the grabs of a live source, seconds
        self._report = Report(state="starting")
        self._call: tuple[str, float] | None = None  # the native call under way, and when it is overdue

    def want(self, number: int) -> None:
        """Asks for one frame; a request that is still open is replaced."""
        with self._changed:
            self._wanted = number
            self._changed.notify_all()

    def limit(self, limits: HealthSettings) -> None:
        """What frames have to be like from the next one on."""
        self._health.limits = limits

    def report(self) -> Report:
        """The state now, with the call that hangs, if one does. Never waits for the source."""
        call = self._call
        if call is None or monotonic() < call[1]:
            return self._report
        over = monotonic() - call[1]
        return self._report.model_copy(update={"hung": f"{call[0]} hangs, {over:.1f} s beyond its timeout"})

    def close(self) -> None:
        """Ends the thread after the call under way."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def run(self) -> None:
        while not self._closing:
            began = monotonic()
            try:
                self._session()
            except SourceError as error:
                self._set("fault", str(error), health=UNSEEN)
                if monotonic() - began >= self._settings.open_timeout_s:
                    self._backoff.succeed()  # waited for in vain, it was not bothered much
                self._pause(error)
                if not self._closing:
                    self._set(self._report.state, self._report.reason, reconnects=self._report.reconnects + 1)
            else:
                self._rest(None)

    def _session(self) -> None:
        """From opening the source to its end, or to the thread's.

        Raises:
            SourceError: it cannot be opened, or was lost.
        """
        with self._native("opening the camera", 3 * self._settings.open_timeout_s + self._settings.read_timeout_s):
            source = self._open(self._settings)
        try:
            if not source.live and self._taken:
                with self._native("passing over what was read", _SKIP_S):
                    cast(Waiting, source).skip(self._taken)
            self._read(source)
        except SourceError as error:
            self._set("fault", str(error), health=UNSEEN)  # before the closing, which may take its time
            raise
        finally:
            with self._native("closing the camera", max(self._settings.read_timeout_s, _CLOSE_S)):
                source.close()

    def _read(self, source: Source) -> None:
        number = delivered = 0
        self._intervals.clear()
        look_at = 0.0  # a source is running when its first frame could be decoded
        grabbed = monotonic(), utc_now()
        if self._report.notice != source.notice:
            self._report = self._report.model_copy(update={"notice": source.notice})
        on_request = not source.live or source.ready is not None
        if on_request:
            self._set("running", live=source.live)
        while True:
            wanted = self._await_request(source) if on_request else None
            if self._closing:
                return
            with self._native("reading a frame", self._settings.read_timeout_s):
                more = source.grab()
            before, grabbed = grabbed, (monotonic(), utc_now())
            if not on_request and number:
                self._intervals.append(grabbed[0] - before[0])
            captured, captured_at = before if source.lags else grabbed
            exposure = source.exposure
            if exposure.captured is not None:
                captured, captured_at = (
                    exposure.captured,
                    grabbed[1] - timedelta(seconds=grabbed[0] - exposure.captured),
                )
            if not more:
                self._wanted = None
                self._set(
                    "ended",
                    redact(f"{shown_source(self._settings.source)}: ended after {number} frames"),
                    answers=wanted,
                )
                return
            number += 1 + exposure.missed
            if exposure.damage is not None:
                self._report = self._report.model_copy(update={"damaged": self._report.damaged + 1})
            if not on_request:
                wanted = self._wanted
            elif not source.live:
                self._taken += 1
            began = monotonic()
            if wanted is None and began < look_at:
                continue
            look_at = began + min(LOOK_S, self._health.limits.frozen_s / 3 or LOOK_S)
            try:
                with self._native("decoding a frame", self._settings.read_timeout_s):
                    picture = source.retrieve()
                    decoded = monotonic()
                    health = self._health.check(picture, captured, source.live, exposure.damage)
                    frame = Frame(
                        image=picture,
                        number=number,
                        dropped=number - delivered - 1,
                        captured_at=captured_at,
                        captured=captured,
                        decode_ms=(decoded - began) * 1000,
                        ready=monotonic(),
                        simulated=source.simulated,
                        name=source.name,
                        exposure=exposure.number,
                        health=health,
                    )
                    message = frame.to_parts()
            except (SourceError, FrameError) as error:
                if source.live:
                    raise SourceError(str(error)) from error
                self._wanted = None
                self._set("fault", str(error), health=UNSEEN, answers=wanted)
                continue
            if wanted is None and health.fault is not None and health.fault.code != "camera_frozen":
                health = self._report.health  # between parts the light may be off
            self._tell(source.live, picture, health)
            self._backoff.succeed()
            if wanted is None:
                continue
            self._wanted = None
            delivered = number
            self._emit(message)

    def _await_request(self, source: Source) -> int | None:
        """Waits until a frame is asked for, and can be grabbed, or the thread is to end.

        Raises:
            SourceError: the source was lost meanwhile.
        """
        look_s = None if source.ready is None else LOOK_S
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._wanted is not None, look_s)
                wanted = self._wanted
            if source.ready is None:
                return wanted
            with self._native("waiting for a trigger", LOOK_S):
                there = source.ready(LOOK_S / 4 if wanted is not None else 0.0)
            if there and self._wanted is not None:
                return self._wanted
        return None

    def _tell(self, live: bool, picture: Rgb, health: Health) -> None:
        """Reports what is new of the picture; figures that vary from frame to frame go with the next beat."""
        height, width, _ = picture.shape
        interval_s = median(self._intervals) if len(self._intervals) >= _FEW else None
        told = self._report
        if (told.state, told.width, told.height, told.health.fault) == ("running", width, height, health.fault):
            self._report = told.model_copy(update={"health": health, "interval_s": interval_s})
        else:
            self._set("running", live=live, width=width, height=height, health=health, interval_s=interval_s)

    def _pause(self, error: SourceError) -> None:
        """Waits before the next attempt: longer with each failure, but for a source that was absent no longer than
        it takes to see that it has come."""
        if error.final:
            self._rest(None)
            return
        look_at = monotonic()
        until = look_at + self._backoff.fail()
        while not self._closing:
            look_at += LOOK_S
            self._rest(max(0.0, min(look_at, until) - monotonic()))
            if monotonic() >= until:
                return
            if error.absent and not self._closing and is_there(self._settings):
                self._backoff.succeed()
                return

    def _rest(self, seconds: float | None) -> None:
        """Waits; None: until the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def _set(self, state: CameraState, reason: str | None = None, **changes: object) -> None:
        """Makes and emits a report. Only the report emitted holds `answers`: it is said once."""
        printed = None if reason is None else shown(reason)  # the name of a file may be no UTF-8
        report = self._report.model_copy(update={"state": state, "reason": printed, **changes})
        self._report = report.model_copy(update={"answers": None})
        self._emit([report.model_dump_json().encode()])

    @contextmanager
    def _native(self, what: str, seconds: float) -> Iterator[None]:
        """Marks a call that may hang in native code."""
        self._call = (what, monotonic() + seconds + MARGIN_S)
        try:
            yield
        finally:
            self._call = None
