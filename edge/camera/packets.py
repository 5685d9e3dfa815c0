"""Packets and frames out of a container by PyAV, each with what is known to be missing of it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias, cast

import av
import av.logging
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from core import MOST_PIXELS
from core.image import ImageError, check_shape
from edge.camera.damage import Place, Track
from edge.camera.errors import SourceError
from edge.clock import monotonic

VideoPacket: TypeAlias = "Packet[VideoStream]"

_GROUPED = ("h264", "hevc")  # codecs whose key frames may have several slices
_MOST_ERRORS = 1000  # in a row, that a damaged file may give in place of packets
_RTP_LOSS = "RTP: missed"  # FFmpeg marks no packet then, it says so only
_TS_LOSS = "Packet corrupt (stream = {index}, dts = {dts})"

# FFmpeg's words hold addresses with their passwords; what is of use of them is taken where they are said.
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False
av.logging.set_level(av.logging.WARNING)
av.logging.set_skip_repeated(False)


class PacketReader:
    """An open container, its video's packets and frames."""

    def __init__(
        self,
        label: str,
        address: str,
        options: dict[str, str] | None = None,
        timeouts_s: tuple[float, float] | None = None,
    ) -> None:
        """Opens it.

        Args:
            label: What messages call it.
            address: A URL, or an absolute path.
            options: FFmpeg's.
            timeouts_s: For the opening, and for each packet.

        Raises:
            av.FFmpegError: it cannot be opened.
            SourceError: it holds no video, or too large a one.
        """
        self._label = label
        with _words() as words:
            self._container = av.open(address, options=options or {}, timeout=timeouts_s)
        self.format = self._container.format.name
        self._check_video()
        self.stream = self._container.streams.video[0]
        self.codec = self.stream.codec_context.name
        self._decoder = _set_up(self.stream.codec_context)
        self._has_seen_damage = False  # whether the decoder has
        self._track = Track()
        self.gaps = 0
        """Places so far at which something of the container could not be read."""
        self._at_opening = "".join(text for _, _, text in words)
        self._unread = False  # whether something between the last packet and the next cannot be read
        self._errors = 0
        self._demuxed = self._container.demux(self.stream)
        self._frames: deque[VideoFrame] = deque()
        self._held: VideoPacket | None = None  # was read, and comes next
        self._cuts_keys = False  # whether key frames come in several packets
        self._key_time: int | None = None  # of the last packet, where it was one of a key frame

    @property
    def alone(self) -> bool:
        """Whether there is no stream beside the video's, so that the container's length is the video's."""
        return len(self._container.streams) == 1

    @property
    def container_s(self) -> float | None:
        """Seconds that the container says it lasts."""
        return None if self._container.duration is None else self._container.duration / av.time_base

    def packet(self) -> tuple[VideoPacket, Place] | None:
        """The next packet; None: there are no more. The last one is empty, and brings what the decoder holds back.

        Raises:
            av.FFmpegError: it cannot be read; see `pass_over`.
        """
        with _words() as words:
            packet = self._next()
        if packet is None:
            return None
        unread = self._unread or any(level <= av.logging.ERROR and name == self.format for level, name, _ in words)
        self.gaps += unread
        lost = any(text.startswith(_RTP_LOSS) for _, _, text in words) or self._lost_at_opening(packet)
        self._errors, self._unread = 0, False
        # Where a piece of a transport stream begins, its parser ends the packet before, and gives that one the piece's
        # mark.
        early = self.format == "mpegts"
        lost, lost_of_next = lost or (packet.is_corrupt and not early), packet.is_corrupt and early
        place = self._track.place(packet.is_keyframe, packet.pts, unread, lost, lost_of_next)
        packet.opaque = place
        return packet, place

    def _next(self) -> VideoPacket | None:
        """The next packet, put together where FFmpeg has cut it.

        Some cameras send parameter sets before each slice of a key frame, and FFmpeg takes each set for the begin of a
        frame. Its decoder would make two frames of that, each with the other's part patched up. Where this was seen
        once, a key frame waits for its other parts, which come no later than it would be given out as a whole.
        """
        packet, self._held = self._held or next(self._demuxed, None), None
        if packet is None:
            return None
        begun, self._key_time = self._key_time, None
        if self.codec in _GROUPED and packet.is_keyframe:
            self._cuts_keys = self._cuts_keys or _continues(packet, begun)
            self._key_time = packet.pts
        while self._cuts_keys and self._key_time is not None:
            self._held = next(self._demuxed, None)
            if self._held is None or not _continues(self._held, self._key_time):
                break
            packet = _joined(packet, self._held)
        return packet

    def pass_over(self) -> None:
        """Reads on behind what cannot be read.

        Raises:
            SourceError: nothing that can be read comes.
        """
        self._errors += 1
        if self._errors > _MOST_ERRORS:
            raise SourceError(f"{self._label}: is damaged: nothing more of it can be read", final=True)
        self._unread = True
        self._demuxed = self._container.demux(self.stream)

    def decode(self, packet: VideoPacket, place: Place) -> None:
        """Decodes a packet; its frames come out of `decoded`, now or after further ones."""
        with _words() as words:
            try:
                if place.index == 0 and self._has_seen_damage:
                    self._begin_anew()
                self._frames += self._decoder.decode(packet)
            except EOFError:
                return  # it was flushed before
            except av.FFmpegError:
                place.damage()
        # Many a camera sends messages beside the pictures (SEI) that are none.
        if any(level <= av.logging.ERROR and not text.startswith("SEI") for level, _, text in words):
            place.damage()
        self._has_seen_damage = self._has_seen_damage or (place.damaged and not place.leads)

    def _begin_anew(self) -> None:
        """Takes a new decoder, after what the old one holds back: of damaged parameter sets a decoder keeps for good
        what later ones do not name, colours among it."""
        self._frames += self._decoder.decode(None)
        decoder = av.CodecContext.create(self.codec, "r")
        assert isinstance(decoder, VideoCodecContext)
        decoder.extradata = self.stream.codec_context.extradata
        self._decoder, self._has_seen_damage = _set_up(decoder), False

    def decoded(self) -> tuple[VideoFrame, Place] | None:
        """The next of the frames that are decoded, in the order in which they are shown; None: a packet is due."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        place = frame.opaque
        if not isinstance(place, Place):
            raise SourceError(f"{self._label}: the decoder {self.codec} does not say which packet a frame is of")
        if frame.is_corrupt:
            place.damage()
            self._has_seen_damage = self._has_seen_damage or not place.leads
        if place.index == 0 and frame.pict_type != PictureType.I:
            place.is_no_whole_picture()
        return frame, place

    def frame(self, deadline: float) -> tuple[VideoFrame, Place] | None:
        """The next frame; None: there are no more.

        Raises:
            av.FFmpegError: a packet cannot be read.
            TimeoutError: packets came, and made no frame by `deadline`, seconds of `edge.clock.monotonic`. A decoder
                waits for a key frame, and some cameras send one in a minute.
        """
        while (decoded := self.decoded()) is None:
            if (found := self.packet()) is None:
                return None
            self.decode(*found)
            if not self._frames and monotonic() > deadline:
                raise TimeoutError
        return decoded

    def close(self) -> None:
        """Lets go of file or connection."""
        with _words():
            self._demuxed = iter(())  # what it held of the container has to go first
            self._container.close()

    def _check_video(self) -> None:
        video = self._container.streams.video
        if not video:
            self._container.close()
            raise SourceError(f"{self._label}: holds no video")
        width, height = video[0].codec_context.width, video[0].codec_context.height
        if width * height > MOST_PIXELS:
            self._container.close()
            most = f"{MOST_PIXELS // 1_000_000} million pixels"
            raise SourceError(f"{self._label}: has {width} x {height} pixels; more than {most} are not read")
        try:
            if width and height:  # 0: the container does not say
                check_shape(height, width, self._label)
        except ImageError as error:
            self._container.close()
            raise SourceError(str(error)) from None

    def _lost_at_opening(self, packet: VideoPacket) -> bool:
        """Whether something of the first packet was lost: what was read of it while the container was opened bears no
        mark."""
        words, self._at_opening = self._at_opening, ""
        return _RTP_LOSS in words or _TS_LOSS.format(index=self.stream.index, dts=packet.dts) in words


def _set_up(decoder: VideoCodecContext) -> VideoCodecContext:
    decoder.thread_type = "NONE"  # each further thread holds back one more frame
    decoder.copy_opaque = True  # so each frame brings its packet's place
    return decoder


def _continues(packet: VideoPacket, key_time: int | None) -> bool:
    """Whether a packet is of the key frame that began the packet before, at a time that is known; else None."""
    return key_time is not None and packet.is_keyframe and packet.pts in (key_time, None)


def _joined(first: VideoPacket, second: VideoPacket) -> VideoPacket:
    """One packet of two that are of one frame."""
    packet = cast("VideoPacket", Packet(bytes(first) + bytes(second)))
    packet.stream, packet.time_base = first.stream, first.time_base
    packet.pts, packet.dts, packet.is_keyframe = first.pts, first.dts, True
    packet.is_corrupt = first.is_corrupt or second.is_corrupt
    return packet


@contextmanager
def _words() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg says in this thread: level, speaker and text of each."""
    with av.logging.Capture() as words:
        yield words
