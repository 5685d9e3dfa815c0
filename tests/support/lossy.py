"""A camera whose packets get lost on the way: H.264 or H.265 as a transport stream, over HTTP, and over RTSP.

What is sent is encoded beforehand, so that each frame is known as it was, and each loss is the seed's.
"""

from __future__ import annotations

import contextlib
import io
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal

import av
import numpy as np

from core import simline
from core.image import Rgb

Codec = Literal["h264", "hevc"]
CLOCK = 90_000  # of transport streams and RTP, per second
_TS = 188  # bytes of a packet
_PAYLOAD = 1400  # bytes of an RTP packet
_BURST = 16  # RTP packets that are sent at once
_ENCODERS = {"h264": "libx264", "hevc": "libx265"}


@dataclass(frozen=True)
class Film:
    """An encoded film without losses."""

    codec: Codec
    fps: int
    group: int
    """Frames from one key frame to the next."""
    pieces: Sequence[bytes]
    """Of each frame, its part of the transport stream."""
    units: Sequence[bytes]
    """Each frame as NAL units behind start codes."""
    frames: Sequence[Rgb]
    """As they are decoded where nothing is lost."""


def film(codec: Codec, count: int, fps: int = 25, group: int = 10, size: tuple[int, int] = (640, 480)) -> Film:
    """A part that moves on under a noisy camera, without frames that wait for later ones."""
    width, height = size
    buffer = io.BytesIO()
    pieces: list[bytes] = []
    units: list[bytes] = []
    with av.open(buffer, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        stream = container.add_stream(_ENCODERS[codec], rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18"} | (
            {"g": str(group), "keyint_min": str(group), "sc_threshold": "0", "bf": "0"}
            if codec == "h264"
            else {
                "x265-params": f"keyint={group}:min-keyint={group}:scenecut=0:bframes=0:repeat-headers=1:pools=1:"
                "frame-threads=1:log-level=none"
            }
        )
        written = 0
        for index, picture in enumerate(scenes(count, size)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            for packet in stream.encode(frame):
                units.append(bytes(packet))
                container.mux(packet)
                data = buffer.getvalue()
                pieces.append(data[written:])
                written = len(data)
        assert len(units) == count, "an encoder that holds nothing back"
    frames = [frame.to_ndarray(format="rgb24") for frame in av.open(io.BytesIO(b"".join(pieces))).decode(video=0)]
    assert len(frames) == count
    return Film(codec, fps, group, pieces, units, frames)


def scenes(count: int, size: tuple[int, int]) -> Iterator[Rgb]:
    """A part that moves on, under a noisy camera."""
    width, height = size
    part = simline.render(simline.CLASSES[0], 1, 0, 0.0).image
    tiles = -(-height // part.shape[0]), -(-width // part.shape[1]), 1
    scene = np.tile(part, tiles)[:height, :width].astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 3, (height + 64, width + 64, 1)).astype(np.int16)
    for index in range(count):
        across, down = (index * 17) % 64, (index * 29) % 64
        shown = np.roll(scene, index * 2, 1) + noise[down : down + height, across : across + width]
        yield np.clip(shown, 0, 255).astype(np.uint8)


def encoded(encoder: str, options: dict[str, str], count: int, size: tuple[int, int]) -> bytes:
    """The same as a transport stream, by whatever options, with frames that wait for later ones, too."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mpegts") as container:
        stream = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = options
        for picture in scenes(count, size):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def lose_some(data: bytes, share: float, count: int) -> bytes:
    """A transport stream without `count` packets that stand at `share` of its length."""
    first = int(share * len(data)) // _TS * _TS
    return data[:first] + data[first + count * _TS :]


class Losses:
    """Which packets are lost, at a rate, by chance; and which frames lack some."""

    def __init__(self, rate: float, frames: range, seed: int = 0) -> None:
        """Packets of other frames than `frames` come through."""
        self._rate = rate
        self._frames = frames
        self._chance = random.Random(seed)
        self.lost: set[int] = set()
        """Frames of which a packet was lost."""

    def passes(self, frame: int) -> bool:
        """Whether a packet of `frame` comes through."""
        if frame not in self._frames or self._chance.random() >= self._rate:
            return True
        self.lost.add(frame)
        return False


def worst_block(picture: Rgb, whole: Rgb) -> float:
    """The largest mean difference of a block of 16 x 16 pixels; 255 where the sizes differ."""
    if picture.shape != whole.shape:
        return 255.0
    if np.array_equal(picture, whole):
        return 0.0
    height, width = (side // 16 * 16 for side in picture.shape[:2])
    difference = np.abs(picture.astype(np.int16) - whole).mean(2)[:height, :width]
    return float(difference.reshape(height // 16, 16, width // 16, 16).mean((1, 3)).max())


def lose(film: Film, losses: Losses) -> list[bytes]:
    """The pieces of the transport stream with packets of it lost."""
    pieces = []
    for index, piece in enumerate(film.pieces):
        packets = [piece[at : at + _TS] for at in range(0, len(piece), _TS)]
        kept = [packet for packet in packets if losses.passes(index)]
        pieces.append(b"".join(kept))
    return pieces


class HttpCamera:
    """Sends the pieces of a transport stream in time, to one client, and ends."""

    def __init__(self, pieces: Sequence[bytes], fps: float) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Type", "video/mp2t")
                    self.end_headers()
                    for piece in paced(pieces, fps):
                        self.wfile.write(piece)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/stream.ts"

    def __enter__(self) -> HttpCamera:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class RtspCamera:
    """Sends a film in time over RTSP, by TCP or UDP as the client asks for it, to one client, and ends."""

    def __init__(self, film: Film, losses: Losses, fps: float | None = None) -> None:
        self._film, self._losses = film, losses
        self._fps = fps or film.fps
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ended = False
        self.url = f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/line"

    def __enter__(self) -> RtspCamera:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._server.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended:  # a look whether somebody answers comes first, and says nothing
                connection, _ = self._server.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as requests:
            send: Callable[[bytes], object] | None = None
            while line := requests.readline().decode():
                method = line.split()[0]
                headers = {}
                while header := requests.readline().decode().strip():
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                answer, body = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n", b""
                if method == "OPTIONS":
                    answer += "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
                elif method == "DESCRIBE":
                    body = self._description()
                    answer += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                elif method == "SETUP":
                    transport = headers["transport"]
                    answer += "Session: 1\r\n"
                    if "TCP" in transport:
                        answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                        send = lambda packet: connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)  # noqa: E731
                    else:
                        port = int(transport.partition("client_port=")[2].split("-")[0])
                        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        sender.bind(("127.0.0.1", 0))
                        sender.connect(("127.0.0.1", port))
                        own = sender.getsockname()[1]
                        answer += f"Transport: {transport};server_port={own}-{own + 1}\r\n"
                        send = sender.send
                connection.sendall(f"{answer}\r\n".encode() + body)
                if method == "PLAY" and send is not None:
                    threading.Thread(target=self._play, args=(send, connection), daemon=True).start()
                if method == "TEARDOWN":
                    return

    def _description(self) -> bytes:
        name = {"h264": "H264", "hevc": "H265"}[self._film.codec]
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=line", "c=IN IP4 0.0.0.0", "t=0 0", "m=video 0 RTP/AVP 96"]
        lines += [f"a=rtpmap:96 {name}/{CLOCK}", "a=control:track"]
        if self._film.codec == "h264":
            lines.append("a=fmtp:96 packetization-mode=1")
        return "".join(f"{line}\r\n" for line in lines).encode()

    def _play(self, send: Callable[[bytes], object], connection: socket.socket) -> None:
        number = 0
        with contextlib.suppress(OSError):
            for index, unit in enumerate(paced(self._film.units, self._fps)):
                stamp = 1000 + index * CLOCK // self._film.fps
                payloads = list(_payloads(unit, self._film.codec))
                for place, payload in enumerate(payloads):
                    marker = 0x80 if place == len(payloads) - 1 else 0
                    number += 1
                    if self._losses.passes(index):
                        send(struct.pack(">BBHII", 0x80, marker | 96, number & 0xFFFF, stamp, 7) + payload)
                    if place % _BURST == _BURST - 1:
                        time.sleep(0.0005)  # else a socket for UDP runs over
            connection.shutdown(socket.SHUT_RDWR)


def paced(pieces: Sequence[bytes], fps: float) -> Iterator[bytes]:
    """The pieces, each at its time."""
    began = time.monotonic()
    for index, piece in enumerate(pieces):
        time.sleep(max(0.0, began + index / fps - time.monotonic()))
        yield piece


def _payloads(unit: bytes, codec: Codec) -> Iterator[bytes]:
    """A frame's NAL units for RTP (RFC 6184, RFC 7798), those that are too large in fragments."""
    for nal in _nals(unit):
        if len(nal) <= _PAYLOAD:
            yield nal
            continue
        head = 1 if codec == "h264" else 2
        pieces = [nal[at : at + _PAYLOAD] for at in range(head, len(nal), _PAYLOAD)]
        for place, piece in enumerate(pieces):
            ends = (0x80 if place == 0 else 0) | (0x40 if place == len(pieces) - 1 else 0)
            if codec == "h264":
                yield bytes([(nal[0] & 0xE0) | 28, ends | (nal[0] & 0x1F)]) + piece
            else:
                yield bytes([(nal[0] & 0x81) | (49 << 1), nal[1], ends | (nal[0] >> 1 & 0x3F)]) + piece


def _nals(unit: bytes) -> Iterator[bytes]:
    for nal in unit.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1"):
        if nal:
            yield nal
