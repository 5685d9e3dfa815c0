"""Sources that PyAV reads: network streams and video files.

OpenCV gives out what FFmpeg's decoder has patched up like any other frame, and one of another size scaled or cut to the
first one's. PyAV has the marks of demuxer and decoder, the key frames, and each frame's own size.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from core import image
from core.image import Rgb
from edge.address import shown_source
from edge.camera.damage import Place
from edge.camera.errors import SourceError
from edge.camera.exposure import UNKNOWN, Exposure
from edge.camera.opencv import not_opened, stream_options, why_unanswered
from edge.camera.packets import PacketReader, VideoPacket
from edge.clock import monotonic
from edge.settings import CameraSettings

DAMAGED = Exposure(damage="something is missing of the frame, or of one that it is predicted from")
KEY_FRAME_S = 10.0
"""A stream of which something was lost and no key frame came for so long is opened anew: cameras then send one."""
_DECLARING = ("matroska", "mov", "avi", "flv", "asf")  # containers that say how long they are
_EARLY = 2.5  # intervals between two frames; a video that ends by more before its container says so was cut off


class Stream:
    """A network camera."""

    live = True
    simulated = False
    notice: str | None = None
    ready = None
    name: str | None = None

    def __init__(self, settings: CameraSettings) -> None:
        """Opens the stream and passes over what has piled up during that, so that the first frame is a fresh
        one."""
        url, self._label = settings.source, shown_source(settings.source)
        if unanswered := why_unanswered(settings):
            raise SourceError(f"{self._label}: cannot be opened: {unanswered}", absent=True)
        self._read_timeout_s = settings.read_timeout_s
        began = monotonic()
        try:
            timeouts_s = settings.open_timeout_s, settings.read_timeout_s
            self._reader = PacketReader(self._label, url, stream_options(settings), timeouts_s)
        except av.FFmpegError as error:
            raise not_opened(settings) from error
        self._encoded = self._reader.codec == "mjpeg"  # pictures one by one: core.image decodes those that are wanted
        # FFmpeg knows the end of such a frame by the begin of the next, and gives it out only then.
        self.lags = self._reader.codec in ("h264", "hevc")
        self._picture: VideoFrame | bytes = b""
        self._place: Place | None = None
        self._position: int | None = None  # of the frame grabbed last, in the stream's unit
        self._stamped = True  # whether positions tell frames apart
        self._key_at: float | None = None  # when a key frame came, or one of which nothing is missing
        self.is_picture = self._reader.format.endswith(("image2", "_pipe"))
        """Whether the address gives one picture, and is to be asked anew for the next."""
        if self.is_picture:
            return
        try:
            self._catch_up(monotonic() - began)
        except SourceError:
            self.close()
            raise

    @property
    def exposure(self) -> Exposure:
        """What is missing of the frame grabbed last."""
        return _exposure(self._place)

    def grab(self) -> bool:
        position, deadline = self._position, monotonic() + self._read_timeout_s
        self._take(deadline)
        if self._stamped and position is not None and position == self._position:
            self._take(deadline)  # some frames come twice: once when their parameter sets end, once when they do
            self._stamped = position != self._position  # a camera that sends no times is taken at its word
        if self.exposure.damage is None or (self._place is not None and self._place.index == 0):
            self._key_at = monotonic()
        elif self._key_at is not None and monotonic() - self._key_at > KEY_FRAME_S:
            raise SourceError(
                f"{self._label}: something was lost, and no key frame came for {KEY_FRAME_S:g} s; "
                "set the camera to one a second"
            )
        return True

    def retrieve(self) -> Rgb:
        if isinstance(self._picture, VideoFrame):
            return _rgb(self._picture, self.exposure)
        try:
            return image.decode(self._picture, "the picture")
        except image.ImageError as error:
            raise SourceError(f"{self._label}: a frame could not be decoded: {error}") from error

    def close(self) -> None:
        self._reader.close()

    def _take(self, deadline: float) -> None:
        """Takes the next frame; gives up after `deadline`, seconds of `edge.clock.monotonic`, if packets make none."""
        try:
            found = self._reader.packet() if self._encoded else self._reader.frame(deadline)
        except (av.ExitError, TimeoutError):
            seconds = f"{self._read_timeout_s:g} s"
            raise SourceError(f"{self._label}: stalled: connected, but no frame in {seconds}") from None
        except av.FFmpegError:
            found = None
        if found is None or (isinstance(found[0], av.Packet) and not found[0].size):
            raise SourceError(f"{self._label}: broke off: the camera ended the stream, or sent what is no video")
        taken, self._place = found
        self._picture = taken if isinstance(taken, VideoFrame) else bytes(taken)
        self._position = taken.pts

    def _catch_up(self, seconds: float) -> None:
        """Grabs until a frame had to be waited for, but no longer than `seconds`, in which the backlog came
        to be."""
        deadline = monotonic() + seconds
        unit_s = float(self._reader.stream.time_base or 0)
        while monotonic() < deadline:
            began, position = monotonic(), self._position
            self.grab()
            if position is None or self._position is None:
                continue
            lasts_s = (self._position - position) * unit_s
            if lasts_s > 0 and monotonic() - began >= 0.5 * lasts_s:
                return


class Video:
    """A video file, frame by frame at the reader's pace."""

    live = False
    simulated = False
    lags = False
    ready = None
    notice: str | None = None

    def __init__(self, path: Path, loop: bool) -> None:
        self.name: str | None = None
        self._path = path
        self._loop = loop
        self._frames = self._packets = 0
        self._gaps = 0  # places that could not be read, each of which is an item
        self._passes = False  # whether frames up to the next key frame are not decoded
        self._end: int | None = None  # of what was read, in the stream's unit
        self._reader = self._open()
        self._frame: VideoFrame | None = None
        self._missing = ""  # why there is no such frame
        self._place: Place | None = None

    @property
    def exposure(self) -> Exposure:
        """What is missing of the frame grabbed last."""
        return _exposure(self._place)

    def grab(self) -> bool:
        while True:
            try:
                found = self._next()
                break
            except av.FFmpegError:
                self._reader.pass_over()
        if not found:
            if self._frames == 0:
                raise SourceError(f"{self._path}: holds no frame that can be read")
            if missing := self._ends_early() or self._has_gaps():
                raise SourceError(f"{self._path}: {missing}; it is damaged or cut off: copy it anew", final=True)
            if not self._loop:
                return False
            self._reader.close()
            self._reader = self._open()
            return self.grab()
        self._frames += 1
        self.name = f"{self._path.name}#{self._frames}"
        return True

    def skip(self, items: int) -> None:
        """Passes over the first frames without decoding them, and with them those that are predicted from them."""
        while self._frames < items:
            try:
                found = self._packet()
            except av.FFmpegError:
                self._reader.pass_over()
                continue
            if found is not None and found[0].size:
                self._frames += 1 + self._reader.gaps - self._gaps
                self._gaps = self._reader.gaps  # each was an item, too
            elif self._loop and self._frames:
                items %= self._frames
                self._reader.close()
                self._reader = self._open()
            else:
                break
        self._passes = self._frames > 0

    def retrieve(self) -> Rgb:
        if self._frame is None:
            raise SourceError(f"{self.name}: {self._missing}")
        return _rgb(self._frame, self.exposure)

    def close(self) -> None:
        self._reader.close()

    def _open(self) -> PacketReader:
        self._frames = self._packets = self._gaps = 0
        self._passes, self._end = False, None
        try:
            return PacketReader(str(self._path), str(self._path.absolute()))  # a name may look like a URL
        except av.FFmpegError as error:
            raise SourceError(
                f"{self._path}: no video, damaged, unreadable, or of a kind that FFmpeg does not read"
            ) from error

    def _packet(self) -> tuple[VideoPacket, Place] | None:
        """The next packet; None: there are no more. Raises av.FFmpegError: it cannot be read."""
        found = self._reader.packet()
        if found is not None and found[0].size:
            packet = found[0]
            self._packets += 1
            if packet.pts is not None:
                self._end = max(self._end or 0, packet.pts + (packet.duration or 0))
        return found

    def _next(self) -> bool:
        """Takes the next frame; False: there is none. Raises av.FFmpegError: a packet cannot be read."""
        while (decoded := self._reader.decoded()) is None:
            found = self._packet()
            if found is None:
                return False
            packet, place = found
            if self._passes and packet.size and not packet.is_keyframe:
                self._frame, self._place = None, place
                self._missing = "is predicted from a frame at which the camera process ended or hung"
                return True
            self._passes = False
            self._reader.decode(packet, place)
            if self._reader.gaps > self._gaps:
                self._gaps += 1
                self._frame, self._place = None, None
                self._missing = "something of the file cannot be read here; it is damaged"
                return True
        self._frame, self._place = decoded
        return True

    def _has_gaps(self) -> str | None:
        return f"cannot be read in {self._gaps} place{'s' * (self._gaps > 1)}" if self._gaps else None

    def _ends_early(self) -> str | None:
        """What is missing at the end, by what the container says of its length."""
        reader, stream = self._reader, self._reader.stream
        if not reader.format.startswith(_DECLARING):
            return None
        if stream.frames > self._packets:
            return f"ends after {self._packets} frames of {stream.frames}"
        unit_s = float(stream.time_base or 0)
        if stream.duration is not None:
            said_s = stream.duration * unit_s
        elif reader.alone and reader.container_s is not None:
            said_s = reader.container_s
        else:
            return None
        ended_s = ((self._end or 0) - (stream.start_time or 0)) * unit_s
        interval_s = 1 / float(stream.average_rate) if stream.average_rate else 1.0
        if ended_s + _EARLY * interval_s < said_s:
            return f"ends after {ended_s:.1f} s of {said_s:.1f} s"
        return None


def _exposure(place: Place | None) -> Exposure:
    return DAMAGED if place is not None and place.damaged else UNKNOWN


def _rgb(frame: VideoFrame, exposure: Exposure) -> Rgb:
    """RGB of a frame, turned as it says; but of a damaged one that is damaged, too."""
    picture = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4 if exposure.damage is None else 0
    return np.ascontiguousarray(np.rot90(picture, quarters), np.uint8)
