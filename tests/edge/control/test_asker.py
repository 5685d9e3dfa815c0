"""Who asks is what the kernel says, whatever they call themselves; the audit has both."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge.control.asker import Asker, own_name, user_of
from edge.control.client import ask
from edge.control.command_queue import CommandQueue
from edge.control.protocol import ConsoleRequest, MachineRequest, Reply, Request
from edge.control.server import ConsoleServer
from tests.support.at_rest import at_rest

ME = pwd.getpwuid(os.getuid()).pw_name
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = """
import os, sys, zmq
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[3]))
with zmq.Context() as context, context.socket(zmq.DEALER) as client:
    client.setsockopt(zmq.LINGER, 0)
    client.setsockopt(zmq.ROUTING_ID, b"uid-0-99")
    client.connect("ipc://" + sys.argv[1])
    client.send(b'{"id": "1", "command": "who", "who": "root"}')
    assert client.poll(10_000), "no answer"
    print(client.recv().decode())
"""


def answer(request: Request, _blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
    asker = request.asker
    result = {"who": asker.who, "claimed": asker.claimed, "machine": asker.machine}
    return Reply(id=request.id, result=result), ()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of the console's socket; others may look into it, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="console-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[ConsoleServer]:
    commands = CommandQueue(answer)
    server = ConsoleServer(folder, commands)
    server.start()
    yield server
    commands.stop()
    server.stop()


def said(server: ConsoleServer, document: bytes, identity: bytes = b"") -> dict[str, Any]:
    """What a client is answered that makes up its messages itself."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.setsockopt(zmq.LINGER, 0)
        if identity:
            client.setsockopt(zmq.ROUTING_ID, identity)
        client.connect(f"ipc://{server.path}")
        client.send(document)
        assert client.poll(5000), "no answer"
        reply = Reply.model_validate_json(client.recv())
    assert reply.result is not None, reply.refusal
    return reply.result


@pytest.mark.parametrize("identity", [b"", b"uid-0-1", b"uid-4242-1", b"x" * 255])
def test_a_name_is_a_claim_and_an_identity_none(server: ConsoleServer, identity: bytes) -> None:
    found = said(server, b'{"id": "1", "command": "who", "who": "the plant manager"}', identity)
    assert found == {"who": ME, "claimed": "the plant manager", "machine": False}
    found = said(server, b'{"id": "1", "command": "who", "who": "%s"}' % ME.encode())
    assert (found["who"], found.get("claimed")) == (ME, None)


def test_clients_of_one_identity_do_not_get_each_others_answers(server: ConsoleServer) -> None:
    with zmq.Context() as context:
        clients = [context.socket(zmq.DEALER) for _ in range(3)]
        for number, client in enumerate(clients):
            client.setsockopt(zmq.LINGER, 0)
            client.setsockopt(zmq.ROUTING_ID, b"the same")
            client.connect(f"ipc://{server.path}")
            client.send(b'{"id": "%d", "command": "who"}' % number)
        for number, client in enumerate(clients):
            assert client.poll(5000)
            assert Reply.model_validate_json(client.recv()).id == str(number)
            client.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_another_user_is_told_from_this_one(server: ConsoleServer) -> None:
    server.path.chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    command = [sys.executable, "-c", AS_NOBODY, str(server.path), str(NOBODY.pw_gid), str(NOBODY.pw_uid)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    reply = Reply.model_validate_json(process.stdout)
    assert reply.result == {"who": "nobody", "claimed": "root", "machine": False}


def test_the_client_claims_its_name(server: ConsoleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "x" * 500)
    assert ask(server.path, "who", {})[0]["claimed"] == "x" * 64
    monkeypatch.setattr("getpass.getuser", lambda: (_ for _ in ()).throw(KeyError("no such user")))
    assert own_name() == "unknown"


def test_the_audit_has_both(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        arguments = {"line": "one", "threshold": 0.5}
        for request in (
            ConsoleRequest(id="1", command="threshold", arguments=arguments, who="the plant manager", uid=os.getuid()),
            ConsoleRequest(id="2", command="threshold", arguments=arguments, who=ME, uid=os.getuid()),
            MachineRequest(id="3", command="threshold", arguments=arguments, who="mqtt"),
        ):
            assert dispatcher.answer(request, ())[0].refusal is None
        entries = dispatcher.database.run(lambda tables: tables.audit(9))
        source = dispatcher.line("one").recipe.wire.threshold_source
    assert [(entry["who"], entry["claimed"]) for entry in entries] == [
        ("mqtt", None),
        (ME, None),
        (ME, "the plant manager"),
    ]
    assert source == "set by mqtt"


def test_a_user_without_a_name_has_a_number() -> None:
    assert user_of(4_000_000_001, "me") == Asker("uid 4000000001", "me")


@pytest.mark.parametrize("name", ["\udcff\x1b[2J", "\x1b" * 100, "\u202eeva"])
def test_a_name_of_the_environment_that_is_no_text_fits_into_a_request(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Fault: with LOGNAME of bytes that are no UTF-8 every command ended in a traceback."""
    monkeypatch.setenv("LOGNAME", name)
    request = Request(id="1", command="pause", who=own_name())
    assert request.to_parts()[0].isascii()
    assert request.who.isprintable()
