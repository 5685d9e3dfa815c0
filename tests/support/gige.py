"""A real GigE Vision camera on the loopback interface: Aravis's `arv-fake-gv-camera-0.8`, and a relay before it.

GigE Vision has one port, so there can be one such camera at a time on a machine: whoever comes second waits.
"""

from __future__ import annotations

import fcntl
import random
import selectors
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

PROGRAM = "arv-fake-gv-camera-0.8"
PACKAGE = "aravis-tools"
ID, VENDOR, MODEL, ADDRESS = "Aravis-Fake-GV01", "Aravis", "Fake", "127.0.0.1"
PORT = 3956
RELAY = "127.0.0.2"

_LOCK = Path(tempfile.gettempdir()) / "alfa-edge-gige.lock"
_START_S = 20.0
_HEADER = struct.Struct(">BBHHH")  # key, flags, command, length, number
_DISCOVER = bytes.fromhex("421100020000ffff")
_READ_REGISTER_ACK, _WRITE_REGISTER, _READ_MEMORY, _READ_MEMORY_ACK, _WRITE_MEMORY = 0x81, 0x82, 0x84, 0x85, 0x86
_READ_REGISTER = 0x80
_STREAM_PORT, _TRIGGER_SOURCE, _TRIGGER_SOFTWARE = 0x0D00, 0x304, 0x30C
_LINE0, _SOFTWARE = 0, 1
_PAYLOAD = 3  # kind of a stream's packet


class GigECamera:
    """The camera: 512 x 512 pixels of a diagonal ramp that moves, 25 a second, `Mono8`; `lost`: packets of a thousand.

    `stop` is its power going, `start` its coming back. It knows no resends.

        with GigECamera() as camera:
            CameraSettings(source=camera.source)
    """

    source = f"genicam:{ID}"

    def __init__(self, lost: int = 0) -> None:
        self._lost = lost
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        if shutil.which(PROGRAM) is None:
            raise RuntimeError(f"{PROGRAM} is missing: apt-get install --no-install-recommends {PACKAGE}")
        self._process = subprocess.Popen(
            [PROGRAM, "-i", ADDRESS, "-r", str(self._lost)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + _START_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.settimeout(0.2)
            while time.monotonic() < end:
                assert self._process.poll() is None, f"{PROGRAM} has ended: is there another on port {PORT}?"
                asked.sendto(_DISCOVER, (ADDRESS, PORT))
                try:
                    asked.recv(1024)
                except (TimeoutError, ConnectionRefusedError):
                    time.sleep(0.02)
                    continue
                return
        raise AssertionError(f"{PROGRAM} does not answer")

    def stop(self) -> None:
        """Its power goes."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> GigECamera:
        self._lock = _LOCK.open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self.start()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        assert self._lock is not None
        self._lock.close()


class Relay:
    """Stands between the camera and who opens it at `source`: loses what it is told to, and is its trigger input.

    Where the camera is set to be triggered by Line0, `pulse` is the signal there: the camera itself has no input, so
    the relay has it triggered by software.
    """

    source = f"genicam:{RELAY}"

    def __init__(self, seed: int = 0) -> None:
        self.keeps: Callable[[int, int], bool] = lambda frame, packet: True
        """Whether a packet of the stream comes through, by the number of its frame and its own, 0 of the leader."""
        self.pixels: Callable[[int, bytes], bytes] = lambda place, sent: sent
        """What comes through of a packet's pixels, by the place of its frame among all that the camera has sent; the
        first is 0."""
        self.frames: list[int] = []
        """The numbers of the frames that the camera has sent, in their order."""
        self._random = random.Random(seed)
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.bind((RELAY, PORT))
        self._camera = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._camera.connect((ADDRESS, PORT))
        self._stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._stream.bind((ADDRESS, 0))
        self._host: tuple[str, int] | None = None
        self._stream_to = 0
        self.by_line = False
        """Whether the camera is set to be triggered by its input."""
        self._reads: dict[int, int] = {}  # what is asked for, by the number of the request
        self._pulses = 0x8000
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        for one in (self._control, self._camera, self._stream):
            one.close()

    def lose(self, share: float) -> None:
        """Loses so many of the packets, by chance."""
        self.keeps = lambda frame, packet: self._random.random() >= share

    def lose_frames(self, frames: Iterable[int]) -> None:
        """Loses frames whole, by their place among those that the camera sends: 0 is the first from now on."""
        begin, lost = len(self.frames), set(frames)
        self.keeps = lambda frame, packet: len(self.frames) - 1 - begin not in lost

    def pulse(self) -> None:
        """A signal at the camera's input; returns when it is exposed, and its frame on its way."""
        sent = len(self.frames)
        self._pulses += 1
        self._camera.send(
            _HEADER.pack(0x42, 1, _WRITE_REGISTER, 8, self._pulses) + struct.pack(">II", _TRIGGER_SOFTWARE, 1)
        )
        end = time.monotonic() + _START_S
        while len(self.frames) == sent:
            assert time.monotonic() < end, "the camera does not take the signal"
            time.sleep(0.002)

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one, read in ((self._control, self._asked), (self._camera, self._answered), (self._stream, self._sent)):
                selector.register(one, selectors.EVENT_READ, read)
            while not self._ended.is_set():
                for key, _ in selector.select(0.05):
                    try:
                        key.data()
                    except ConnectionRefusedError:  # the camera is off
                        continue

    def _asked(self) -> None:
        packet, self._host = self._control.recvfrom(65536)
        _, _, command, _, number = _HEADER.unpack_from(packet)
        if command in (_WRITE_REGISTER, _WRITE_MEMORY):
            address, value = struct.unpack_from(">II", packet, _HEADER.size)
            if address == _STREAM_PORT and value:
                self._stream_to, value = value, self._stream.getsockname()[1]
            elif address == _TRIGGER_SOURCE:
                self.by_line, value = value == _LINE0, _SOFTWARE
            packet = packet[: _HEADER.size + 4] + struct.pack(">I", value) + packet[_HEADER.size + 8 :]
        elif command in (_READ_REGISTER, _READ_MEMORY):
            (self._reads[number],) = struct.unpack_from(">I", packet, _HEADER.size)
        self._camera.send(packet)

    def _answered(self) -> None:
        packet = self._camera.recv(65536)
        _, _, command, _, number = _HEADER.unpack_from(packet)
        if number > 0x8000 and number == self._pulses:
            return
        read = self._reads.pop(number, None) if command in (_READ_REGISTER_ACK, _READ_MEMORY_ACK) else None
        if read == _TRIGGER_SOURCE and self.by_line:
            packet = packet[:-4] + struct.pack(">I", _LINE0)
        if self._host is not None:
            self._control.sendto(packet, self._host)

    def _sent(self) -> None:
        packet = self._stream.recv(65536)
        _, frame, _ = struct.unpack_from(">HHI", packet)
        index = int.from_bytes(packet[5:8], "big")
        if index == 0 and frame and self.frames[-1:] != [frame]:
            self.frames.append(frame)
        if frame and packet[4] == _PAYLOAD:
            packet = packet[:8] + self.pixels(len(self.frames) - 1, packet[8:])
        if frame == 0 or self.keeps(frame, index):  # of no frame: a packet that tries how large they may be
            self._stream.sendto(packet, (ADDRESS, self._stream_to))
