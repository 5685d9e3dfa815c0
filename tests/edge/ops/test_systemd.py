"""What systemd hears, over a real socket, and when it hears nothing."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.ops.alarms import Alarms
from edge.ops.systemd import Notifier, Watchdog, loading, watchdog_period
from edge.ops.worker import Worker, Workers
from tests.support.mosquitto import eventually


class Systemd:
    """The other end of the socket."""

    def __init__(self, address: str) -> None:
        self.environment = {"NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(10)

    def hear(self) -> str:
        """The next message."""
        return self.socket.recv(4096).decode()

    def silent(self) -> bool:
        """Whether nothing more has come."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(10)
        return False


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@alfa-edge-{secrets.token_hex(8)}"
    found = Systemd(address)
    yield found
    found.socket.close()


def test_each_word_is_a_datagram(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environment)
    assert notifier.listening
    said: list[tuple[Callable[[], None], str]] = [
        (notifier.ready, "READY=1"),
        (notifier.watchdog, "WATCHDOG=1"),
        (lambda: notifier.extend(12.5), "EXTEND_TIMEOUT_USEC=12500000"),
        (lambda: notifier.status("two lines, größer"), "STATUS=two lines, größer"),
        (notifier.stopping, "STOPPING=1"),
    ]
    for say, heard in said:
        say()
        assert systemd.hear() == heard


def test_the_watchdog_looks_at_what_else_may_be_wrong() -> None:
    looks: list[int] = []
    watchdog = Watchdog(Notifier({}), lambda: None, period_s=0.01, besides=lambda: looks.append(1))
    watchdog.start()
    eventually(lambda: len(looks) > 2)
    watchdog.stop()


def test_a_status_is_one_line_that_fits_and_tells_no_password(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environment)
    notifier.status("line one: fault\nREADY=1\r\x00\x1b[2J\u2028 rtsp://user:secret@camera/1 \ud800" + "x" * 10_000)
    heard = systemd.hear()
    assert heard.startswith("STATUS=line one: fault READY=1 [2J rtsp://camera x")
    assert heard.isprintable()
    assert len(heard) < 1000


def test_without_systemd_nothing_is_said() -> None:
    notifier = Notifier({})
    assert not notifier.listening
    notifier.ready()
    notifier.status("x")
    notifier.stopping()
    with loading(notifier):
        assert not any(one.name == "loading" for one in threading.enumerate())


def test_an_address_that_is_no_unix_socket_is_refused() -> None:
    with pytest.raises(ValueError, match="vsock:2:1"):
        Notifier({"NOTIFY_SOCKET": "vsock:2:1"})


def test_a_systemd_that_is_away_is_an_alarm_and_harms_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    address, alarms = str(tmp_path / "notify"), Alarms()
    notifier = Notifier({"NOTIFY_SOCKET": address}, alarms)
    for _ in range(3):
        notifier.watchdog()
    assert [alarm.code for alarm in alarms.every()] == ["systemd"]
    systemd = Systemd(address)
    notifier.watchdog()
    assert systemd.hear() == "WATCHDOG=1"
    assert alarms.every() == []
    systemd.socket.close()
    notifier.watchdog()
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2, "once each time"
    assert "systemd cannot be told anything" in caplog.text


def test_the_watchdogs_period_is_systemds() -> None:
    ours, another = str(os.getpid()), str(os.getpid() + 1)
    assert watchdog_period({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ours}) == 7.5
    assert watchdog_period({"WATCHDOG_USEC": "30000000"}) == 7.5
    for other in (
        {},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": another},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "often"},
    ):
        assert watchdog_period(other) is None, other


def test_the_watchdog_is_fed_while_all_is_well_and_only_then(
    systemd: Systemd, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[str | None] = [None]
    asked = threading.Semaphore(0)

    def alive() -> str | None:
        asked.release()
        return found[0]

    watchdog = Watchdog(Notifier(systemd.environment), alive, period_s=0.01)
    watchdog.start()
    assert [systemd.hear() for _ in range(3)] == ["WATCHDOG=1"] * 3
    found[0] = "line press-1: no progress for 31 s"
    eventually(lambda: bool(caplog.records))
    while not systemd.silent():
        pass
    while asked.acquire(blocking=False):
        pass
    for _ in range(3):
        assert asked.acquire(timeout=10)
    assert systemd.silent()
    found[0] = None
    assert systemd.hear() == "WATCHDOG=1"
    watchdog.stop()
    watchdog.stop()
    assert [(one.levelno, "line press-1: no progress" in one.message) for one in caplog.records] == [
        (logging.CRITICAL, True),
        (logging.WARNING, False),
    ], "each once"


def test_a_check_that_fails_is_no_sign_of_life(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    systemd = Systemd(str(tmp_path / "notify"))

    def alive() -> str | None:
        raise RuntimeError("who knows")

    watchdog = Watchdog(Notifier(systemd.environment), alive, period_s=0.01)
    watchdog.start()
    eventually(lambda: "its progress cannot be told: RuntimeError: who knows" in caplog.text)
    watchdog.stop()
    assert systemd.silent()
    systemd.socket.close()


def test_a_watchdog_that_systemd_did_not_ask_for_looks_all_the_same_and_tells_it_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.setattr("edge.ops.systemd._LOOK_S", 0.01)
    systemd = Systemd(str(tmp_path / "notify"))
    for environment in (systemd.environment, {}):
        caplog.clear()
        found: list[str | None] = [None]
        looked = threading.Semaphore(0)

        def stalled(found: list[str | None] = found, looked: threading.Semaphore = looked) -> str | None:
            looked.release()
            return found[0]

        watchdog = Watchdog(Notifier(environment), stalled)
        watchdog.start()
        for _ in range(3):
            assert looked.acquire(timeout=10)
        assert systemd.silent()
        found[0] = "scorer: no progress for 61 s"
        eventually(lambda: "stands still, and will be ended unless it goes on: scorer" in caplog.text)
        watchdog.stop()
    systemd.socket.close()


HANGS = """
import sys, time
from edge.ops import systemd
from edge.ops.logs import setup_logs
from edge.ops.worker import Worker, Workers

setup_logs(format="text")
systemd._LOOK_S = 0.05
workers = Workers()
patience_s, vital = float(sys.argv[1]), sys.argv[2] == "vital"
Worker(workers, "scorer", lambda: time.sleep(60), patience_s=patience_s, vital=vital).start()
systemd.Watchdog(systemd.Notifier({}), workers.stalled, workers.hopeless).start()
time.sleep(2)
sys.stdout.write("went on")
"""


def hang(patience_s: float, vital: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HANGS, str(patience_s), vital]
    environment = {key: value for key, value in os.environ.items() if key != "WATCHDOG_USEC"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


def test_a_process_whose_thread_hangs_for_good_ends_without_systemd_too() -> None:
    ended = hang(0.2, "vital")
    assert ended.returncode == 70
    assert "CRITICAL edge.ops.systemd: the service ends, as it stands still: scorer: no progress for" in ended.stderr
    assert "time.sleep(60)" in ended.stderr or "<string>" in ended.stderr, "where it hangs"
    assert ended.stdout == ""


@pytest.mark.parametrize(("patience_s", "vital"), [(1.5, "vital"), (0.1, "not vital")])
def test_one_that_may_yet_go_on_or_that_is_not_needed_ends_nothing(patience_s: float, vital: str) -> None:
    ended = hang(patience_s, vital)
    assert (ended.returncode, ended.stdout) == (0, "went on")


def test_threads_that_make_progress_feed_the_watchdog(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    workers, begins, ends = Workers(), threading.Event(), threading.Event()

    def work() -> float | None:
        if begins.is_set():
            ends.wait(10)
        return None

    worker = Worker(workers, "outbox", work, patience_s=0.1)
    watchdog = Watchdog(Notifier(systemd.environment), workers.stalled, period_s=0.02)
    worker.start()
    watchdog.start()
    assert systemd.hear() == "WATCHDOG=1"
    begins.set()
    worker.wake()
    eventually(lambda: "outbox: no progress for" in caplog.text)
    while not systemd.silent():
        pass
    ends.set()
    assert systemd.hear() == "WATCHDOG=1"
    watchdog.stop()
    worker.stop()
    systemd.socket.close()


def test_a_long_start_is_granted_more_time_until_it_ends(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environment)
    with loading(notifier, every_s=0.01):
        heard = [systemd.hear() for _ in range(3)]
    assert all(re.fullmatch(r"EXTEND_TIMEOUT_USEC=\d+", one) for one in heard)
    notifier.ready()
    while (last := systemd.hear()).startswith("EXTEND"):
        pass
    assert last == "READY=1"
    assert systemd.silent()
    assert not any(one.name == "loading" for one in threading.enumerate())


def test_a_start_that_fails_or_never_ends_is_granted_no_more(systemd: Systemd) -> None:
    notifier = Notifier(systemd.environment)
    with pytest.raises(RuntimeError, match="no such weights"), loading(notifier, every_s=0.01):
        raise RuntimeError("no such weights")
    while not systemd.silent():
        pass
    with loading(notifier, every_s=0.01, limit_s=0.05):
        eventually(lambda: not any(one.name == "loading" for one in threading.enumerate()))
        assert systemd.hear().startswith("EXTEND")
