"""A line that FiLo judges beside one of ALFA's, over one model: a camera in, defects by name and place out."""

import json
from typing import Any

import jsonschema
import pytest

from core.packs.pack import load_pack
from core.regions import position
from edge.control.client import ask
from edge.messages import json_schemas
from tests.support.filo_heads import random_head
from tests.support.mosquitto import Mosquitto, client, subscribe
from tests.support.service import Service, toml

PARTS = 2
PATIENCE_S = 180.0  # a busy machine takes a minute to load all
PLACES = {position((column, row), (3, 3)) for row in range(3) for column in range(3)}
SWITCHES = ("default", "F", "default", "F", "F", "default")
CAMERA = {"source": "sim:bottle?rate=4&defects=1&seed=3"}


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run: verdicts by line, what `status` said, and the log."""
    folder = tmp_path_factory.mktemp("filo")
    head = random_head(folder)
    with Mosquitto() as broker, subscribe(broker.port, "line/#") as messages:
        config = folder / "edge.toml"
        config.write_text(
            toml(
                {
                    "service": {"node": "box-1", "state_dir": str(folder / "state"), "runtime_dir": str(folder)},
                    "model": {"name": "bundled", "device": "cpu", "dtype": "fp32", "tower": "none"},
                    "mqtt": {"host": broker.host, "port": broker.port},
                    # A threshold of 0 calls every part anomalous, and the whole picture one region.
                    "lines.plain": {"pack": "bottle", "threshold": 0.0},
                    "lines.plain.camera": CAMERA,
                    "lines.named": {"pack": "bottle", "threshold": 0.0},
                    "lines.named.camera": CAMERA,
                    "lines.named.method": {"name": "filo"},
                    "lines.named.method.filo": {"checkpoint": str(head)},
                    "lines.press": {"pack": "bottle", "threshold": 0.0, "mode": "trigger", "deadline_ms": 60_000},
                    "lines.press.camera": CAMERA,
                }
            )
        )
        with Service(config) as service:
            for line in ("plain", "named"):
                service.until(
                    lambda line=line: len(messages.of(f"line/{line}/anomaly")) >= PARTS,
                    f"{PARTS} parts of {line}",
                    PATIENCE_S,
                )
            product = {
                "line": "press",
                "name": "F",
                "settings": {"method": {"name": "filo", "filo": {"checkpoint": str(head)}}},
            }
            ask(folder / "console.sock", "recipe_new", product, timeout_s=PATIENCE_S)
            with client(broker.port) as plc:
                for number, recipe in enumerate(SWITCHES):
                    part = {"part_id": f"part-{number}", "recipe": recipe}
                    plc.publish("line/press/trigger", json.dumps(part), qos=1).wait_for_publish(PATIENCE_S)
            service.until(
                lambda: len(messages.of("line/press/anomaly")) >= len(SWITCHES), "parts of two methods", PATIENCE_S
            )
            status = ask(folder / "console.sock", "status", {}, timeout_s=30)[0]
            assert service.stop() == 0
        found = {
            line: [json.loads(message.payload) for message in messages.of(f"line/{line}/anomaly")]
            for line in ("plain", "named", "press")
        }
    return {"verdicts": found, "status": status, "log": service.log.read_text()}


def test_each_line_is_judged_by_its_method(heard: dict[str, Any]) -> None:
    for line, method in (("plain", "alfa"), ("named", "filo")):
        for verdict in heard["verdicts"][line]:
            assert verdict["model"]["method"] == method
            assert verdict["verdict"] == "anomaly"
    alfa, filo = (heard["verdicts"][line][0] for line in ("plain", "named"))
    assert alfa["model"]["fingerprint"] == filo["model"]["fingerprint"], "one model"
    assert alfa["recipe"]["basis"] != filo["recipe"]["basis"], "no threshold of the one is the other's"


def test_a_line_changes_its_method_between_two_parts(heard: dict[str, Any]) -> None:
    verdicts = sorted(heard["verdicts"]["press"], key=lambda verdict: str(verdict["part_id"]))
    assert [verdict["recipe"]["name"] for verdict in verdicts] == list(SWITCHES)
    for verdict in verdicts:
        filo = verdict["recipe"]["name"] == "F"
        assert verdict["model"]["method"] == ("filo" if filo else "alfa")
        assert (verdict["model"].get("head") is not None) == filo
        assert ("defect" in verdict["regions"][0]) == filo
    assert len({verdict["recipe"]["basis"] for verdict in verdicts}) == 2


def test_a_defect_has_a_name_and_a_place(heard: dict[str, Any]) -> None:
    defects = load_pack("bottle").defects
    for verdict in heard["verdicts"]["named"]:
        jsonschema.validate(verdict, json_schemas()["verdict"])
        assert verdict["regions"]
        for region in verdict["regions"]:
            assert region["descriptor"] in defects[region["defect"]]
            assert region["position"] in PLACES
        assert {reason["text"] for reason in verdict["explanation"]} <= {
            phrase for phrases in defects.values() for phrase in phrases
        }


def test_what_is_left_out_is_said(heard: dict[str, Any]) -> None:
    method = heard["status"]["lines"]["named"]["method"]
    assert (method["name"], method["text_half"]) == ("filo", True)
    assert method["remark"].startswith("without Grounding DINO")
    assert "without Grounding DINO" in heard["log"]
    plain = heard["status"]["lines"]["plain"]["method"]
    assert plain == {"name": "alfa", "head": None, "remark": None, "text_half": False}
