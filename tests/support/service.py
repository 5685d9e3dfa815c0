"""The whole service as a process of its own, as systemd would run it, and what it says on a broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

START_S = 60.0


class Service:
    """`alfa-edge run` with a configuration; its log goes to a file beside it.

    with Service(config) as service:
        ...
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self.log = config.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        with self.log.open("wb") as sink:
            command = [sys.executable, "-m", "edge.cli", "run", "--config", str(self._config)]
            self.process = subprocess.Popen(command, stdout=sink, stderr=sink)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """Asks it to end, as systemd does, and returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def until(self, reached: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
        """Waits for something to come true; fails with the log when the service ends or the time is up."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while not reached():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                why = f"exit code {self.process.returncode}" if ended else f"{timeout_s:g} s have passed"
                raise AssertionError(f"no {what}: {why}\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)


def toml(tables: dict[str, dict[str, Any]]) -> str:
    """A configuration file; JSON's numbers, texts, lists and booleans are TOML's."""
    parts = []
    for table, values in tables.items():
        parts.append(f"[{table}]")
        parts += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(parts) + "\n"
