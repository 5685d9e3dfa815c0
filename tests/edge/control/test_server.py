"""The channel under friends and others: ids, sizes, rubbish, a second server."""

import contextlib
import json
import socket
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from edge.control.client import NoAnswerError, RefusedError, ask
from edge.control.command_queue import CommandQueue
from edge.control.protocol import MAX_BYTES, MAX_PARTS, Reply, Request, batches
from edge.control.relayed_socket import ConsoleError
from edge.control.server import ConsoleServer


def answer(request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
    if request.command == "break":
        raise OSError("the disk is full")
    if request.command == "sleep":
        time.sleep(request.arguments["seconds"])
    return Reply(id=request.id, result={"who": request.who, "blobs": len(blobs)}), blobs


@contextmanager
def serving(folder: Path) -> Iterator[ConsoleServer]:
    commands = CommandQueue(answer)
    server = ConsoleServer(folder, commands)
    try:
        server.start()
        yield server
    finally:
        commands.stop()
        server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ConsoleServer]:
    with serving(tmp_path) as server:
        yield server


def raw(server: ConsoleServer, *parts: bytes) -> Reply:
    """What the server says to a message that no client of ours would send."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{server.path}")
        socket.send_multipart(parts)
        assert socket.poll(5000), "no answer"
        return Reply.model_validate_json(socket.recv_multipart()[0])


def test_an_answer_comes_with_its_pictures(server: ConsoleServer) -> None:
    result, pictures = ask(server.path, "echo", {}, [b"one", b"two"])
    assert result["blobs"] == 2
    assert result["who"]
    assert pictures == [b"one", b"two"]


def test_only_owner_and_group_may_connect(server: ConsoleServer) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o660


def test_what_breaks_in_a_command_is_told_and_the_channel_lives(server: ConsoleServer) -> None:
    with pytest.raises(RefusedError, match="OSError: the disk is full"):
        ask(server.path, "break", {})
    assert ask(server.path, "echo", {})[0]["blobs"] == 0


def test_a_slow_command_holds_up_nobody(server: ConsoleServer) -> None:
    slow = threading.Thread(target=ask, args=(server.path, "sleep", {"seconds": 1.0}))
    slow.start()
    before = time.monotonic()
    ask(server.path, "echo", {})
    assert time.monotonic() - before < 0.9
    slow.join()


def test_no_answer_in_time_is_said(server: ConsoleServer) -> None:
    with pytest.raises(NoAnswerError, match=r"has not answered sleep within 0\.2 s"):
        ask(server.path, "sleep", {"seconds": 1.0}, timeout_s=0.2)


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((b"",), "bad_request"),
        ((b"\xff\xfe",), "bad_request"),
        ((b"[]",), "bad_request"),
        ((b'{"id": 1}',), "bad_request"),
        ((b"[" * 100_000,), "bad_request"),
        ((json.dumps({"id": "a", "command": "x" * 65}).encode(),), "bad_request"),
        ((json.dumps({"id": "a", "command": "echo", "more": 1}).encode(),), "bad_request"),
        ((b"{}", *[b"x"] * (MAX_PARTS + 1)), "too_large"),
        ((b"{}", b"x" * (MAX_BYTES // 2), b"x" * (MAX_BYTES // 2)), "too_large"),
    ],
)
def test_rubbish_is_refused(server: ConsoleServer, parts: Sequence[bytes], code: str) -> None:
    reply = raw(server, *parts)
    assert reply.refusal is not None
    assert reply.refusal.code == code
    assert ask(server.path, "echo", {})[0]["blobs"] == 0


@pytest.mark.parametrize(
    ("document", "identity"),
    [
        (b'{"id": "7", "command": ""}', "7"),
        (b'{"id": "7", "more": 1}', "7"),
        (b'{"id": "7", "command": "echo", "arguments": []}', "7"),
        (b'{"command": "echo"}', "-"),
        (b'{"id": "", "command": "echo"}', "-"),
        (json.dumps({"id": "x" * 65, "command": "echo"}).encode(), "-"),
        (b'{"id": ["7"], "command": "echo"}', "-"),
        (b'["7"]', "-"),
        (b'{"id": "7"', "-"),
        (b"\xff", "-"),
    ],
)
def test_a_refusal_names_the_request_where_that_can_be_read(
    server: ConsoleServer, document: bytes, identity: str
) -> None:
    reply = raw(server, document)
    assert reply.refusal is not None
    assert (reply.id, reply.refusal.code) == (identity, "bad_request")


def test_a_request_that_is_too_large_is_named_too(server: ConsoleServer) -> None:
    reply = raw(server, b'{"id": "7", "command": "echo"}', *[b"x"] * (MAX_PARTS + 1))
    assert reply.refusal is not None
    assert (reply.id, reply.refusal.code) == ("7", "too_large")


def test_pictures_are_divided_into_requests_that_fit() -> None:
    pictures = [bytes([number % 256]) * size for number, size in enumerate([1] * 300 + [20 << 20] * 7)]
    divided = batches(pictures)
    assert [picture for some in divided for picture in some] == pictures
    assert [len(some) for some in divided] == [MAX_PARTS, 300 - MAX_PARTS + 3, 3, 1]
    assert all(sum(map(len, some)) <= MAX_BYTES for some in divided)
    assert batches([]) == []


def test_the_socket_of_a_service_that_died_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "console.sock"))
    with serving(tmp_path) as server:
        assert ask(server.path, "echo", {})[0]["blobs"] == 0


def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    with pytest.raises(ConsoleError, match=r"at most 107 bytes.*runtime_dir"):
        ConsoleServer(deep, CommandQueue(answer)).start()


def test_requests_without_end_do_not_keep_it_from_ending(tmp_path: Path) -> None:
    over = threading.Event()
    with serving(tmp_path) as server:

        def ask_on() -> None:
            while not over.is_set():
                with contextlib.suppress(RefusedError, NoAnswerError):
                    ask(server.path, "echo", {}, timeout_s=0.5)

        consoles = [threading.Thread(target=ask_on) for _ in range(3)]
        for console in consoles:
            console.start()
        time.sleep(0.3)
        ending = threading.Thread(target=lambda: (server._commands.stop(), server.stop()), daemon=True)
        ending.start()
        ending.join(8)
        ended = not ending.is_alive()
        over.set()
        for console in consoles:
            console.join()
    assert ended
