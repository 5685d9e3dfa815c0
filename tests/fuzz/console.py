"""The console's socket of a real service: frames, JSON, and every command with hostile arguments; good ones beside."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from core.image import encode_jpeg
from edge.control.commands import COMMANDS
from tests.fuzz import hostile
from tests.fuzz.canaries import leaked
from tests.fuzz.plant import RATE, AttackedPlant, memory_mb, tracebacks
from tests.fuzz.tally import HANG_S, Record, Tally, chance_of

_SENDERS = 6
_LOOK_EVERY = 250
_WAITING = frozenset({"snapshot", "trigger", "enroll", "calibrate", "learn", "suggest"})
"""Commands that wait for parts: each as long as it is told to."""
_PATIENCE_S = 30.0  # for those


def run(seed: int, count: int) -> Tally:
    """Each request is answered within 5 s, or loses its connection; the service works on, tells nothing, and ends."""
    tally, begun, lock = Tally(), time.monotonic(), threading.Lock()
    with AttackedPlant() as attacked:
        plant, before = attacked.plant, memory_mb(attacked.plant.pid)
        sandbox = attacked.folder / "sandbox"
        sandbox.mkdir()
        path = plant.operator.socket
        numbers = iter(range(count))

        def work() -> None:
            with zmq.Context() as context:
                caller = Caller(context, path, sandbox, plant.lines)
                for index in _shared(numbers, lock):
                    record = caller.attempt(index, chance_of("console", seed, index))
                    with lock:
                        tally.add(record)
                    if index % _LOOK_EVERY == 0:
                        _look(attacked, index)
                with lock:
                    tally.leaked += caller.leaked
                    for code, times in caller.answers.items():
                        tally.notes[code] = tally.notes.get(code, 0) + times
                caller.close()

        with plant.plc.shift(plant.lines, RATE) as shift, ThreadPoolExecutor(_SENDERS) as pool:
            for job in [pool.submit(work) for _ in range(_SENDERS)]:
                job.result()
        _look(attacked, count)
        attacked.account(shift, tally)
        tally.notes["memory"] = f"{before:.0f} to {memory_mb(plant.pid):.0f} MB"
        tally.notes["end on SIGTERM"] = f"{attacked.stop():.1f} s"
        for number, said in enumerate(tracebacks(attacked.log)):
            tally.add(Record(-1 - number, "crash", said=said))
        tally.leaked += attacked.secrets()
    tally.seconds = time.monotonic() - begun
    return tally


def _shared(numbers: Any, lock: threading.Lock) -> Any:
    while True:
        with lock:
            index = next(numbers, None)
        if index is None:
            return
        yield index


def _look(attacked: AttackedPlant, index: int) -> None:
    """Whether the service does good commands."""
    if not attacked.alive:
        raise AssertionError(f"the service has ended by itself at request {index}:\n{attacked.log[-3000:]}")
    for line in attacked.plant.lines:
        attacked.plant.ask("resume", line=line)
    assert set(attacked.plant.ask("status")["lines"]) == set(attacked.plant.lines)


class Caller:
    """One console; a connection that the service has ended is made anew."""

    def __init__(self, context: zmq.Context[Any], path: Path, sandbox: Path, lines: Sequence[str]) -> None:
        self._context = context
        self._path = path
        self._sandbox = sandbox
        self._lines = lines
        self._good_picture = encode_jpeg(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
        self._socket = self._connect()
        self.leaked = 0
        self.answers: dict[str, int] = {}
        """By code."""

    def attempt(self, index: int, chance: random.Random) -> Record:
        """Sends something, and waits for the answer, where it can have one."""
        kind, begun = chance.randrange(20), time.monotonic()
        if kind == 0:
            self._raw(chance)
            return Record(index, "fine", (time.monotonic() - begun) * 1000)
        patience, parts = HANG_S, [b""]
        if kind < 14:
            name, document, blobs = self._request(chance)
            parts = [json.dumps(document).encode("utf-8", "surrogatepass"), *blobs]
            patience = _PATIENCE_S if name in _WAITING else HANG_S
        elif kind < 17:
            name, document, blobs = self._request(chance)
            damaged = hostile.damaged(chance, json.dumps(document).encode("utf-8", "surrogatepass"))
            parts, patience = [damaged, *blobs], _PATIENCE_S  # it may still be the command that it was
        elif kind == 17:
            parts = [hostile.nested(chance)]
        elif kind == 18:
            parts = [json.dumps(hostile.value(chance)).encode()]
        else:
            many = chance.choice((1, 2, 250, 257, 258, 400, 600))
            parts = [chance.randbytes(chance.choice((0, 1, 100))) for _ in range(many)]
        self._socket.send_multipart(parts)
        reply = self._reply(patience)
        ms = (time.monotonic() - begun) * 1000
        if reply is None:
            self._socket.close()
            self._socket = self._connect()
            ended = len(parts) > 512  # a message that is much too large ends its connection
            return Record(index, "refused" if ended else "hang", ms, f"no answer to {parts[0][:500]!r}")
        self.leaked += sum(map(leaked, reply))
        said = json.loads(reply[0])
        code = said["refusal"]["code"] if said.get("refusal") else "done"
        self.answers[code] = self.answers.get(code, 0) + 1
        if code == "failed":
            return Record(index, "crash", ms, f"{parts[0][:800]!r}\n{reply[0][:1500]!r}")
        return Record(index, "fine" if code == "done" else "refused", ms)

    def close(self) -> None:
        self._socket.close()

    def _reply(self, patience_s: float) -> list[bytes] | None:
        return self._socket.recv_multipart() if self._socket.poll(int(patience_s * 1000)) else None

    def _connect(self) -> zmq.Socket[bytes]:
        made: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        made.setsockopt(zmq.LINGER, 0)
        made.connect(f"ipc://{self._path}")
        return made

    def _request(self, chance: random.Random) -> tuple[str, dict[str, Any], list[bytes]]:
        """A command, with one thing about it that is wrong; and what is sent along."""
        name = chance.choice(list(COMMANDS))
        arguments = self._arguments(name, chance)
        if chance.random() < 0.9:
            arguments = self._changed(chance, arguments)
        blobs: list[bytes] = []
        if chance.random() < (0.5 if name in ("enroll", "learn") else 0.05):
            blobs = [
                chance.choice((b"", chance.randbytes(100), hostile.damaged(chance, self._good_picture)))
                for _ in range(chance.choice((1, 2, 20)))
            ]
        document: dict[str, Any] = {
            "id": f"{chance.getrandbits(32)}",
            "command": name,
            "arguments": arguments,
            "who": "eva",
        }
        if chance.random() < 0.15:
            document = document | {chance.choice(("id", "who", "command", "arguments", "more")): hostile.value(chance)}
        return name, document, blobs

    def _arguments(self, name: str, chance: random.Random) -> dict[str, Any]:
        """Right ones, of all that a command takes; those that wait do so for a second."""
        usual: dict[str, Any] = {
            "line": chance.choice(self._lines),
            "part_id": "A-17",
            "deadline_ms": 500,
            "pack": "bottle",
            "since": "2026-01-31T06:00:00Z",
            "until": "2030-01-31T06:00:00Z",
            "count": 3,
            "folder": str(self._sandbox / f"folder-{chance.randrange(10**6)}"),
            "shot": 1,
            "shots": 1,
            "all": True,
            "names": ["a.png"],
            "note": "x",
            "yes": ["blurred"],
            "hold": True,
            "accept": 0.9,
            "without": [1],
            "candidate": 1,
            "candidates": [1],
            "after": 0,
            "timeout_s": 1.0,
            "rate": 0.5,
            "parts": 1,
            "threshold": 0.5,
            "seq": 1,
            "kind": "missed",
        }
        return {
            field: usual[field]
            for field in COMMANDS[name].arguments.model_fields
            if field == "timeout_s" or (field in usual and chance.random() < 0.9)
        }

    def _changed(self, chance: random.Random, arguments: dict[str, Any]) -> dict[str, Any]:
        """With one that is wrong: of another kind, or of its own kind, which gets further."""
        if not arguments or chance.random() < 0.4:
            changed: Any = hostile.replaced(chance, arguments, self._argument)
            return changed if isinstance(changed, dict) else {"line": changed}
        name = chance.choice(list(arguments))
        known = arguments[name]
        if isinstance(known, bool):
            return arguments | {name: not known}
        if isinstance(known, (int, float)):
            return arguments | {name: chance.choice((hostile.number(chance), chance.randrange(100), chance.random()))}
        text = self._argument(chance)
        return arguments | {name: text if isinstance(text, str) else hostile.text(chance).replace("/", "|")}

    def _argument(self, chance: random.Random) -> Any:
        """Paths stay in the sandbox, or lead to what is no file: what is asked for may be done."""
        kind = chance.randrange(12)
        if kind < 9:
            found = hostile.value(chance)
            return (
                found
                if not (isinstance(found, str) and found.startswith(("/", "~", "..")))
                else found.replace("/", "|")
            )
        if kind == 9:
            fifo = self._sandbox / "fifo.toml"
            with contextlib.suppress(FileExistsError):
                os.mkfifo(fifo)
            return str(fifo)
        key = self._sandbox.parent / "client.key"
        return chance.choice(
            (
                "/dev/zero",
                "/dev/full",
                "/dev/null/x.toml",
                "/proc/self/environ",
                "/proc/self/mem",
                str(key),
                f"{key}/../x.toml",
                str(self._sandbox),
            )
        )

    def _raw(self, chance: random.Random) -> None:
        """Bytes that are no ZMTP, or nearly."""
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
        ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
        frame = chance.choice(
            (
                b"\x00\x05hello",
                b"\x02\xff\xff\xff\xff\xff\xff\xff\xff",
                b"\x01\x00" * 700,
                b"\x03" + (1 << 40).to_bytes(8, "big"),
                b"\x06\x00\x00\x00\x00\x00\x01\x00\x00",
            )
        )
        data = greeting + ready + frame
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(0.02)
            connection.connect(str(self._path))
            connection.sendall(hostile.damaged(chance, data) if chance.random() < 0.7 else data)
            with contextlib.suppress(TimeoutError):
                connection.recv(1000)
