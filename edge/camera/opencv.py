"""Sources that OpenCV reads: network streams, V4L2 devices, GStreamer pipelines, video files."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from core import image
from core.image import Rgb
from core.remedy import extra
from edge.address import shown_source
from edge.camera.errors import SourceError
from edge.camera.exposure import UNKNOWN
from edge.clock import monotonic
from edge.settings import CameraSettings

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}  # by the scheme of the address
UNSEEN_DAMAGE = (
    "OpenCV reads this video, and does not tell which frames were damaged on the way: they are judged like others; "
    + extra("av")
)


class _Capture:
    """What the sources over `cv2.VideoCapture` share."""

    simulated = False
    lags = False
    exposure = UNKNOWN
    ready = None
    notice: str | None = None
    name: str | None = None

    def __init__(self, label: str, capture: cv2.VideoCapture) -> None:
        self._label = label
        self._capture = capture

    def retrieve(self) -> Rgb:
        try:
            ok, frame = self._capture.retrieve()
            if not ok:
                raise SourceError(f"{self._label}: a frame could not be decoded")
            return image.from_opencv(frame)
        except (cv2.error, image.ImageError) as error:
            raise SourceError(f"{self._label}: a frame could not be decoded: {error}") from error

    def close(self) -> None:
        self._capture.release()

    def _grab(self) -> bool:
        try:
            return self._capture.grab()
        except cv2.error as error:
            raise SourceError(f"{self._label}: {error}") from error


class _Live(_Capture):
    """A capture that goes on by itself."""

    live = True

    def __init__(self, label: str, capture: cv2.VideoCapture, read_timeout_s: float) -> None:
        super().__init__(label, capture)
        self._read_timeout_s = read_timeout_s

    def grab(self) -> bool:
        began = monotonic()
        grabbed = self._grab()
        # After a timeout FFmpeg gives out what its decoder held back: an old picture.
        if monotonic() - began >= 0.99 * self._read_timeout_s:
            raise SourceError(f"{self._label}: stalled: connected, but no frame in {self._read_timeout_s:g} s")
        if not grabbed:
            raise SourceError(f"{self._label}: broke off: the camera ended the stream, or sent what is no video")
        return True


class Stream(_Live):
    """A network camera, read by FFmpeg."""

    def __init__(self, settings: CameraSettings) -> None:
        """Opens the stream and passes over what has piled up during that, so that the first frame is a fresh
        one."""
        url, label = settings.source, shown_source(settings.source)
        if unanswered := why_unanswered(settings):
            raise SourceError(f"{label}: cannot be opened: {unanswered}", absent=True)
        # These options travel by environment only; it is this process's own, as is the camera.
        options = stream_options(settings)
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{key};{value}" for key, value in options.items())
        # Each further thread of the decoder holds back one more frame: with 8 of them at 10 frames/s, 0.7 s.
        os.environ["OPENCV_FFMPEG_THREADS"] = "1"
        began = monotonic()
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, _timeouts(settings))
        if not capture.isOpened():
            capture.release()
            raise not_opened(settings)
        super().__init__(label, capture, settings.read_timeout_s)
        # FFmpeg's decoder fills a picture that did not come whole from the one before it, and OpenCV scales one of
        # another size to the first one's. Of pictures that are encoded one by one, core.image decodes what is wanted.
        self._encoded = _fourcc(capture) == "mjpg" and capture.set(cv2.CAP_PROP_FORMAT, -1)
        self._position = -1.0  # of the frame grabbed last in the stream, ms
        self._stamped = True  # whether positions tell frames apart
        self.notice = None if self._encoded else UNSEEN_DAMAGE
        # FFmpeg knows the end of such a frame by the begin of the next, and gives it out only then.
        self.lags = _fourcc(capture) in {"h264", "avc1", "hevc", "hev1", "hvc1"}
        try:
            self._catch_up(monotonic() - began)
        except SourceError:
            self.close()
            raise

    def grab(self) -> bool:
        super().grab()
        position = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        if self._stamped and position == self._position:
            super().grab()  # some frames come twice: once when their parameter sets end, once when they do
            position = self._capture.get(cv2.CAP_PROP_POS_MSEC)
            self._stamped = position != self._position  # a camera that sends no times is taken at its word
        self._position = position
        return True

    def retrieve(self) -> Rgb:
        if not self._encoded:
            return super().retrieve()
        try:
            ok, packet = self._capture.retrieve()
            return image.decode(packet.tobytes() if ok else b"", "the picture")
        except (cv2.error, image.ImageError) as error:
            raise SourceError(f"{self._label}: a frame could not be decoded: {error}") from error

    def _catch_up(self, seconds: float) -> None:
        """Grabs until a frame had to be waited for, but no longer than `seconds`, in which the backlog came
        to be."""
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            began, position = monotonic(), self._position
            self.grab()
            lasts_s = (self._position - position) / 1000
            if position >= 0 and lasts_s > 0 and monotonic() - began >= 0.5 * lasts_s:
                return


class Device(_Live):
    """A camera of this machine, read by V4L2."""

    def __init__(self, settings: CameraSettings) -> None:
        path, width, height = settings.source, settings.width, settings.height
        if not Path(path).exists():
            raise SourceError(
                f"{path}: no such device; is it plugged in? `ls /dev/v4l/by-id` lists what there is", absent=True
            )
        if not os.access(path, os.R_OK | os.W_OK):
            raise SourceError(f"{path}: permission denied; the service's user has to be in the group `video`")
        if (width is None) != (height is None):
            raise SourceError(f"{path}: width and height go together; set both or none", final=True)
        os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(settings.read_timeout_s))
        capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
        super().__init__(path, capture, settings.read_timeout_s)
        if not capture.isOpened():
            self.close()
            raise SourceError(f"{path}: cannot be opened; it is no camera, or another program has it (`fuser {path}`)")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where the driver keeps more, the steady grabbing empties them
        if width is not None and height is not None:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
            got = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            if got != (width, height):
                self.close()
                raise SourceError(
                    f"{path}: gives {got[0]} x {got[1]} pixels where {width} x {height} are asked of it; "
                    f"`v4l2-ctl -d {path} --list-formats-ext` lists its sizes"
                )


class Pipeline(_Live):
    """A camera that GStreamer reads, for instance one on a Jetson's CSI port: `gst:<elements> ! appsink ...`."""

    def __init__(self, settings: CameraSettings) -> None:
        pipeline = settings.source.removeprefix("gst:").strip()
        label = shown_source(settings.source)
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise SourceError(
                f"{label}: this OpenCV has no GStreamer; install one that was built with it (-D WITH_GSTREAMER=ON) "
                "in place of the package opencv-python",
                final=True,
            )
        capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, _timeouts(settings))
        super().__init__(label, capture, settings.read_timeout_s)
        if not capture.isOpened():
            self.close()
            raise SourceError(
                f"{label}: cannot be opened; try the pipeline with gst-launch-1.0, and let it end in appsink"
            )


class Video(_Capture):
    """A video file, frame by frame at the reader's pace."""

    live = False
    notice: str | None = UNSEEN_DAMAGE

    def __init__(self, path: Path, loop: bool) -> None:
        self._path = path
        self._loop = loop
        self._frames = 0
        super().__init__(str(path), self._open())

    def grab(self) -> bool:
        if not self._grab():
            if self._frames == 0:
                raise SourceError(f"{self._path}: holds no frame that can be read")
            if not self._loop:
                return False
            self._capture.release()
            self._frames = 0
            self._capture = self._open()  # seeking back is not exact in every format
            return self.grab()
        self._frames += 1
        self.name = f"{self._path.name}#{self._frames}"
        return True

    def skip(self, items: int) -> None:
        """Passes over the first frames."""
        for _ in range(items):
            if not self.grab():
                return

    def _open(self) -> cv2.VideoCapture:
        name = str(self._path.absolute())  # one that is relative may look like a URL
        if not name.isascii() and name.encode(errors="replace").decode() != name:
            raise SourceError(f"{self._path}: its name is no UTF-8, and would end OpenCV; rename it", final=True)
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"{self._path}: no video, damaged, unreadable, or of a kind that FFmpeg does not read")
        return capture


def _fourcc(capture: cv2.VideoCapture) -> str:
    return int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True).decode("latin-1").lower()


def _timeouts(settings: CameraSettings) -> list[int]:
    """What tells OpenCV the timeouts; after the opening it takes them no more."""
    return [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        math.ceil(settings.open_timeout_s * 1000),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        math.ceil(settings.read_timeout_s * 1000),
    ]


def stream_options(settings: CameraSettings) -> dict[str, str]:
    """FFmpeg's options for a network stream."""
    # FFmpeg looks at a stream for up to 5 s before it gives a frame, longer than the opening may take.
    options = {"analyzeduration": str(round(min(5.0, settings.open_timeout_s / 5) * 1_000_000))}
    if settings.source.lower().startswith("rtsp"):
        options["rtsp_transport"] = settings.transport
        if settings.transport == "tcp":
            options["reorder_queue_size"] = "2"  # without a queue FFmpeg does not say that packets are missing
    return options


def not_opened(settings: CameraSettings) -> SourceError:
    """What there is to say of a network stream that could not be opened."""
    label = shown_source(settings.source)
    if unanswered := why_unanswered(settings):
        return SourceError(f"{label}: cannot be opened: {unanswered}", absent=True)
    host, port = _address(settings.source)
    return SourceError(
        f"{label}: cannot be opened: {host} port {port} answers, but gave no video in "
        f"{settings.open_timeout_s:g} s; check path, user and password"
    )


def _address(url: str) -> tuple[str, int]:
    label = shown_source(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS[parts.scheme.lower()]
    except ValueError:  # its words quote the address
        malformed = "the address is malformed: its port is a number up to 65535, and [ ] hold an address of IPv6"
        raise SourceError(f"{label}: cannot be opened: {malformed}", final=True) from None
    if not host:
        raise SourceError(f"{label}: cannot be opened: the address names no host", final=True)
    return host, port


def why_unanswered(settings: CameraSettings) -> str | None:
    """Why nobody accepts a connection at a stream's address, and the remedy; None: somebody does.

    Opening a stream takes several round trips, so a fifth of the time for it is time enough for the first.

    Raises:
        SourceError: it is no address.
    """
    host, port = _address(settings.source)
    try:
        socket.create_connection((host, port), settings.open_timeout_s / 5).close()
    except (socket.gaierror, UnicodeError):
        return f"the name {host} is not known; check the address and the name server"
    except TimeoutError:
        return f"{host} port {port} does not answer; check power, cable and address"
    except OSError as error:
        return f"{host} port {port}: {error.strerror or error}; check power, cable and address"
    return None
