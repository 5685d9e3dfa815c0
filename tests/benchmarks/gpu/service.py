"""`service`: a whole service on the bundled model with 1 and 8 lines at full speed, from camera to broker.

The service is a process of its own, its cameras are processes beneath it, and the broker is in this one, so that what
each of them takes of the processor can be told apart. Simulated lines render every part, which may be what holds them
up; the last run shows the same lines pictures that were rendered before.
"""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from core.simline import render
from edge import topics
from edge.tools.broker import EmbeddedBroker, _free_port
from tests.benchmarks.gpu.results import Results
from tests.benchmarks.gpu.scale import Scale
from tests.support.mosquitto import Subscription, subscribe
from tests.support.service import Service, toml

_PARTS = ("bottle", "gear", "metal_plate", "wood", "tile", "cable", "screw", "capsule")
_PICTURES = 40  # of each rendered line
_SETTLE_S = 1.5  # at full speed, before anything is counted


@dataclass(frozen=True)
class Used:
    """Processor seconds so far."""

    service: float
    cameras: float
    broker: float


def run(results: Results, scale: Scale) -> None:
    """One simulated line, eight, and eight that look at rendered pictures."""
    seconds = (2.0, 2.0, 2.0) if scale.dry else (30.0, 30.0, 12.0)
    with TemporaryDirectory(prefix="alfa-edge-gpu-") as folder:
        for lines, rendered, counted_s in zip((1, 8, 8), (False, False, True), seconds, strict=True):
            if scale.dry:
                lines = min(lines, 2)
            place = Path(folder) / f"{lines}-{'rendered' if rendered else 'simulated'}"
            place.mkdir()
            _serve(results, scale, place, lines, counted_s, rendered=rendered)


def _serve(results: Results, scale: Scale, folder: Path, lines: int, counted_s: float, *, rendered: bool) -> None:
    parts = _PARTS[:lines]
    port = _free_port()
    with EmbeddedBroker(_free_port()) as broker, subscribe(broker.port, topics.EVERY_ANOMALY) as messages:
        config = folder / "edge.toml"
        config.write_text(_configuration(scale, folder, parts, broker.port, port, rendered=rendered))
        with Service(config) as service:
            assert service.process is not None
            service.until(lambda: len(_lines_of(messages)) == lines, f"verdict of each of {lines} lines", 30)
            time.sleep(_SETTLE_S)
            began, first, issued, before = time.monotonic(), len(messages.messages), _issued(port), _used(service)
            time.sleep(counted_s)
            took, last = time.monotonic() - began, len(messages.messages)
            judged, after = _issued(port) - issued, _used(service)
            seen = [json.loads(one.payload) for one in messages.messages[first:last]]
            what = f"{lines} {'rendered' if rendered else 'simulated'} lines"
            _report(results, what, seen, judged, took, before, after)
            service.stop()


def _report(
    results: Results, what: str, seen: list[dict[str, Any]], judged: float, took: float, before: Used, after: Used
) -> None:
    timed = [one["timing_ms"] for one in seen if one["verdict"] != "error"]
    errors = len(seen) - len(timed)
    if not timed:
        results.failed(f"{what}: no part was judged, {errors} errors")
        return
    cores = {name: (getattr(after, name) - getattr(before, name)) / took for name in ("service", "cameras", "broker")}
    results.add(
        what,
        verdicts_per_s=judged / took,
        received_per_s=len(seen) / took,
        errors=errors,
        p50_ms=_share(timed, 0.50, "total"),
        p99_ms=_share(timed, 0.99, "total"),
        capture_p50_ms=_share(timed, 0.50, "capture"),
        queue_p50_ms=_share(timed, 0.50, "queue"),
        score_p50_ms=_share(timed, 0.50, "score"),
        score_p99_ms=_share(timed, 0.99, "score"),
        **{f"{name}_cores": value for name, value in cores.items()},
        cameras_share_of_cpu=cores["cameras"] / max(sum(cores.values()), 1e-9),
        model=seen[-1]["model"]["name"],
        device=seen[-1]["model"]["device"],
    )


def _configuration(
    scale: Scale, folder: Path, parts: tuple[str, ...], broker: int, port: int, *, rendered: bool
) -> str:
    tables: dict[str, dict[str, Any]] = {
        "service": {"state_dir": str(folder / "state"), "runtime_dir": str(folder / "run")},
        "model": {"name": "bundled", "device": str(scale.device), "store": str(folder.parent / "store")},
        "mqtt": {"host": EmbeddedBroker.host, "port": broker},
        "metrics": {"port": port},
    }
    for part in parts:
        source = str(_render(folder / part, part)) if rendered else f"sim:{part}?seed=1"
        tables[f"lines.{part}"] = {"pack": part}
        tables[f"lines.{part}.camera"] = {"source": source, "rate": 0, "loop": rendered}
    return toml(tables)


def _render(folder: Path, part: str) -> Path:
    folder.mkdir()
    for index in range(_PICTURES):
        Image.fromarray(render(part, 1, index, 0.2).image).save(folder / f"{index:03d}.jpg", quality=95)
    return folder


def _lines_of(messages: Subscription) -> set[str]:
    return {one.topic for one in messages.messages}


def _issued(port: int) -> float:
    """Verdicts that the service has issued, errors left out, as its own metrics count them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [one for family in families for one in family.samples if one.name == "alfa_edge_verdicts_total"]
    return sum(one.value for one in samples if one.labels["verdict"] != "error")


def _used(service: Service) -> Used:
    assert service.process is not None
    main = psutil.Process(service.process.pid)
    return Used(_cpu(main), sum(map(_cpu, main.children(recursive=True))), _cpu(psutil.Process()))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _share(timed: list[dict[str, float]], share: float, stage: str) -> float:
    ordered = sorted(one[stage] for one in timed)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
