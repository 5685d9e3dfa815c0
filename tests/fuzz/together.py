"""Every attack at once on a real service with four lines, beside 600 parts: each has exactly one answer."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import zmq
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.fuzz.console import Caller
from tests.fuzz.mqtt import Sender
from tests.fuzz.plant import AttackedPlant, memory_mb, tracebacks
from tests.fuzz.tally import Record, Tally, chance_of
from tests.support import plant as plants

LINES = 4
PARTS = 600
_RATE = 2.5  # parts a second, on each line
_CROWD = 1500  # connections that say nothing
_FLOOD_S = 0.01  # between two messages over MQTT
_MEMORY_MB = 250.0  # that the service may grow by

Attack = Callable[[random.Random], str]


def run(seed: int, count: int) -> Tally:
    """Counts the attacks; parts with no answer, or two, are failures. `count` is not used: the parts are counted."""
    tally, begun = Tally(), time.monotonic()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the crowds are this process's
    with AttackedPlant(lines=LINES) as attacked:
        plant, before = attacked.plant, memory_mb(attacked.plant.pid)
        over = threading.Event()
        done: dict[str, int] = {}
        errors: list[str] = []

        def repeat(name: str, attack: Attack) -> None:
            for index in itertools.count():
                if over.is_set():
                    return
                try:
                    said = attack(chance_of(f"together {name}", seed, index))
                except Exception as error:  # of the attack itself: it is to be seen, and goes on
                    errors.append(f"{name}: {type(error).__name__}: {error}")
                    over.wait(0.2)
                else:
                    done[said or name] = done.get(said or name, 0) + 1

        with contextlib.ExitStack() as stack:
            attacks = _attacks(attacked, stack, over)
            threads = [threading.Thread(target=repeat, args=one, daemon=True) for one in attacks.items()]
            for thread in threads:
                thread.start()
            with plant.plc.shift(plant.lines, _RATE) as shift:
                while len(shift.parts) < PARTS and attacked.alive:
                    time.sleep(0.1)
            over.set()
            for thread in threads:
                thread.join(60)
        if not attacked.alive:
            raise AssertionError(f"the service has ended by itself:\n{attacked.log[-3000:]}")
        attacked.account(shift, tally)
        for index in range(len(shift.parts)):
            tally.add(Record(index, "fine"))
        growth = memory_mb(plant.pid) - before
        tally.notes |= dict(sorted(done.items())) | {"memory": f"{before:.0f} MB, {growth:+.0f} MB"}
        if growth > _MEMORY_MB:
            tally.add(Record(-1, "memory", said=f"it grew by {growth:.0f} MB"))
        if errors:
            tally.notes["attacks that failed themselves"] = f"{len(errors)}, such as {errors[0][:200]}"
        tally.notes["end on SIGTERM"] = f"{attacked.stop():.1f} s"
        for number, said in enumerate(tracebacks(attacked.log)):
            tally.add(Record(-2 - number, "crash", said=said))
        tally.leaked += attacked.secrets()
    tally.seconds = time.monotonic() - begun
    return tally


def _attacks(attacked: AttackedPlant, stack: contextlib.ExitStack, over: threading.Event) -> dict[str, Attack]:
    """By name. Each is done again and again, in a thread of its own; it says what it is, if that is not its name."""
    plant, path = attacked.plant, attacked.plant.operator.socket
    sandbox = attacked.folder / "sandbox"
    sandbox.mkdir()
    sender = Sender(plant.broker.port)
    stack.callback(sender.close)
    context = stack.enter_context(zmq.Context())

    def messages(chance: random.Random) -> str:
        sender.send(chance, plant.lines)
        over.wait(_FLOOD_S)
        return ""

    def console() -> Attack:
        caller: list[Caller] = []

        def requests(chance: random.Random) -> str:
            if not caller:  # in its own thread, as its socket has to be
                caller.append(Caller(context, path, sandbox, plant.lines))
                stack.callback(caller[0].close)
            record = caller[0].attempt(0, chance)
            if record.verdict in ("crash", "hang"):
                raise AssertionError(f"{record.verdict}: {record.said[:500]}")
            return "console requests"

        return requests

    def silent_consoles(_: random.Random) -> str:
        return _crowd(lambda: _unix(path), over)

    def silent_scrapers(_: random.Random) -> str:
        return _crowd(lambda: socket.create_connection(("127.0.0.1", plant.metrics_port), 2), over, 200)

    def takeover(chance: random.Random) -> str:
        """By the names that can be guessed, with a session that begins anew."""
        line = chance.choice(plant.lines)
        name = chance.choice((f"alfa-edge-plant-{line}", f"plant-{line}", f"alfa-edge-{line}", line, "plant"))
        client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=True)
        client.username_pw_set("plc", plants.PASSWORDS["plc"])
        client.connect("127.0.0.1", plant.broker.port)
        client.loop_start()
        over.wait(0.5)
        client.disconnect()
        client.loop_stop()
        return ""

    def signals(chance: random.Random) -> str:
        """What a terminal, a debugger or a container sends; and a standstill that is shorter than a deadline."""
        number = chance.choice((signal.SIGPIPE, signal.SIGURG, signal.SIGWINCH, signal.SIGCONT, signal.SIGSTOP))
        plant.signal(number)
        if number is signal.SIGSTOP:
            time.sleep(chance.uniform(0.02, 0.3))
            plant.signal(signal.SIGCONT)
        over.wait(0.2)
        return ""

    def machines(chance: random.Random) -> str:
        """Commands of a controller that name files."""
        fifo = sandbox / "pack.toml"
        if not fifo.exists():
            os.mkfifo(fifo)
        named = chance.choice((str(fifo), "/dev/zero", "/etc/passwd", "../../x.toml", "/proc/self/environ", "~/x.toml"))
        document = {"id": "x", "command": "recipe_set", "arguments": {"pack": named}}
        plant.plc.publish(f"line/{chance.choice(plant.lines)}/command", json.dumps(document).encode())
        over.wait(0.05)
        return ""

    def escapes(chance: random.Random) -> str:
        """Parts whose names are made for a terminal."""
        name = chance.choice(("\x1b[2J\x1b[H", "\x1b]0;owned\x07", "\u202enormal", "\u200b", "\u2028", "\x9b31m"))
        plant.plc.trigger(chance.choice(plant.lines), f"{name}{chance.getrandbits(32)}")
        over.wait(0.3)
        return ""

    def backups(chance: random.Random) -> str:
        """Onto what is there, and onto what is in use."""
        folder = chance.choice((sandbox, plant.state, plant.state / "in", Path("/dev"), attacked.folder / "copies"))
        with contextlib.suppress(Exception):
            plant.ask("backup", folder=str(folder))
        over.wait(0.5)
        shutil.rmtree(attacked.folder / "copies", ignore_errors=True)
        return ""

    consoles = {f"console {number}": console() for number in range(3)}
    return consoles | {
        "messages over MQTT": messages,
        "silent consoles": silent_consoles,
        "silent scrapers": silent_scrapers,
        "clients with a guessed id": takeover,
        "signals": signals,
        "commands of machines that name files": machines,
        "parts with terminal escapes": escapes,
        "backups": backups,
    }


def _unix(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(0.5)
    made.connect(str(path))
    return made


def _crowd(connect: Callable[[], socket.socket], over: threading.Event, count: int = _CROWD) -> str:
    """Connections that say nothing, all at once, for as long as they are let be."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            if over.is_set():
                break
            with contextlib.suppress(OSError):
                held.append(connect())
        over.wait(2.0)
    finally:
        for one in held:
            one.close()
    return ""
