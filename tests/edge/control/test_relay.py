"""One message may be so large and no larger, in however many parts it comes."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.control.client import RefusedError, ask
from edge.control.command_queue import CommandQueue
from edge.control.protocol import MAX_BYTES, MAX_PARTS, Reply, Request
from edge.control.relay import MessageMeter, ProtocolError
from edge.control.server import ConsoleServer
from edge.ops.alarms import Alarms
from tests.support.mosquitto import eventually

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 1 + 31)
READY = b"\x04\x05READY"
ALLOWED_MIB = 2.5 * (MAX_BYTES >> 20)  # the message as libzmq has it, and as Python has it
SENDER = """
import sys, zmq
path, parts, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with zmq.Context() as context, context.socket(zmq.DEALER) as sender:
    sender.setsockopt(zmq.LINGER, 5000)
    sender.connect(f"ipc://{path}")
    part = bytes(size)
    sender.send_multipart([part] * parts, copy=False)
"""


def frame(size: int, more: bool = False) -> bytes:
    flags = int(more) | (2 if size > 255 else 0)
    return bytes([flags]) + size.to_bytes(8 if size > 255 else 1, "big") + bytes(size)


def read(stream: bytes, pieces: int = 1, most_bytes: int = 1000, most_parts: int = 3) -> None:
    """The stream through a meter, in some pieces of any lengths."""
    meter = MessageMeter(most_bytes, most_parts)
    cuts = sorted(random.Random(pieces).choices(range(len(stream) + 1), k=pieces - 1))
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        meter.read(stream[start:end])


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_messages_within_the_limits_pass_however_they_are_cut(pieces: int) -> None:
    read(GREETING + READY + (frame(300, True) + frame(0, True) + frame(700)) * 5, pieces)


@pytest.mark.parametrize("pieces", [1, 7, 400])
@pytest.mark.parametrize(
    "message",
    [
        frame(1001),
        frame(500, True) + frame(501),
        frame(1, True) * 4,
        frame(0, True) * 4,
        b"\x02" + (1 << 62).to_bytes(8, "big"),  # not one byte of it has come
        b"\x06" + (1 << 40).to_bytes(8, "big"),
    ],
    ids=["one part", "two parts", "many parts", "many empty parts", "announced", "a command of ZMTP"],
)
def test_a_message_that_is_too_large_is_noticed_as_it_comes(message: bytes, pieces: int) -> None:
    with pytest.raises(ProtocolError):
        read(GREETING + READY + frame(1000) + message, pieces)


@pytest.mark.parametrize(
    "stream", [b"GET / HTTP/1.1\r\n" + bytes(64), bytes(64), b"\xff" + bytes(8) + b"\x7f\x01" + bytes(64)]
)
def test_another_protocol_is_noticed(stream: bytes) -> None:
    with pytest.raises(ProtocolError, match="no ZMTP 3"):
        read(stream)


def rss_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


class Peak:
    """The most memory that this process has while the context is open, above what it had before, MiB."""

    def __enter__(self) -> Peak:
        self.grown, self._before, self._over = 0.0, rss_mib(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.grown = max(self.grown, rss_mib() - self._before)


@contextmanager
def serving(folder: Path, alarms: Alarms) -> Iterator[ConsoleServer]:
    def answer(request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        return Reply(id=request.id, result={"bytes": sum(map(len, blobs))}), blobs

    commands = CommandQueue(answer)
    server = ConsoleServer(folder, commands, alarms)
    server.start()
    try:
        yield server
    finally:
        commands.stop()
        server.stop()


@pytest.mark.parametrize(("parts", "size"), [(40, 20_000_000), (8_000, 100_000)], ids=["40 x 20 MB", "8,000 x 100 kB"])
def test_800_mb_in_one_message_are_not_taken(tmp_path: Path, parts: int, size: int) -> None:
    alarms = Alarms()
    with serving(tmp_path, alarms) as server, Peak() as peak:
        command = [sys.executable, "-c", SENDER, str(server.path), str(parts), str(size)]
        sender = subprocess.Popen(command)
        eventually(lambda: bool(alarms.every()), 30)
        assert ask(server.path, "echo", {}, [b"one"])[0] == {"bytes": 3}
        sender.wait(30)
    assert peak.grown < ALLOWED_MIB
    [alarm] = alarms.every()
    assert alarm.code == "messages_refused"
    assert "a message of more than 68 MiB or 512 parts" in alarm.message


def test_as_much_as_is_allowed_is_taken_and_comes_back(tmp_path: Path) -> None:
    pictures = [bytes([number]) * (MAX_BYTES // 5) for number in range(4)]
    with serving(tmp_path, Alarms()) as server:
        result, returned = ask(server.path, "echo", {}, pictures)
        assert result == {"bytes": 4 * (MAX_BYTES // 5)}
        assert returned == pictures


@pytest.mark.parametrize("pictures", [[bytes(MAX_BYTES)], [b""] * (MAX_PARTS + 1)], ids=["bytes", "pictures"])
def test_a_client_says_itself_that_it_asks_for_too_much(tmp_path: Path, pictures: list[bytes]) -> None:
    with serving(tmp_path, Alarms()) as server:
        with pytest.raises(RefusedError, match="at most 256 pictures and 64 MiB; send fewer at a time"):
            ask(server.path, "echo", {}, pictures)


def test_clients_that_come_and_go_or_say_nothing_hold_up_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, Alarms()) as server:
        silent = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for client in silent:
            client.connect(str(server.path))
        for client in silent[::2]:
            client.sendall(GREETING[:30])
            client.close()
        before = time.monotonic()
        assert ask(server.path, "echo", {}, [b"one"])[0] == {"bytes": 3}
        assert time.monotonic() - before < 5
        for client in silent:
            client.close()
