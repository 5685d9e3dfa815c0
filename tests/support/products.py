"""A line with two products, its service as a process, and a controller that changes over between them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.bank.shot_checks import FLAGS
from core.image import encode_png
from core.simline import render
from edge.control.client import ask
from tests.support.mosquitto import Mosquitto, Subscription, client, eventually
from tests.support.plant import PacedService
from tests.support.service import Service, toml

PATIENCE_S = 120.0
ROI = {"x": 8, "y": 16, "width": 120, "height": 96}
B = 7
"""The number of the second product."""
KNOWN = ("recipe", "threshold", "bank", "provisional")
"""What of a verdict says what it was judged by, besides its heatmap."""


class Products:
    """Product `default`, calibrated with 4 shots, and `B`, with 2 of its own, another pack, region and threshold."""

    def __init__(self, folder: Path, broker: Mosquitto, heard: Subscription, pass_ms: float | None = None) -> None:
        """`pass_ms`: the scorer takes so many milliseconds and finds nothing; None: it is the real one."""
        self.state = folder / "state"
        self._heard = heard
        self._broker = broker
        self._socket = folder / "console.sock"
        self._config = folder / "edge.toml"
        self._sent = 0
        self._pass_ms = pass_ms
        tables: dict[str, dict[str, Any]] = {
            "service": {"state_dir": str(self.state), "runtime_dir": str(folder)},
            "model": {"name": "untrained", "device": "cpu", "dtype": "fp32", "store": str(folder / "models")},
            "method": {"scales": [3], "stride": 3},
            "mqtt": {"host": broker.host, "port": broker.port},
            "lines.one": {"pack": "bottle", "mode": "trigger", "deadline_ms": 60_000, "queue": 1000},
            "lines.one.camera": {"source": str(folder / "parts"), "loop": True},
        }
        (folder / "parts").mkdir()
        for number, part in enumerate(_pictures("bottle", 3)):  # read, which is faster than drawn
            (folder / "parts" / f"{number}.png").write_bytes(part)
        self._config.write_text(toml(tables))

    @contextmanager
    def service(self) -> Iterator[Service]:
        """The service, once it answers; it is killed at the end."""
        self._socket.unlink(missing_ok=True)
        paced = self._pass_ms is not None
        with PacedService(self._config, self._pass_ms or 0.0, {}) if paced else Service(self._config) as service:
            service.until(self._socket.is_socket, "console", PATIENCE_S)
            yield service

    def ask(self, command: str, *blobs: bytes, **arguments: Any) -> dict[str, Any]:
        return ask(self._socket, command, {"line": "one"} | arguments, blobs, timeout_s=PATIENCE_S)[0]

    def teach(self) -> None:
        """Makes both products."""
        self.ask("enroll", *_pictures("bottle", 4), yes=FLAGS)
        self.ask("calibrate", rate=0.2, accept=0.5)
        self.ask("recipe_new", name="B", number=B, settings={"pack": "tile", "roi": ROI})
        self.ask("enroll", *_pictures("tile", 2), recipe="B", yes=FLAGS)
        self.ask("calibrate", recipe=str(B), rate=0.5, accept=0.5)

    def send(self, *choices: str | int | None, pause_s: float = 0.0) -> list[str]:
        """Triggers a part for each choice of a recipe, None: a trigger that names none; the parts."""
        parts, sent = [], []
        with client(self._broker.port) as plc:
            for choice in choices:
                self._sent += 1
                part = f"part-{self._sent}"
                named = {} if choice is None else {"recipe": choice}
                sent.append(plc.publish("line/one/trigger", json.dumps({"part_id": part} | named), qos=1))
                parts.append(part)
                if pause_s:
                    time.sleep(pause_s)
            for message in sent:
                message.wait_for_publish(PATIENCE_S)
        return parts

    def command(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What the line replies to a command over MQTT."""
        before = len(self._heard.of("line/one/reply"))
        with client(self._broker.port) as plc:
            plc.publish("line/one/command", json.dumps({"id": "1", "command": command, "arguments": arguments}), qos=1)
            eventually(lambda: len(self._heard.of("line/one/reply")) > before, PATIENCE_S)
        return dict(json.loads(self._heard.of("line/one/reply")[-1].payload))

    def verdicts(self, parts: Sequence[str]) -> list[dict[str, Any]]:
        """Those of the parts, in their order."""

        def found() -> dict[str, dict[str, Any]]:
            heard = [json.loads(message.payload) for message in self._heard.of("line/one/anomaly")]
            return {verdict["part_id"]: verdict for verdict in heard}

        eventually(lambda: set(parts) <= set(found()), PATIENCE_S)
        return [found()[part] for part in parts]


def judged_by(verdict: dict[str, Any]) -> dict[str, Any]:
    """All that a verdict says of what it was judged by."""
    assert verdict["verdict"] != "error", verdict["error"]
    region = {side: verdict["heatmap"][side] for side in ("x", "y", "width", "height")}
    return {name: verdict[name] for name in KNOWN} | {"region": region}


def _pictures(product: str, count: int) -> list[bytes]:
    return [encode_png(render(product, 1, 5000 + number, 0.0).image) for number in range(count)]
