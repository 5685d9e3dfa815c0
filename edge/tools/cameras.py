"""`alfa-edge cameras`: what there is, what it can give, and a picture of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge.address import shown_source
from edge.camera import aravis, v4l2
from edge.camera.aravis_library import AravisError
from edge.camera.child import START_S
from edge.camera.errors import SourceError
from edge.camera.frame import Frame
from edge.camera.genicam import PREFIX, open_device
from edge.camera.pixel_formats import FORMATS
from edge.camera.source import check_source
from edge.camera.supervisor import Camera, CameraStatus
from edge.clock import monotonic
from edge.settings import CameraSettings

_LOOK_S = 0.5
_STEADY_S = 1.5  # of frames, until their rate is known
_READ = {one.name for one in FORMATS}
_TELLING = (
    "DeviceFirmwareVersion",
    "PixelFormat",
    "Width",
    "Height",
    "ExposureTime",
    "ExposureTimeAbs",
    "ExposureAuto",
    "Gain",
    "GainRaw",
    "GainAuto",
    "AcquisitionFrameRate",
    "TriggerSource",
    "GevSCPSPacketSize",
)
"""Features that most cameras have; the others are the maker's to tell of."""


@dataclass(frozen=True)
class Listed:
    """A camera that is there."""

    source: str
    """For `camera.source`."""
    camera: str
    where: str


@dataclass(frozen=True)
class Mode:
    """What can be chosen of a camera."""

    name: str
    now: str
    choice: str


def listed() -> tuple[list[Listed], str | None]:
    """The cameras of this machine and of its networks; and why there may be more, in words."""
    found = [Listed(one.source, one.name, one.node) for one in v4l2.find()]
    try:
        of_aravis = aravis.find()
    except SourceError as error:
        return found, str(error)
    for one in of_aravis:
        protocol = {"GigEVision": "GigE Vision", "USB3Vision": "USB3 Vision"}.get(one.protocol, one.protocol)
        name = f"{one.vendor} {one.model}, serial {one.serial}"
        found.append(Listed(f"{PREFIX}{one.id}", name, f"{protocol}, {one.address}"))
    return found, None


def modes(settings: CameraSettings) -> list[Mode]:
    """What can be chosen of the camera of `settings`; nothing of a stream or file.

    Raises:
        SourceError: it cannot be opened.
    """
    source = settings.source
    check_source(settings)
    if source.startswith(PREFIX):
        return list(_features(source))
    if source.startswith(("/dev/video", "/dev/v4l/")):
        return [Mode(one.format, one.description, "; ".join(one.sizes)) for one in v4l2.modes(source)]
    return []


def _features(source: str) -> Iterator[Mode]:
    device = open_device(source)
    try:
        for name in _TELLING:
            if not device.is_available(name):
                continue
            try:
                now = device.get(name)
            except AravisError:
                continue  # one that can only be written tells nothing
            choices = device.choices(name)
            if name == "PixelFormat":
                choices = [one if one in _READ else f"{one} (not read)" for one in choices]
            bounds = device.bounds(name)
            choice = ", ".join(choices) if bounds is None else f"{bounds[0]:.12g} to {bounds[1]:.12g}"
            yield Mode(name, f"{now:.12g}" if isinstance(now, float) else str(now), choice)
    finally:
        device.close()


def first_frames(settings: CameraSettings) -> tuple[Frame, CameraStatus]:
    """A frame of the camera, taken as the service does, and how the camera is.

    Raises:
        SourceError: it gives none, or what it gives is not judged; the message says why.
    """
    patience_s = START_S + 3 * settings.open_timeout_s + settings.read_timeout_s
    with TemporaryDirectory(prefix="alfa-edge-") as folder, Camera("camera", settings, Path(folder)) as camera:
        until = monotonic() + patience_s
        frame: Frame | None = None
        steady = until
        while monotonic() < until:
            newer, missing = camera.next_frame(_LOOK_S), camera.missing()
            if newer is not None:
                steady = min(steady, monotonic() + _STEADY_S)
                frame = newer
            if missing is not None or camera.status.state in ("fault", "ended"):
                if frame is not None and missing is None:
                    break
                raise SourceError(missing or camera.status.reason or "there is no frame")
            if frame is not None and (camera.status.interval_s is not None or not camera.live or monotonic() >= steady):
                break
        if frame is None:
            waits = "; its trigger did not come" if settings.trigger == "line" else ""
            raise SourceError(f"{shown_source(settings.source)}: no frame within {patience_s:.0f} s{waits}")
        return frame, camera.status
