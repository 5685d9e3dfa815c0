"""GigE Vision and USB3 Vision cameras: `genicam:<id>`, read by Aravis."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from core.image import Rgb
from edge.address import shown_source
from edge.camera.aravis import Buffer, Device, Found, Stream, find
from edge.camera.aravis_library import AravisError
from edge.camera.errors import SourceError
from edge.camera.exposure import UNKNOWN, DeviceClock, Exposure, FrameNumbers
from edge.camera.frame import MAX_BYTES
from edge.camera.genicam_features import prepare_trigger, set_features
from edge.camera.pixel_formats import FORMATS, READ, PixelFormatError, to_rgb
from edge.clock import monotonic
from edge.settings import CameraSettings

PREFIX = "genicam:"
_BUFFERS = 16  # frames that may wait: the queue of a line that is triggered by hardware
_SLICE_S = 0.1  # between two looks at whether the camera is still there
_OLDEST_S = 60.0  # the wall clock may have been set since a frame came; an older one is not believed
_MOST_MISSED = 1000  # more between two frames is no loss: the camera has begun to number anew
_READ = {one.name for one in FORMATS}


def camera_id(source: str) -> str:
    """What `source` names. Raises SourceError: nothing."""
    name = source.removeprefix(PREFIX).strip()
    if not name:
        raise SourceError(f"{shown_source(source)}: name the camera, as `alfa-edge cameras` lists it", final=True)
    return name


def is_present(source: str) -> bool:
    """Whether the camera answers on the network or the USB; takes about a second."""
    return _among(source, find())


def _among(source: str, found: list[Found]) -> bool:
    name = camera_id(source)
    return any(name in (camera.id, camera.address, camera.serial) for camera in found)


def open_device(source: str) -> Device:
    """The camera that `source` names. Raises SourceError: it is not there, or does not let itself be opened."""
    try:
        return Device(camera_id(source))
    except AravisError as error:
        found = find()
        if _among(source, found):
            words = f"{shown_source(source)}: cannot be opened: {error}; does another program have the camera?"
            raise SourceError(words) from error
        there = ", ".join(camera.id for camera in found) or "none"
        raise SourceError(
            f"{shown_source(source)}: no such camera answers; check power and cable, that it has an address of "
            f"this network, and that no firewall keeps UDP away. There are: {there}",
            absent=True,
        ) from error


class GenICam:
    """An open camera. Free, it gives the newest frame; triggered, one for each exposure, in their order."""

    live = True
    lags = False
    simulated = False
    notice: str | None = None

    def __init__(self, settings: CameraSettings) -> None:
        """Opens and sets up the camera.

        Raises:
            SourceError: it is not there, refuses a setting, or its frames cannot be read.
        """
        self.name: str | None = None
        self.notice: str | None = None
        self.exposure = UNKNOWN
        self.ready: Callable[[float], bool] | None = None if settings.trigger == "free" else self._ready
        self._label = shown_source(settings.source)
        self._read_timeout_s = settings.read_timeout_s
        self._trigger = settings.trigger
        self._exposure_s = 0.0
        self._clock = DeviceClock()
        self._numbers = FrameNumbers()
        self._next: Buffer | None = None  # of a triggered camera: it came, and was not grabbed yet
        self._grabbed: Buffer | None = None
        self._stream: Stream | None = None
        self._device = open_device(settings.source)
        try:
            self._size = self._set_up(settings)
        except AravisError as error:
            self.close()
            raise SourceError(f"{self._label}: the camera cannot be set up: {error}") from error
        except BaseException:
            self.close()
            raise

    def grab(self) -> bool:
        exposed = 0.0
        try:
            if self._trigger == "software":
                self._discard()
                exposed = monotonic()
                self._device.expose()
            buffer = self._take(self._read_timeout_s)
        except AravisError as error:
            raise SourceError(f"{self._label}: broke off: {error}") from error
        if buffer is None:
            raise SourceError(f"{self._label}: stalled: connected, but no frame in {self._read_timeout_s:g} s")
        missed = self._numbers.missed(buffer.number)
        if self._trigger == "free":
            while (newer := self._popped(0.0)) is not None:
                self._give_back(buffer)
                missed = (missed or 0) + 1 + (self._numbers.missed(newer.number) or 0)
                buffer = newer
        elif self._trigger == "line" and (missed is None or missed > _MOST_MISSED):
            self._give_back(buffer)
            raise SourceError(f"{self._label}: the camera began to number its frames anew, at {buffer.number}")
        self._give_back(self._grabbed)
        self._grabbed = buffer
        damage = None if buffer.damage is None else f"the frame did not come whole: {buffer.damage}"
        captured = exposed if self._trigger == "software" else self._captured(buffer)
        self.exposure = Exposure(captured, buffer.number, min(missed or 0, _MOST_MISSED), damage)
        return True

    def retrieve(self) -> Rgb:
        buffer = self._grabbed
        if buffer is None:
            raise SourceError(f"{self._label}: no frame was grabbed")
        if buffer.damage is not None:  # what is missing is of an earlier frame, which must not be seen
            width, height = self._size
            return np.zeros((height, width, 3), np.uint8)
        try:
            picture = to_rgb(buffer.pixel_format, buffer.data(), buffer.width, buffer.height, buffer.padding)
        except PixelFormatError as error:
            raise SourceError(f"{self._label}: a frame could not be decoded: {error}") from error
        return picture

    def close(self) -> None:
        if self._stream is not None and not self._device.lost.is_set():
            try:
                self._device.stop()
            except AravisError:
                self._device.lost.set()  # it has gone at this very moment: it takes no frames any more
        if self._stream is not None:
            self._give_back(self._grabbed)  # the stream frees what it has, and nothing else
            self._give_back(self._next)
            self._stream.close()
            self._grabbed = self._next = self._stream = None
        self._device.close()

    def _set_up(self, settings: CameraSettings) -> tuple[int, int]:
        """Sets the camera's features and begins; its width and height.

        Raises:
            SourceError, AravisError: it refuses.
        """
        device = self._device
        prepare_trigger(device, settings)
        set_features(device, settings)
        form = str(device.get("PixelFormat"))
        if form not in _READ:
            known = [one for one in device.choices("PixelFormat") if one in _READ]
            advice = f"set camera.features.PixelFormat to {' or '.join(known)}" if known else "the camera has no other"
            raise SourceError(f"{self._label}: it gives {form}, which is not read: {READ}; {advice}")
        self._exposure_s = self._exposure_time()
        self._stream = device.stream(_BUFFERS, MAX_BYTES, packet_size=settings.packet_size, resend=settings.resend)
        room, payload = self._stream.room, self._stream.payload
        if room is not None and room < payload:
            self.notice = (
                f"a frame has {payload} bytes, of which the kernel keeps {room}: when this box is busy, packets "
                "get lost; raise net.core.rmem_max to four frames"
            )
        device.start()
        return int(device.get("Width")), int(device.get("Height"))

    def _exposure_time(self) -> float:
        """Seconds; 0 where the camera does not say."""
        for feature in ("ExposureTime", "ExposureTimeAbs"):  # microseconds, both
            if self._device.is_available(feature):
                return float(self._device.get(feature)) / 1e6
        return 0.0

    def _ready(self, timeout_s: float) -> bool:
        """Whether a frame can be grabbed: by software always, else one that was exposed within `timeout_s`.

        Raises:
            SourceError: the camera is gone.
        """
        if self._trigger == "software":
            self._look()
            return True
        if self._next is None:
            self._next = self._take(timeout_s)
        return self._next is not None

    def _take(self, timeout_s: float) -> Buffer | None:
        """The next frame; None: none came. Raises SourceError: the camera is gone, and no frame of it waits."""
        waiting, self._next = self._next, None
        if waiting is not None:
            return waiting
        until = monotonic() + timeout_s
        while True:
            left = until - monotonic()
            buffer = self._popped(max(0.0, min(left, _SLICE_S)))
            if buffer is not None:
                return buffer
            self._look()
            if left <= 0:
                return None

    def _popped(self, timeout_s: float) -> Buffer | None:
        assert self._stream is not None
        return self._stream.pop(timeout_s)

    def _give_back(self, buffer: Buffer | None) -> None:
        if buffer is not None and self._stream is not None:
            self._stream.push(buffer)

    def _discard(self) -> None:
        """What came too late for the trigger before."""
        while (late := self._popped(0.0)) is not None:
            self._numbers.missed(late.number)
            self._give_back(late)

    def _look(self) -> None:
        if self._device.lost.is_set():
            raise SourceError(f"{self._label}: broke off: the camera is gone; check power and cable", absent=True)

    def _captured(self, buffer: Buffer) -> float:
        """When the exposure began at the latest, seconds of `edge.clock.monotonic`."""
        now = monotonic()
        arrived = now
        if buffer.arrived_ns:
            ago = time.time() - buffer.arrived_ns / 1e9
            arrived = now - ago if 0 <= ago < _OLDEST_S else now
        if buffer.device_ns:
            arrived = self._clock.arrived(buffer.device_ns / 1e9, arrived)
        return arrived - self._exposure_s
