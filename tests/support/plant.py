"""A small plant: a broker, lines with a camera each, the service in a process of its own, and who talks to it.

with Plant(folder) as plant:
    with plant.plc.shift(plant.lines, rate=10) as shift:
        plant.kill()
        plant.start()
    plant.settle(shift)
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.control.client import ask
from tests.support.faults import Faults
from tests.support.film import SIZE, Film, draw
from tests.support.mosquitto import Mosquitto, binary, free_port
from tests.support.people import Monitor, Operator, Plc, Shift
from tests.support.proxy import Proxy
from tests.support.service import Service, toml

START_S = 110.0  # on a machine that does other things besides
PASS_MS = 5.0
DEADLINE_MS = 2000
FROZEN_S = 1.0
QUIET_S = 0.3  # without a verdict, after which no more is expected
OTHER_SIZE = (640, 512)
PASSWORDS = {"edge": "from the start", "plc": "another one", "monitor": "a third"}
ROOT = Path(__file__).parents[2]


class Broker(Mosquitto):
    """A broker that remembers over a restart, and that can change its mind about a password."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        """`options` are further lines of the configuration, of the listener too."""
        super().__init__(persistent=True, users=PASSWORDS, options=["max_queued_messages 0"])
        self._further = options

    def set_password(self, user: str, password: str) -> None:
        """Holds from the next start on."""
        file = Path(self._directory.name) / "passwords"
        subprocess.run([binary("mosquitto_passwd"), "-b", str(file), user, password], check=True)

    def forget(self) -> None:
        """Starts with no session and no retained message; it has been stopped."""
        (Path(self._directory.name) / "mosquitto.db").unlink(missing_ok=True)

    def _write_config(self, directory: Path) -> Path:
        """Its memory is written as it ends: at every change would take more time than all that is measured here."""
        config = super()._write_config(directory)
        kept = [line for line in config.read_text().splitlines() if not line.startswith("autosave")]
        config.write_text("\n".join([*kept, *self._further]) + "\n")
        return config


class PacedService(Service):
    """The service with a scorer of known speed; its log goes on over restarts."""

    def __init__(self, config: Path, pass_ms: float, environment: Mapping[str, str]) -> None:
        super().__init__(config)
        self._pass_ms = pass_ms
        self._environment = {**os.environ, **environment}

    def __enter__(self) -> PacedService:
        command = [sys.executable, "-m", "tests.support.paced", f"{self._pass_ms:g}", "run", "--config"]
        with self.log.open("ab") as sink:
            self.process = subprocess.Popen(
                [*command, str(self._config)], cwd=ROOT, env=self._environment, stdout=sink, stderr=sink
            )
        return self


class Plant:
    """All of it, for as long as the context is open."""

    def __init__(
        self,
        lines: int = 4,
        *,
        fps: float = 30.0,
        pass_ms: float = PASS_MS,
        deadline_ms: int = DEADLINE_MS,
        proxied: bool = False,
        faulty: bool = False,
        size: tuple[int, int] = SIZE,
        broker: Sequence[str] = (),
        state: Path | None = None,
        **tables: dict[str, Any],
    ) -> None:
        """
        Args:
            lines: How many; their names are `line-1` and so on.
            fps: Pictures per second of each camera.
            pass_ms: What a pass of the scorer takes.
            deadline_ms: Within which each part is answered.
            proxied: Whether the service reaches the broker by `proxy`.
            faulty: Whether `faults` can strike the service.
            size: Of the pictures, width and height.
            broker: Further lines of the broker's configuration.
            state: The folder of its state. Default: one of the plant's own.
            tables: Settings besides, by section.
        """
        self.lines = [f"line-{number}" for number in range(1, lines + 1)]
        self.films: dict[str, Film] = {}
        self.broker = Broker(broker)
        self._fps = fps
        self._pass_ms = pass_ms
        self.deadline_ms = deadline_ms
        self._proxied = proxied
        self._faulty = faulty
        self._size = size
        self._state = state
        self._tables = tables
        self._stack = ExitStack()

    def __enter__(self) -> Plant:
        with self._stack:
            enter = self._stack.enter_context
            self._folder = Path(enter(tempfile.TemporaryDirectory(prefix="plant-")))
            self.state = self._state or self._folder / "state"
            enter(self.broker)
            pictures = draw(self._folder / "pictures", self._size, OTHER_SIZE)
            for line in self.lines:
                self.films[line] = enter(Film(pictures, self._fps, self._size))
            self.proxy = enter(Proxy(self.broker.port)) if self._proxied else None
            self.console = self._folder / "run" / "console.sock"
            self.metrics_port = free_port()
            config = self._folder / "edge.toml"
            config.write_text(toml(self._settings()))
            self.monitor = enter(Monitor(self.broker.port, "monitor", PASSWORDS["monitor"]))
            self.plc = enter(Plc(self.broker.port, "plc", PASSWORDS["plc"]))
            self.operator = Operator(self.console)
            self.faults = Faults(self._folder) if self._faulty else None
            environment = self.faults.environment if self.faults is not None else {}
            self.service = PacedService(config, self._pass_ms, environment)
            self._stack.callback(self._end)
            self.start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, wait: bool = True) -> None:
        """Starts the service; returns when each line judges parts, or at once without `wait`."""
        self.started = time.monotonic()
        self.service.__enter__()
        if wait:
            self.service.until(lambda: all(self.runs(line) for line in self.lines), "line that runs", START_S)

    def runs(self, line: str) -> bool:
        """Whether the line has said since the last start of the service that it runs."""
        said = self.monitor.state(line)
        return said is not None and said.at > self.started and said.message["state"] == "running"

    def kill(self) -> None:
        """Ends the service as a power cut would."""
        self.signal(signal.SIGKILL)
        assert self.service.process is not None
        self.service.process.wait()

    def stop(self) -> int:
        """Ends the service as systemd would; its exit code."""
        return self.service.stop()

    def signal(self, number: signal.Signals) -> None:
        """Sends the service a signal."""
        self.service.process.send_signal(number)  # type: ignore[union-attr]

    @property
    def pid(self) -> int:
        """Of the service."""
        assert self.service.process is not None
        return self.service.process.pid

    def camera_pid(self, line: str) -> int | None:
        """Of the process that reads the line's camera now: it is the one that has a connection to it."""
        inodes = _connected_to(self.films[line].port)
        for child in self.children():
            with contextlib.suppress(OSError):
                if inodes & {str(file.readlink()) for file in Path(f"/proc/{child}/fd").iterdir()}:
                    return child
        return None

    def children(self) -> list[int]:
        """The process ids of all camera processes."""
        found = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of a figure that have these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(series.rpartition(" ")[2])
            for series in text.splitlines()
            if series.startswith((f"{name}{{", f"{name} ")) and all(one in series for one in wanted)
        )

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What the service answers to the console."""
        return ask(self.console, command, arguments)[0]

    def second_service(self, state: Path) -> tuple[int, str]:
        """Exit code and last words of another service of this configuration, which may have a state of its own, and
        has another port for its figures. It has no cameras, and fails where it begins to start one.
        """
        code = "import edge.camera.child; edge.camera.child.Child = None; from edge.cli.app import main; main()"
        command = [sys.executable, "-c", code, "run", "--config", str(self._folder / "edge.toml")]
        other = {"ALFA_EDGE_SERVICE__STATE_DIR": str(state), "ALFA_EDGE_METRICS__PORT": str(free_port())}
        done = subprocess.run(command, cwd=ROOT, env=os.environ | other, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    def caught_up(self, timeout_s: float) -> float:
        """Waits until the broker has every verdict; the seconds that took."""
        began = time.monotonic()
        self.service.until(lambda: self.metric("alfa_edge_outbox_verdicts") == 0, "end of the backlog", timeout_s)
        return time.monotonic() - began

    def settle(self, shift: Shift, timeout_s: float = 30.0) -> None:
        """Waits until each part of the shift has a verdict that came, and no more come."""
        self.plc.acknowledged()
        wanted = set(shift.parts)
        self.service.until(lambda: wanted <= self.monitor.answered(), "verdict of each part", timeout_s)
        heard = -1
        while heard != (heard := len(self.monitor.verdicts())):
            time.sleep(QUIET_S)

    def on_disk(self) -> dict[tuple[str, int], str]:
        """The ids of the verdicts in `verdicts.db`, by line and number; the file is whole."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state}/verdicts.db?mode=ro", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert database.execute("PRAGMA foreign_key_check").fetchone() is None
            return {(line, seq): one for line, seq, one in database.execute("SELECT line, seq, id FROM verdicts")}

    def history(self) -> list[dict[str, Any]]:
        """The verdicts in `verdicts.db`, as they were issued."""
        with contextlib.closing(sqlite3.connect(f"file:{self.state}/verdicts.db?mode=ro", uri=True)) as database:
            return [json.loads(payload) for (payload,) in database.execute("SELECT payload FROM verdicts")]

    def _end(self) -> None:
        process = self.service.process
        if process is not None and process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    def _settings(self) -> dict[str, dict[str, Any]]:
        port = self.proxy.port if self.proxy is not None else self.broker.port
        tables: dict[str, dict[str, Any]] = {
            "service": {
                "node": "plant",
                "state_dir": str(self.state),
                "runtime_dir": str(self._folder / "run"),
                "stats_interval_s": 2.0,
            },
            "model": {"name": "untrained", "device": "cpu", "dtype": "fp32"},
            "archive": {"dir": str(self._folder / "archive"), "min_free_gb": 0},
            "metrics": {"port": self.metrics_port},
            "mqtt": {"host": "127.0.0.1", "port": port, "username": "edge", "password": PASSWORDS["edge"]},
        }
        for line in self.lines:
            tables[f"lines.{line}"] = {"mode": "trigger", "pack": "bottle", "deadline_ms": self.deadline_ms}
            tables[f"lines.{line}.camera"] = {"source": self.films[line].url}
            tables[f"lines.{line}.health"] = {"frozen_s": FROZEN_S, "size": list(self._size)}
        for section, values in self._tables.items():
            tables[section] = tables.get(section, {}) | values
        return tables


def _connected_to(port: int) -> set[str]:
    """The client ends of connections to a port of the loopback interface, as `/proc/PID/fd` names them."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f"socket:[{row[9]}]" for row in rows if row[3] == "01" and int(row[2].rpartition(":")[2], 16) == port}
