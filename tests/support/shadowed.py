"""Two lines at five parts a second each, every picture archived, and a shadow on both."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge.control.client import ask
from tests.support.mosquitto import Mosquitto, Subscription, eventually
from tests.support.plant import PacedService
from tests.support.service import Service, toml

LINES = ("one", "two")
RATE = 5.0
PATIENCE_S = 180.0
LIVE, SHADOW = "default", "B"


class Shadowed:
    """The lines `one` and `two`, which run freely, with a second recipe `B`."""

    def __init__(
        self,
        folder: Path,
        broker: Mosquitto,
        heard: Subscription,
        model: str,
        pass_ms: float | None = None,
        defects: float = 0.0,
        rate: float = RATE,
    ) -> None:
        """`pass_ms`: the scorer takes so many milliseconds, and scores 0.25; None: it is the real one."""
        self.state, self.archive, self.config = folder / "state", folder / "archive", folder / "edge.toml"
        self._heard, self._pass_ms = heard, pass_ms
        self._socket = folder / "console.sock"
        tables: dict[str, dict[str, Any]] = {
            "service": {"state_dir": str(self.state), "runtime_dir": str(folder)},
            "model": {"name": model, "device": "cpu", "dtype": "fp32", "store": str(folder / "models")},
            "method": {"scales": [3], "stride": 3},
            "mqtt": {"host": broker.host, "port": broker.port},
            "archive": {"dir": str(self.archive), "ok_every": 1, "min_free_gb": 0, "queue": 1000},
            "heatmap": {"enabled": False},
        }
        for seed, line in enumerate(LINES, 1):
            tables[f"lines.{line}"] = {"pack": "bottle", "mode": "free"}
            source = f"sim:bottle?seed={seed}&rate={rate:g}&defects={defects:g}"
            tables[f"lines.{line}.camera"] = {"source": source}
        self.config.write_text(toml(tables))

    @contextmanager
    def service(self) -> Iterator[Service]:
        """The service, once it answers; it is killed at the end."""
        self._socket.unlink(missing_ok=True)
        paced = self._pass_ms is not None
        with PacedService(self.config, self._pass_ms or 0.0, {}) if paced else Service(self.config) as service:
            service.until(self._socket.is_socket, "console", PATIENCE_S)
            yield service

    def ask(self, command: str, line: str, **arguments: Any) -> dict[str, Any]:
        return ask(self._socket, command, {"line": line} | arguments, timeout_s=PATIENCE_S)[0]

    def status(self, line: str) -> dict[str, Any]:
        return dict(ask(self._socket, "status", {}, timeout_s=PATIENCE_S)[0]["lines"][line])

    def verdicts(self, line: str) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in self._heard.of(f"line/{line}/anomaly")]

    def judge(self, parts: int) -> list[dict[str, Any]]:
        """The next so many verdicts of each line."""
        before = {line: len(self.verdicts(line)) for line in LINES}
        eventually(lambda: all(len(self.verdicts(line)) >= before[line] + parts for line in LINES), PATIENCE_S)
        return [verdict for line in LINES for verdict in self.verdicts(line)[before[line] : before[line] + parts]]

    def archived(self, line: str, first: int, last: int) -> Counter[str]:
        """The pictures of a line's verdicts from `first` to `last`, by the answer of the line, as the files say it."""
        found: Counter[str] = Counter()
        answers = {verdict["heatmap"]["archive"]: verdict for verdict in self.verdicts(line) if verdict.get("heatmap")}
        for path, verdict in answers.items():
            if first <= verdict["seq"] <= last and (self.archive / path).exists():
                found[verdict["verdict"]] += 1
        return found

    def settle(self) -> None:
        """Returns when the archive has taken all that there is."""
        files = -1
        while files != (files := sum(1 for _ in self.archive.rglob("*.jpg"))):
            time.sleep(1.0)


def percentile(values: list[float], share: float) -> float:
    """By nearest rank."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
