"""One health of a line, wherever somebody asks: topic, command, command line and figures say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from typer.testing import CliRunner

from edge.cli.app import app
from edge.inspection.health import LEVELS
from edge.inspection.judging import FAILING_PARTS
from edge.messages import LineHealth
from tests.support.mosquitto import Mosquitto, client, eventually
from tests.support.running import Running, service

FIELDS = tuple(LineHealth.model_fields)


@pytest.fixture
def running(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Running]:
    with service(mosquitto, tmp_path, mode="trigger", deadline_ms=20_000, threshold_source="a test") as one:
        yield one


@pytest.fixture
def plc(mosquitto: Mosquitto) -> Iterator[Client]:
    with client(mosquitto.port) as one:
        yield one


def published(running: Running) -> dict[str, Any]:
    """What the status topic says of the line's health."""
    said = json.loads(running.messages.of("line/one/status")[-1].payload)
    return {name: said.get(name) for name in FIELDS}


def asked(running: Running) -> dict[str, Any]:
    """What the console's command says of it; fields without a value left out, as on the topic."""
    found = running.ask("status")["lines"]["one"]
    components = {
        name: {key: value for key, value in part.items() if value is not None}
        for name, part in found["components"].items()
    }
    return {name: found[name] for name in FIELDS} | {"components": components}


def typed(running: Running, folder: Path, code: int = 0) -> str:
    """What `alfa-edge status` prints."""
    config = folder / "edge.toml"
    config.write_text(
        f"[service]\nruntime_dir = '{folder}'\nstate_dir = '{folder}/state'\n"
        "[lines.one.camera]\nsource = 'sim:bottle'\n"
    )
    result = CliRunner().invoke(app, ["status", "--config", str(config)])
    assert result.exit_code == code, result.output
    return result.output


def test_a_line_whose_parts_are_all_too_late_is_a_fault_everywhere_until_a_part_is_judged(
    running: Running, plc: Client, tmp_path: Path
) -> None:
    """A controller whose clock is an hour behind."""
    eventually(lambda: published(running)["level"] == "ok", 30)
    for number in range(FAILING_PARTS):
        message = {"part_id": f"part-{number}", "at": "2026-01-31T06:00:00Z"}
        plc.publish("line/one/trigger", json.dumps(message), qos=1)
    eventually(lambda: published(running)["state"] == "fault", 30)
    said = published(running)
    assert said == asked(running)
    assert said["level"] == "fault"
    assert said["reason"].startswith("the last 5 parts were all answered `error`: late: by its `at` the part was there")
    assert "NTP" in said["remedy"]
    assert said["components"]["judging"]["level"] == "fault"
    assert {name for name, part in said["components"].items() if part["level"] != "ok"} == {"judging"}
    gauges = running.service.lines["one"].gauges()
    assert gauges.line_state == said["state"]
    assert gauges.component_health == {name: LEVELS.index(part["level"]) for name, part in said["components"].items()}
    printed = " ".join(typed(running, tmp_path, code=3).split())
    assert f"judging: fault: {said['reason']}; what to do: {said['remedy']}" in printed
    running.ask("pause", line="one")
    eventually(lambda: published(running)["state"] == "paused", 10)
    assert published(running)["components"]["judging"]["level"] == "fault"
    running.ask("resume", line="one")
    assert running.ask("trigger", line="one", part_id="good")["verdict"]["verdict"] != "error"
    eventually(lambda: published(running)["state"] == "running", 10)
    assert published(running)["components"]["judging"].get("reason", "").startswith("parts: ")  # of the last minute
    assert asked(running) == published(running)
