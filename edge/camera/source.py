"""Where frames come from: one interface, and the choice by what the settings name."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from core.image import Rgb
from core.picture_files import is_called_picture
from core.regular_file import check_regular
from core.remedy import extra
from edge.address import shown_source
from edge.camera import opencv
from edge.camera.errors import SourceError
from edge.camera.exposure import Exposure
from edge.camera.genicam import PREFIX, GenICam, camera_id, is_present
from edge.camera.opencv import PORTS, Device, Pipeline, why_unanswered
from edge.camera.pictures import Folder, Simulation
from edge.settings import CameraSettings

KINDS = (
    "a device (/dev/video0), genicam:<id>, rtsp://, rtsps://, http://, https://, gst:<pipeline>, a video file, "
    "a folder of images, or sim:<class>"
)
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")


class Source(Protocol):
    """An open source of frames. `grab` takes the next one, `retrieve` decodes the one grabbed last."""

    live: bool
    """Whether it goes on by itself. A source that is not live waits, and loses nothing."""
    lags: bool
    """Whether a frame is given out only when the next one comes, so that it is one interval old by then."""
    simulated: bool
    """Whether no real camera is behind it."""
    name: str | None
    """What the source calls the frame grabbed last."""
    notice: str | None
    """What people should know of how it is read."""

    @property
    def exposure(self) -> Exposure:
        """How the frame grabbed last was taken, as far as the source knows."""
        ...

    @property
    def ready(self) -> Callable[[float], bool] | None:
        """Of a live source that exposes on request, or by a trigger: whether a frame can be grabbed, after waiting for
        so many seconds; it raises SourceError where the camera is gone. None: the source goes on by itself."""
        ...

    def grab(self) -> bool:
        """Takes the next frame, waiting for it up to the read timeout. False: the source is at its end.

        Raises:
            SourceError: a live source has stalled or broken off; it has to be opened anew.
        """
        ...

    def retrieve(self) -> Rgb:
        """Decodes the frame grabbed last.

        Raises:
            SourceError: it cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Lets go of the device, connection or file."""
        ...


class Waiting(Source, Protocol):
    """A source that is not live."""

    def skip(self, items: int) -> None:
        """Passes over the first items, before anything else is done with it. One that loops takes them as a loop."""
        ...


def check_source(settings: CameraSettings, there: bool = False) -> None:
    """Looks at the name of a source, and opens nothing.

    Args:
        settings: Of the camera.
        there: Also asks whether there is something at that address, as `is_there` does.

    Raises:
        SourceError: no source is called so; or there is nothing.
    """
    source = settings.source
    if source.startswith("sim:"):
        Simulation(source)
    elif source.startswith(PREFIX):
        camera_id(source)
        if there and not is_there(settings):
            raise _absent(source)
    elif (scheme := _SCHEME.match(source)) and scheme[1].lower() not in PORTS:
        raise SourceError(f"{shown_source(source)}: {scheme[1]}:// is not supported; known are {KINDS}", final=True)
    elif there and not source.startswith("gst:") and not is_there(settings):
        raise _absent(source)


def open_source(settings: CameraSettings) -> Source:
    """Opens what `settings.source` names.

    Raises:
        SourceError: it cannot be opened; the message names it and what may be done.
    """
    check_source(settings)
    source = settings.source
    if source.startswith("sim:"):
        return Simulation(source)
    if source.startswith("gst:"):
        return Pipeline(settings)
    if source.startswith(PREFIX):
        return GenICam(settings)
    if _SCHEME.match(source):
        return _stream(settings)
    path = Path(source)
    try:
        if path.is_char_device() or source.startswith(("/dev/video", "/dev/v4l/")):
            return Device(settings)
        if path.is_dir() or (is_called_picture(path.name) and path.exists()):
            return Folder(path, settings.loop, settings.bits)
        if path.exists():
            check_regular(path)
            return _video(path, settings)
    except OSError as error:
        raise SourceError(f"{shown_source(source)}: {error.strerror or error}") from error
    raise _absent(source)


def _stream(settings: CameraSettings) -> Source:
    if not _has_pyav(settings):
        return opencv.Stream(settings)
    from edge.camera import pyav, snapshots

    stream = pyav.Stream(settings)
    if not stream.is_picture:
        return stream
    stream.close()
    return snapshots.Snapshots(settings)


def _video(path: Path, settings: CameraSettings) -> Source:
    if not _has_pyav(settings):
        return opencv.Video(path, settings.loop)
    from edge.camera import pyav

    return pyav.Video(path, settings.loop)


def _has_pyav(settings: CameraSettings) -> bool:
    """Whether PyAV is to read what is compressed, rather than OpenCV."""
    if settings.reader == "opencv":
        return False
    if find_spec("av") is not None:
        return True
    if settings.reader == "av":
        label = shown_source(settings.source)
        raise SourceError(f"{label}: camera.reader is `av`, which is not installed: {extra('av')}", final=True)
    return False


def _absent(source: str) -> SourceError:
    label = shown_source(source)
    if _SCHEME.match(source) or source.startswith(PREFIX):
        return SourceError(f"{label}: nothing answers there; check the address, and that the camera runs", absent=True)
    return SourceError(f"{label}: no such file or folder; check the path, or give {KINDS}", absent=True)


def is_there(settings: CameraSettings) -> bool:
    """Whether there is something at the address of a source that was found absent. Opens nothing, and takes no
    longer than a fifth of the open timeout, or the second that GenICam cameras may take to answer: cheap enough to be
    asked again and again."""
    if settings.source.startswith(PREFIX):
        return is_present(settings.source)
    if _SCHEME.match(settings.source):
        return why_unanswered(settings) is None
    return Path(settings.source).exists()
