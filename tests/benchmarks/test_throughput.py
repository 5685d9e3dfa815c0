"""How many verdicts of two simulated lines at full speed reach a broker's subscriber each second, and the memory."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from core.bank.shot_checks import FLAGS
from core.models import BUNDLED
from core.simline import render
from edge.control.offline import offline_dispatcher
from edge.settings_file import load_settings
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.service import Service, toml

PARTS = ("bottle", "gear")
COUNTED_S = 20.0
SHOTS = 4
FIRST_NORMAL = 1_000_000


# Name, settings of the model and of the method, shots, and verdicts for one of the first, at least: in one run, as
# processors differ.
CASES: tuple[tuple[str, dict[str, Any], dict[str, Any], int, float], ...] = (
    ("zero-shot", {}, {}, 0, 1.0),
    ("4 shots, the paper's way", {"tower": "none"}, {"few_shot": "alfa"}, SHOTS, 0.9),
    ("4 shots, CLIP alone", {"tower": "none"}, {}, SHOTS, 0.6),
    ("4 shots, CLIP and lite0", {}, {}, SHOTS, 0.5),
    ("4 shots, CLIP and lite0, no windows", {}, {"windows": "none"}, SHOTS, 1.5),
)


@pytest.mark.timeout(600)
def test_the_bundled_model_keeps_up(tmp_path: Path) -> None:
    rates = []
    for number, (name, model, method, shots, _) in enumerate(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        rate, peak = measure(folder, model, method, shots)
        rates.append(rate)
        print(f"\n{BUNDLED}, {name}: {rate:.2f} verdicts/s, peak {peak:.0f} MiB")
    for (name, *_, least), rate in zip(CASES, rates, strict=True):
        assert rate >= least * rates[0], name


def measure(folder: Path, model: dict[str, Any], method: dict[str, Any], shots: int) -> tuple[float, float]:
    """Verdicts per second, and the service's peak memory, MiB."""
    lines: dict[str, dict[str, object]] = {}
    for part in PARTS:
        lines[f"lines.{part}"] = {"pack": part}
        lines[f"lines.{part}.camera"] = {"source": f"sim:{part}?seed=1", "rate": 0}
    with Mosquitto() as broker, subscribe(broker.port, "line/+/anomaly") as messages:
        config = folder / "edge.toml"
        config.write_text(
            toml(
                {
                    "service": {"state_dir": str(folder / "state")},
                    "model": {"name": BUNDLED, "device": "cpu", **model},
                    "method": method,
                    "mqtt": {"host": broker.host, "port": broker.port},
                    **lines,
                }
            )
        )
        if shots:
            enrol(config, shots)

        def verdicts() -> list[dict[str, Any]]:
            return [json.loads(one.payload) for part in PARTS for one in messages.of(f"line/{part}/anomaly")]

        with Service(config) as service:
            eventually(lambda: all(messages.of(f"line/{part}/anomaly") for part in PARTS), timeout_s=60)
            before, begun = len(verdicts()), time.monotonic()
            time.sleep(COUNTED_S)
            found = verdicts()
            rate = (len(found) - before) / (time.monotonic() - begun)
            assert service.process is not None
            peak = peak_mib(service.process.pid)
            service.stop()
    assert all(one["verdict"] != "error" for one in found)
    return rate, peak


def enrol(config: Path, shots: int) -> None:
    """Good parts that the lines do not show."""
    with offline_dispatcher(load_settings(config)) as dispatcher:
        for part in PARTS:
            good = [(str(index), render(part, 1, FIRST_NORMAL + index, 0.0).image) for index in range(shots)]
            dispatcher.enrolment.enrol(part, good, who="benchmark", note="", accepted=set(FLAGS))


def peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
