"""Every state that a service may be in when it is told to end: it ends well within 10 s, and so do its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.image import encode_jpeg
from edge.control.client import NoAnswerError, RefusedError, ask
from tests.fuzz.plant import AttackedPlant
from tests.fuzz.tally import Record, Tally
from tests.support.plant import OTHER_SIZE, PASSWORDS, START_S, Plant
from tests.support.trial_load import nonsense

_SETTLED_S = 0.6  # after which a state has come about
_GONE_S = 2.0  # for the service's processes, after the service itself

State = Callable[[AttackedPlant], AbstractContextManager[None]]


@contextmanager
def _idle(_: AttackedPlant) -> Iterator[None]:
    yield


@contextmanager
def _load(attacked: AttackedPlant) -> Iterator[None]:
    with _triggers(attacked.plant, 20.0):
        time.sleep(1.5)
        yield


@contextmanager
def _triggers(plant: Plant, rate: float) -> Iterator[None]:
    """Parts on all lines; those that come after the end of the service wait at the broker."""
    over = threading.Event()

    def work() -> None:
        number = 0
        while not over.wait(1 / rate):
            number += 1
            for line in plant.lines:
                plant.plc.trigger(line, f"state-{time.monotonic():.3f}-{number}")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _between(begin: Callable[[Plant], object], end: Callable[[Plant], object], parts: bool = True) -> State:
    """From `begin` to `end`, whatever becomes of the service; with `parts` that are asked for meanwhile."""

    @contextmanager
    def state(attacked: AttackedPlant) -> Iterator[None]:
        begin(attacked.plant)
        try:
            with _from_console(attacked) if parts else contextlib.nullcontext():
                time.sleep(1.5 if parts else 0.0)
                yield
        finally:
            end(attacked.plant)

    return state


def _refuse(plant: Plant) -> None:
    plant.broker.set_password("edge", "changed")
    plant.broker.restart()


def _admit(plant: Plant) -> None:
    plant.broker.set_password("edge", PASSWORDS["edge"])
    plant.broker.restart()


def _swallow(plant: Plant) -> None:
    assert plant.proxy is not None
    plant.proxy.swallow()


def _films(what: str) -> Callable[[Plant], None]:
    def do(plant: Plant) -> None:
        for film in plant.films.values():
            getattr(film, what)()

    return do


def _resize(plant: Plant) -> None:
    for film in plant.films.values():
        film.resize(OTHER_SIZE)


def _stop_cameras(plant: Plant) -> None:
    """Their processes, not the cameras."""
    for line in plant.lines:
        if (pid := plant.camera_pid(line)) is not None:
            os.kill(pid, signal.SIGSTOP)


def _nothing(_: Plant) -> None:
    """The end of the service is the end of it."""


@contextmanager
def _backlog(attacked: AttackedPlant) -> Iterator[None]:
    """The broker is back, and hundreds of verdicts are on their way to it."""
    plant = attacked.plant
    plant.broker.stop()
    try:
        with _from_console(attacked):
            time.sleep(4.0)
    finally:
        plant.broker.start()
    time.sleep(0.3)
    yield


@contextmanager
def _from_console(attacked: AttackedPlant) -> Iterator[None]:
    with _asking(attacked, lambda number: ("trigger", {"line": "line-1", "part_id": f"console-{number}"}), threads=4):
        yield


@contextmanager
def _paused(attacked: AttackedPlant) -> Iterator[None]:
    for line in attacked.plant.lines:
        attacked.plant.ask("pause", line=line)
    yield
    attacked.plant.start(wait=False)
    attacked.plant.service.until(lambda: all(map(attacked.is_paused, attacked.plant.lines)), "paused line", START_S)
    for line in attacked.plant.lines:
        attacked.plant.ask("resume", line=line)
    attacked.stop()


def _command(name: str, triggers: float = 0.0, threads: int = 1, **arguments: Any) -> State:
    """While a command is being done, again and again."""

    @contextmanager
    def state(attacked: AttackedPlant) -> Iterator[None]:
        given = {key: value(attacked) if callable(value) else value for key, value in arguments.items()}
        with ExitStack() as stack:
            if triggers:
                stack.enter_context(_triggers(attacked.plant, triggers))
            stack.enter_context(_asking(attacked, lambda _: (name, given), threads=threads))
            time.sleep(1.2)
            yield

    return state


@contextmanager
def _asking(
    attacked: AttackedPlant, what: Callable[[int], tuple[str, dict[str, Any]]], threads: int, pictures: int = 0
) -> Iterator[None]:
    """Consoles that ask one thing after the other, whatever is answered; those that hang are left behind."""
    over = threading.Event()
    blobs = [encode_jpeg(np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8))] * pictures

    def work(first: int) -> None:
        number = first
        while not over.is_set():
            number += threads
            command, arguments = what(number)
            with contextlib.suppress(NoAnswerError, RefusedError):
                ask(attacked.plant.operator.socket, command, arguments, blobs, timeout_s=30)
            over.wait(0.005)

    for place in range(threads):
        threading.Thread(target=work, args=(place,), daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def _enrolment(attacked: AttackedPlant) -> Iterator[None]:
    """While pictures are enrolled that were sent along."""
    with _asking(attacked, lambda _: ("enroll", {"line": "line-1", "yes": ["blurred"]}), threads=2, pictures=12):
        time.sleep(1.2)
        yield


@contextmanager
def _silent_consoles(attacked: AttackedPlant) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(200):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                connection.connect(str(attacked.plant.operator.socket))
        time.sleep(_SETTLED_S)
        yield


@contextmanager
def _flood(attacked: AttackedPlant) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        for kind, payload in nonsense(100_000, 1):
            if over.wait(0.001):
                return
            attacked.plant.plc.publish(f"line/line-1/{kind}", payload, qos=0)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(1.5)
    try:
        yield
    finally:
        over.set()
        thread.join()


def _faulty(fault: str, *values: float) -> State:
    """The disk, the clock or the scorer, under load."""

    @contextmanager
    def state(attacked: AttackedPlant) -> Iterator[None]:
        faults = attacked.plant.faults
        assert faults is not None
        with getattr(faults, fault)(*values), _triggers(attacked.plant, 5.0):
            time.sleep(1.5)
            yield

    return state


@contextmanager
def _told_twice(attacked: AttackedPlant) -> Iterator[None]:
    attacked.plant.signal(signal.SIGINT)
    time.sleep(0.05)
    yield


@contextmanager
def _scraped(attacked: AttackedPlant) -> Iterator[None]:
    """Somebody holds connections to the metrics, and asks nothing."""
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", attacked.plant.metrics_port), 2))
        yield


def _starting(marker: str | None, what: State = _idle) -> State:
    """While it starts, in a plant where something may be amiss already.

    Args:
        marker: What it has just logged; None: it has not come to its own code yet.
        what: Is amiss.
    """

    @contextmanager
    def state(attacked: AttackedPlant) -> Iterator[None]:
        attacked.stop()
        with ExitStack() as stack:
            stack.enter_context(what(attacked))
            mark = len(attacked.log)
            attacked.plant.start(wait=False)
            if marker is None:
                time.sleep(0.05)
            else:
                _wait(lambda: marker in attacked.log[mark:], marker)
            yield

    return state


def _wait(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_S
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"{what!r} does not come about")
        time.sleep(0.005)


_BROKER_OFF = _between(lambda plant: plant.broker.stop(), lambda plant: plant.broker.start(), parts=False)
_BROKER_HUNG = _between(lambda plant: plant.broker.pause(), lambda plant: plant.broker.resume(), parts=False)
_CAMERAS_OFF = _between(_films("stop"), _films("start"), parts=False)


def _fifo(attacked: AttackedPlant) -> str:
    path = attacked.folder / "fifo.toml"
    if not path.exists():
        os.mkfifo(path)
    return str(path)


def _fresh(attacked: AttackedPlant) -> str:
    return str(attacked.folder / f"folder-{time.monotonic_ns()}")


def _export(attacked: AttackedPlant) -> str:
    """A folder of pictures as `shots export` writes it, whose manifest is a FIFO."""
    folder = attacked.folder / "export"
    if not folder.exists():
        folder.mkdir()
        os.mkfifo(folder / "shots.json")
    return str(folder)


_BEGUN = "its process has just begun"
STATES: Mapping[str, State] = {
    _BEGUN: _starting(None),
    "it starts its cameras": _starting("metrics on http"),
    "it reads its archive": _starting("archive /"),
    "it connects to the broker": _starting("line-1: connected"),
    "it makes its lines": _starting("line-1: not calibrated"),
    "it has just started": _starting("judging "),
    "it starts, the broker is down": _starting("archive /", _BROKER_OFF),
    "it starts, the broker hangs": _starting("archive /", _BROKER_HUNG),
    "it starts, the cameras are down": _starting("line-1: not calibrated", _CAMERAS_OFF),
    "it waits for parts": _idle,
    "20 parts a second come on each line": _load,
    "the broker is down": _between(lambda plant: plant.broker.stop(), lambda plant: plant.broker.start()),
    "the broker hangs": _between(lambda plant: plant.broker.pause(), lambda plant: plant.broker.resume()),
    "the broker refuses its password": _between(_refuse, _admit),
    "the network swallows packets": _between(_swallow, _nothing),
    "a backlog is sent": _backlog,
    "the cameras are down": _between(_films("stop"), _films("start")),
    "the cameras hang": _between(_films("stall"), _films("resume")),
    "the cameras' processes hang": _between(_stop_cameras, _nothing),
    "the pictures stand still": _between(_films("freeze"), _films("go")),
    "the pictures have another size": _between(_resize, _films("resize")),
    "the lines are paused": _paused,
    "calibrate waits for parts": _command("calibrate", line="line-1", parts=500),
    "calibrate counts parts": _command("calibrate", triggers=10.0, line="line-1", parts=500),
    "learn waits for parts": _command("learn", line="line-1", parts=500),
    "suggest watches parts": _command("suggest", triggers=10.0, line="line-1", parts=200),
    "enroll waits for parts": _command("enroll", line="line-1", shots=4),
    "pictures are enrolled": _enrolment,
    "shots are imported from a FIFO": _command("shots_import", line="line-1", folder=_export),
    "a backup is written": _command("backup", threads=2, folder=_fresh),
    "packs are changed": _command("recipe_set", threads=2, line="line-1", pack="bottle"),
    "recipe_set names a FIFO": _command("recipe_set", threads=4, line="line-1", pack=_fifo),
    "a snapshot waits for a part": _command("snapshot", threads=4, line="line-1"),
    "consoles ask without end": _command("status", threads=8),
    "200 consoles are connected and silent": _silent_consoles,
    "nonsense floods the broker": _flood,
    "the disk is full": _faulty("full_disk"),
    "the disk has failed": _faulty("failed_disk"),
    "the disk is slow": _faulty("slow_disk", 4.0),
    "the clock is an hour ahead": _faulty("clock", 3600.0),
    "the clock is an hour back": _faulty("clock", -3600.0),
    "a pass of the model takes 5 s": _faulty("slow_pass", 5.0),
    "the model finds no number": _faulty("no_number"),
    "it was told to end before": _told_twice,
    "its metrics are held": _scraped,
}
"""By what it is doing, or what is amiss."""


def run(_seed: int, _count: int, names: Mapping[str, State] = STATES) -> Tally:
    """Each state once; a service that has not ended is killed, and the next state has a new one."""
    tally, begun = Tally(), time.monotonic()
    with AttackedPlant(proxied=True, faulty=True) as attacked:
        for index, (name, state) in enumerate(names.items()):
            record = _attempt(attacked, index, name, state)
            tally.add(record)
            print(f"  {name}: {record.verdict}, {record.ms / 1000:.1f} s {record.said[:300]}", flush=True)
        tally.leaked += attacked.secrets()
    tally.seconds = time.monotonic() - begun
    tally.notes["end on SIGTERM"] = f"{tally.slowest_ms / 1000:.1f} s at most ({list(names)[max(tally.slowest, 0)]})"
    return tally


def _attempt(attacked: AttackedPlant, index: int, name: str, state: State) -> Record:
    plant = attacked.plant
    mark = len(attacked.log)
    took, kind = 0.0, "crash"
    try:
        if not attacked.alive:
            plant.start()
        with state(attacked):
            children = plant.children() if attacked.alive else []
            # Before it has come to its own code a signal ends it as it ends any process.
            took = attacked.stop(also=-signal.SIGTERM if name == _BEGUN else 0)
        _gone(children)
    except (AssertionError, OSError, NoAnswerError, RefusedError) as error:
        kind = "hang" if "still there" in str(error) else "crash"
        if attacked.alive:  # faulthandler says where it hangs
            plant.signal(signal.SIGABRT)
            time.sleep(0.5)
            plant.kill()
        said = f"{name}: {error}\n{attacked.log[mark:][-6000:]}"
        return Record(index, "hang" if kind == "hang" else "crash", took * 1000, said)
    if "Traceback (most recent call last)" in attacked.log[mark:]:
        said = attacked.log[mark:]
        return Record(index, "crash", took * 1000, f"{name}: {said[said.index('Traceback') :][:2000]}")
    return Record(index, "fine", took * 1000)


def _gone(pids: list[int]) -> None:
    """Waits for the processes of a service that has ended."""
    end = time.monotonic() + _GONE_S
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists() and "zombie" not in _status(pid)]:
        if time.monotonic() > end:
            raise AssertionError(f"the service has ended, and its processes {left} are still there")
        time.sleep(0.05)


def _status(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/status").read_text()
    return ""
