"""How many verdicts of two simulated lines at full speed reach a broker's subscriber each second."""

import json
import time
from pathlib import Path
from typing import Any

from core.models import BUNDLED
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.service import Service, toml

PARTS = ("bottle", "gear")
COUNTED_S = 20.0
LEAST_PER_S = 6.0


def test_the_bundled_model_keeps_up(tmp_path: Path) -> None:
    lines: dict[str, dict[str, object]] = {}
    for part in PARTS:
        lines[f"lines.{part}"] = {"pack": part}
        lines[f"lines.{part}.camera"] = {"source": f"sim:{part}?seed=1", "rate": 0}
    with Mosquitto() as broker, subscribe(broker.port, "line/+/anomaly") as messages:
        config = tmp_path / "edge.toml"
        config.write_text(
            toml(
                {
                    "service": {"state_dir": str(tmp_path / "state")},
                    "model": {"name": BUNDLED, "device": "cpu"},
                    "mqtt": {"host": broker.host, "port": broker.port},
                    **lines,
                }
            )
        )

        def verdicts() -> list[dict[str, Any]]:
            return [json.loads(one.payload) for part in PARTS for one in messages.of(f"line/{part}/anomaly")]

        with Service(config) as service:
            eventually(lambda: all(messages.of(f"line/{part}/anomaly") for part in PARTS), timeout_s=60)
            before, begun = len(verdicts()), time.monotonic()
            time.sleep(COUNTED_S)
            found = verdicts()
            rate = (len(found) - before) / (time.monotonic() - begun)
            service.stop()
    print(f"\n{found[0]['model']['name']}: {rate:.2f} verdicts/s")
    assert all(one["verdict"] != "error" for one in found)
    assert rate >= LEAST_PER_S
