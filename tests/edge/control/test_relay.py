"""One message may be so large and no larger, in however many parts it comes."""

from __future__ import annotations

import itertools
import resource
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
from edge.control.relay import CONNECTIONS
from edge.control.server import ConsoleServer
from edge.ops.alarms import Alarms
from tests.support.crowd import Crowd
from tests.support.memory import Growth
from tests.support.mosquitto import eventually
from tests.support.zmtp import GREETING, frame, hello

HELLO = hello(b"DEALER")
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
    with serving(tmp_path, alarms) as server, Growth() as growth:
        command = [sys.executable, "-c", SENDER, str(server.path), str(parts), str(size)]
        sender = subprocess.Popen(command)
        eventually(lambda: bool(alarms.every()), 30)
        assert ask(server.path, "echo", {}, [b"one"])[0] == {"bytes": 3}
        sender.wait(30)
    print(f"grown by {growth.mib:.0f} MiB")
    assert growth.mib < ALLOWED_MIB
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
    refused = pytest.raises(RefusedError, match="at most 256 pictures and 64 MiB; send fewer at a time")
    with serving(tmp_path, Alarms()) as server, refused:
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


def in_use() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("opening", "drip"),
    [
        (b"", b""),
        (GREETING[:30], b""),
        (b"", b"\xff"),
        (GREETING, b""),
        (GREETING + HELLO + frame(300)[:100], b""),
        (GREETING + HELLO + b"\x02" + (60 << 20).to_bytes(8, "big"), b"x"),
    ],
    ids=["silent", "half a greeting", "a greeting that drips", "a greeting", "half a frame", "a frame that drips"],
)
def test_a_crowd_that_stays_keeps_nobody_out_and_takes_few_descriptors(
    tmp_path: Path, opening: bytes, drip: bytes
) -> None:
    """Fault: 1,075 silent connections ended the whole service."""
    alarms = Alarms()
    with serving(tmp_path, alarms) as server:
        ask(server.path, "echo", {}, [b"one"])
        before = in_use()
        with Crowd(server.path, 1500, opening, drip):
            began = time.monotonic()
            assert ask(server.path, "echo", {}, [b"one"])[0] == {"bytes": 3}
            assert time.monotonic() - began < 5
            eventually(lambda: in_use() - before <= 3 * CONNECTIONS)  # ours, to libzmq, and its own
            [alarm] = alarms.every()
            assert (alarm.code, alarm.about) == ("messages_refused", "console")
            assert "more than 64 are connected" in alarm.message
        eventually(lambda: in_use() <= before)


def test_a_console_that_waits_for_its_answer_outlasts_a_crowd(tmp_path: Path) -> None:
    go_on = threading.Event()

    def answer(request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        go_on.wait(20)
        return Reply(id=request.id, result={}), blobs

    commands, answers = CommandQueue(answer), list[object]()
    server = ConsoleServer(tmp_path, commands)
    server.start()
    waiting = threading.Thread(target=lambda: answers.append(ask(server.path, "echo", {}, timeout_s=20)))
    waiting.start()
    time.sleep(0.3)
    with Crowd(server.path, 300):
        go_on.set()
        waiting.join(10)
    assert answers == [({}, [])]
    commands.stop()
    server.stop()


def test_a_user_who_talks_without_end_takes_no_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault: whoever waited for an answer in silence made way for a crowd that asked something every moment."""
    users = itertools.chain([0], itertools.repeat(4242))
    monkeypatch.setattr("edge.control.relay._user", lambda _client: next(users))
    go_on = threading.Event()

    def answer(request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        go_on.wait(20)
        return Reply(id=request.id, result={}), blobs

    commands, answers = CommandQueue(answer), list[object]()
    server = ConsoleServer(tmp_path, commands)
    server.start()
    waiting = threading.Thread(target=lambda: answers.append(ask(server.path, "echo", {}, timeout_s=8)))
    waiting.start()
    time.sleep(0.3)
    talk = GREETING + HELLO, frame(3)
    with Crowd(server.path, CONNECTIONS - 1, *talk):
        time.sleep(0.3)
        with Crowd(server.path, 1, *talk):
            time.sleep(0.3)
            go_on.set()
            waiting.join(10)
    assert answers == [({}, [])]
    commands.stop()
    server.stop()


def test_the_last_descriptors_are_not_for_consoles(tmp_path: Path) -> None:
    """libzmq ends the process when there is none left for a connection."""
    alarms = Alarms()
    with serving(tmp_path, alarms) as server:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        strangers = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use() + 4, limits[1]))
        try:
            for stranger in strangers:
                stranger.connect(str(server.path))
            assert [stranger.recv(1) for stranger in strangers] == [b""] * 20
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for stranger in strangers:
                stranger.close()
        assert any("short of descriptors" in alarm.message for alarm in alarms.every())
        assert ask(server.path, "echo", {}, [b"one"])[0] == {"bytes": 3}
