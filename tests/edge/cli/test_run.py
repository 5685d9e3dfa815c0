"""The service as a process: how it ends when it is told to, whatever it does by then, and when it cannot go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.control.client import RefusedError, ask
from tests.support.mosquitto import Mosquitto, subscribe
from tests.support.service import toml

STOP_S = 2.0


@pytest.fixture
def config(mosquitto: Mosquitto, tmp_path: Path) -> Path:
    """Two lines, whose packs have to be compiled first: loading takes some seconds."""
    path = tmp_path / "edge.toml"
    tables = {
        "service": {"state_dir": str(tmp_path / "state")},
        "model": {"name": "bundled", "device": "cpu", "store": str(tmp_path / "store")},
        "mqtt": {"host": mosquitto.host, "port": mosquitto.port},
    }
    for line, pack in (("one", "bottle"), ("two", "cable")):
        tables[f"lines.{line}"] = {"pack": pack}
        tables[f"lines.{line}.camera"] = {"source": "sim:bottle?rate=10"}
    path.write_text(toml(tables))
    return path


OTHER_THREAD = """
import signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
"""
"""The kernel gives SIGTERM to a thread that does nothing; threads that start later take none, as they inherit."""


class Process:
    """`alfa-edge run`, in a session of its own."""

    def __init__(self, config: Path, before: str = "") -> None:
        """`before`: code that the process runs first."""
        self.log = config.with_suffix(".log")
        self.temporary = Path(tempfile.mkdtemp(prefix="run-"))  # pytest's own is too long for a socket
        environment = os.environ | {"TMPDIR": str(self.temporary)}
        environment.pop("RUNTIME_DIRECTORY", None)
        with self.log.open("wb") as sink:
            code = f"{before}\nfrom edge.cli.app import main\nmain()"
            command = [sys.executable, "-c", code, "run", "--config", str(config)]
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)

    def cameras(self) -> list[int]:
        """The processes of its cameras, which are its children as long as it is there."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        threads = children.parent.parent.glob("*/children")
        return [int(pid) for file in threads for pid in file.read_text().split()]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code, and how long it took to end, seconds."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - began

    def said(self, words: str, timeout_s: float = 60.0) -> None:
        """Waits until the log holds `words`."""
        until = time.monotonic() + timeout_s
        while words not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def end(self) -> None:
        """Kills it, if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def process(config: Path) -> Iterator[Process]:
    process = Process(config)
    yield process
    process.end()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("after_s", "number"),
    [
        (0.5, signal.SIGTERM),
        (1.5, signal.SIGTERM),
        (3.0, signal.SIGTERM),
        (3.0, signal.SIGINT),
        (5.0, signal.SIGTERM),
    ],
)
def test_a_service_that_is_told_to_end_while_it_loads_ends_at_once(
    process: Process, config: Path, after_s: float, number: int
) -> None:
    time.sleep(after_s)
    cameras = process.cameras()
    code, took_s = process.stop(number)
    said = process.log.read_text()
    assert took_s < STOP_S, said
    assert "Traceback" not in said
    if said or cameras:
        assert code == 0, said
    else:  # Python itself was still starting
        assert code in (0, -number)
    until = time.monotonic() + STOP_S
    while not all(gone(pid) for pid in cameras):
        assert time.monotonic() < until, "a camera process is left"
        time.sleep(0.02)
    assert list(process.temporary.iterdir()) == [], "the folder of its sockets is left"


def test_after_that_the_next_start_finds_all_in_order(config: Path, process: Process) -> None:
    time.sleep(3.0)
    process.stop()
    again = Process(config)
    try:
        again.said(": judging ")
        code, _ = again.stop()
        assert code == 0, again.log.read_text()
        assert "Traceback" not in again.log.read_text()
    finally:
        again.end()


FAILS = """
from edge.mqtt.heatmaps import Heatmaps
def fail(self, *_):
    raise ZeroDivisionError("of this test")
Heatmaps._next = fail
"""
HANGS = """
import threading, time
from edge.mqtt.heatmaps import Heatmaps
from edge.ops import systemd
def hang(self, *_):
    self._worker._patience_s = 1.0
    time.sleep(600)
systemd._LOOK_S = 0.1
Heatmaps._next = hang
"""


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (FAILS, "the thread heatmaps has failed: ZeroDivisionError: of this test"),
        (HANGS, "the service ends, as it stands still: heatmaps: no progress for"),
    ],
)
def test_a_service_whose_vital_thread_fails_or_hangs_ends_without_systemd(config: Path, before: str, why: str) -> None:
    process = Process(config, before)
    cameras: set[int] = set()
    try:
        until = time.monotonic() + 90
        while process.process.poll() is None:
            assert time.monotonic() < until, process.log.read_text()
            cameras |= set(process.cameras())
            time.sleep(0.05)
        assert process.process.returncode == 70, process.log.read_text()
        assert why in process.log.read_text()
        until = time.monotonic() + 5
        while not all(gone(pid) for pid in cameras):
            assert time.monotonic() < until, "a camera process is left"
            time.sleep(0.02)
    finally:
        process.end()


HISTORY_HANGS = """
import time
from edge.storage.history import History
History.page = lambda *_, **__: time.sleep(600)
"""


def test_a_command_and_a_camera_that_hang_do_not_hold_up_the_end(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Faults: a command that hung kept the service from ending; cameras that hung were waited for one by one."""
    config, runtime = tmp_path / "edge.toml", tempfile.mkdtemp(prefix="run-")
    tables = {
        "service": {"state_dir": str(tmp_path / "state"), "runtime_dir": runtime},
        "model": {"name": "untrained", "device": "cpu", "dtype": "fp32", "store": str(tmp_path / "store")},
        "method": {"scales": [3], "stride": 3},
        "mqtt": {"host": mosquitto.host, "port": mosquitto.port},
    }
    lines = ("one", "two", "three")
    for line in lines:
        tables[f"lines.{line}"] = {"pack": "bottle", "mode": "trigger"}
        tables[f"lines.{line}.camera"] = {"source": "sim:bottle?rate=10"}
    config.write_text(toml(tables))
    process, answers = Process(config, HISTORY_HANGS), list[str]()

    def hang() -> None:
        try:
            ask(Path(runtime) / "console.sock", "history", {"line": "one"}, timeout_s=60)
        except RefusedError as error:
            answers.append(error.code)

    asking = threading.Thread(target=hang)
    try:
        process.said(": judging ")
        asking.start()
        cameras = process.cameras()
        for pid in cameras:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)
        with subscribe(mosquitto.port, "line/+/status") as heard:
            began = time.monotonic()
            process.process.send_signal(signal.SIGTERM)
            heard.until(lambda messages: sum(b'"stopping"' in one.payload for one in messages) == len(lines), 5)
            told_s = time.monotonic() - began
            code = process.process.wait(30)
            took_s = time.monotonic() - began
        asking.join(5)
        print(f"told after {told_s:.2f} s, ended after {took_s:.1f} s")
        assert code == 0, process.log.read_text()
        assert told_s < 1.0
        assert took_s < 10.0
        assert answers == ["stopping"]
        assert "Traceback" not in process.log.read_text()
        assert all(gone(pid) for pid in cameras), "a camera process is left"
    finally:
        process.end()


def untrained(mosquitto: Mosquitto, folder: Path) -> Path:
    """A line whose model is there at once."""
    config = folder / "edge.toml"
    tables = {
        "service": {"state_dir": str(folder / "state")},
        "model": {"name": "untrained", "device": "cpu", "dtype": "fp32", "store": str(folder / "store")},
        "mqtt": {"host": mosquitto.host, "port": mosquitto.port},
        "lines.one": {"pack": "bottle", "mode": "trigger"},
        "lines.one.camera": {"source": "sim:bottle?rate=10"},
    }
    config.write_text(toml(tables))
    return config


def test_a_signal_that_another_thread_is_given_is_heard(mosquitto: Mosquitto, tmp_path: Path) -> None:
    process = Process(untrained(mosquitto, tmp_path), OTHER_THREAD)
    try:
        process.said(": judging ")
        time.sleep(0.3)
        process.process.send_signal(signal.SIGTERM)
        process.said("stopping", 5.0)
        assert process.process.wait(20) == 0
    finally:
        process.end()


TOLD_AS_LINES_START = """
import os, signal, time
from edge.mqtt.inbound import Router
begin = Router.open
def open(self, *arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.6)
    begin(self, *arguments)
Router.open = open
"""


def test_lines_that_have_just_started_end_before_their_cameras(mosquitto: Mosquitto, tmp_path: Path) -> None:
    process = Process(untrained(mosquitto, tmp_path), TOLD_AS_LINES_START)
    try:
        assert process.process.wait(60) == 0
    finally:
        process.end()
    log = process.log.read_text()
    assert "stopping before all was loaded" in log
    assert "Traceback" not in log
