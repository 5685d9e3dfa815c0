"""A service with one line in this process, its verdicts, and its console."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.control.client import ask
from edge.service import Service
from edge.settings import Settings
from tests.support.mosquitto import Mosquitto, Subscription, subscribe
from tests.support.quick import TABLE

TOPIC = "line/one/anomaly"


@dataclass
class Running:
    """A service with one line, its verdicts, and its console."""

    settings: Settings
    service: Service
    messages: Subscription
    socket: Path

    def ask(self, command: str, *blobs: bytes, **arguments: Any) -> dict[str, Any]:
        return ask(self.socket, command, arguments, blobs, timeout_s=60)[0]

    def verdicts(self) -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in self.messages.of(TOPIC)]

    def started(self) -> None:
        """Returns when the line takes parts."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            said = self.messages.of("line/one/status")
            if said and json.loads(said[-1].payload)["state"] in ("ready", "running", "fault") and self.socket.exists():
                return
            time.sleep(0.02)
        raise AssertionError("the line does not start")

    def until(self, shots: int) -> dict[str, Any]:
        """The first verdict that counts so many shots."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            for one in self.verdicts():
                if one["bank"]["shots"] == shots:
                    return one
            time.sleep(0.01)
        raise AssertionError(f"no verdict counts {shots} shots")


def settings_of(mosquitto: Mosquitto, folder: Path, **line: Any) -> Settings:
    return Settings(
        service={"state_dir": folder / "state", "runtime_dir": folder},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32"},
        method=TABLE,
        mqtt={"host": mosquitto.host, "port": mosquitto.port},
        archive={"dir": folder / "archive", "min_free_gb": 0},
        lines={"one": {"pack": "bottle", "camera": {"source": "sim:bottle?seed=1&rate=10&defects=0"}} | line},
    )


@contextmanager
def service(mosquitto: Mosquitto, folder: Path, **line: Any) -> Iterator[Running]:
    """The service for as long as the context is open; `line` are settings of its line."""
    settings = settings_of(mosquitto, folder, **line)
    service, stop = Service(settings), threading.Event()
    thread = threading.Thread(target=service.run, args=(stop,))
    with subscribe(mosquitto.port, "line/#") as messages:
        one = Running(settings, service, messages, folder / "console.sock")
        thread.start()
        try:
            one.started()
            yield one
        finally:
            stop.set()
            thread.join(30)
