"""The main job: real streams in, verdicts on a real broker out."""

import io
import json
from typing import Any

import jsonschema
import pytest
from PIL import Image

from core.packs.pack import load_pack
from edge.messages import json_schemas
from tests.support.mjpeg import MjpegServer
from tests.support.mosquitto import Message, Mosquitto, eventually, subscribe
from tests.support.photographs import photographs
from tests.support.quick import TABLE
from tests.support.rtsp import RtspServer
from tests.support.service import Service, toml

PARTS = 12
RTSP_SIZE = (640, 480)
ROI = {"x": 40, "y": 100, "width": 400, "height": 900}  # of the commutators, which are 500 x 1260


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One run over both kinds of stream: what a subscriber received, by topic, and how the service ended."""
    folder = tmp_path_factory.mktemp("streams")
    tiles, commutators = (photographs(name, 6, folder / name) for name in ("magnetic_tile", "commutator"))
    with (
        Mosquitto() as broker,
        RtspServer(tiles, fps=10, size=RTSP_SIZE) as rtsp,
        MjpegServer(commutators, fps=10) as mjpeg,
        subscribe(broker.port, "line/#") as messages,
    ):
        with Image.open(commutators / "000.png") as first:
            roi = ROI if first.height >= 1000 else {"x": 40, "y": 100, "width": 400, "height": 300}
        config = folder / "edge.toml"
        config.write_text(
            toml(
                {
                    "service": {"node": "box-1", "stats_interval_s": 1.0},
                    "archive": {"dir": str(folder / "archive"), "min_free_gb": 0.1},
                    "model": {"name": "untrained", "device": "cpu", "dtype": "fp32"},
                    "method": TABLE,
                    "mqtt": {"host": broker.host, "port": broker.port},
                    "lines.tiles": {"pack": "magnetic_tile", "threshold": 1.0},
                    "lines.tiles.camera": {"source": rtsp.url, "rate": 4.0},
                    # A threshold of 0 calls every part anomalous, and the whole inspected region one region.
                    "lines.commutators": {"pack": "commutator", "threshold": 0.0},
                    "lines.commutators.camera": {"source": mjpeg.url, "rate": 4.0},
                    "lines.commutators.roi": roi,
                    "lines.dead.camera": {"source": "rtsp://127.0.0.1:9/none", "retry_s": 0.2, "open_timeout_s": 1.0},
                }
            )
        )
        with Service(config) as service:
            for line in ("tiles", "commutators"):
                service.until(
                    lambda line=line: len(messages.of(f"line/{line}/anomaly")) >= PARTS, f"{PARTS} parts of {line}"
                )
            service.until(lambda: any(attempts(m) >= 3 for m in messages.of("line/dead/stats")), "third attempt")
            code = service.stop()
        for line in ("tiles", "commutators", "dead"):
            eventually(lambda line=line: b'"stopped"' in messages.of(f"line/{line}/status")[-1].payload)
        return {"messages": messages, "code": code, "roi": roi, "folder": folder, "log": service.log.read_text()}


def attempts(stats: Message) -> int:
    """How often the line's camera was tried."""
    return 1 + int(json.loads(stats.payload)["reconnects"])


def verdicts(heard: dict[str, Any], line: str) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in heard["messages"].of(f"line/{line}/anomaly")]


@pytest.mark.parametrize("line", ["tiles", "commutators"])
def test_every_part_has_one_verdict_that_validates(heard: dict[str, Any], line: str) -> None:
    found = verdicts(heard, line)
    assert [one["seq"] for one in found] == list(range(1, len(found) + 1))
    assert len({one["id"] for one in found}) == len(found)
    assert [one["id"] for one in found] == sorted(one["id"] for one in found)
    for one in found:
        jsonschema.validate(one, json_schemas()["verdict"])
        assert one["line"] == line
        assert one["mode"] == "free"
        assert one["model"]["name"] == "untrained"
        assert not one["simulated"]
    assert {one["recipe"]["pack"] for one in found} == {{"tiles": "magnetic_tile", "commutators": "commutator"}[line]}


@pytest.mark.parametrize("line", ["tiles", "commutators"])
def test_timing_adds_up(heard: dict[str, Any], line: str) -> None:
    for one in verdicts(heard, line):
        timing = one["timing_ms"]
        parts = timing["capture"] + timing["queue"] + timing["score"]
        assert parts <= timing["total"] + 1
        assert timing["score"] > 0
        assert timing["decode"] <= timing["capture"] + 1
        assert one["captured_at"] <= one["issued_at"]
        assert one["camera"]["frame"] >= 1
    numbers = [one["camera"]["frame"] for one in verdicts(heard, line)]
    assert numbers == sorted(set(numbers)), "no frame is judged twice, none goes back"
    dropped = [one["camera"]["dropped"] for one in verdicts(heard, line)]
    for before, after, passed in zip(numbers, numbers[1:], dropped[1:], strict=False):
        assert after - before == passed + 1


def test_the_heatmap_has_the_geometry_of_the_frame(heard: dict[str, Any]) -> None:
    found = verdicts(heard, "tiles")
    assert {(one["camera"]["width"], one["camera"]["height"]) for one in found} == {RTSP_SIZE}
    assert {one["verdict"] for one in found} == {"normal"}
    check_heatmaps(heard, "tiles", (0, 0), RTSP_SIZE)


def test_the_heatmap_and_the_regions_have_the_geometry_of_the_roi(heard: dict[str, Any]) -> None:
    roi = heard["roi"]
    check_heatmaps(heard, "commutators", (roi["x"], roi["y"]), (roi["width"], roi["height"]))
    for one in verdicts(heard, "commutators"):
        assert one["verdict"] == "anomaly"
        (region,) = one["regions"]
        assert {key: region[key] for key in ("x", "y", "width", "height")} == roi
        assert region["area"] == roi["width"] * roi["height"]
        x, y = region["peak"]
        assert roi["x"] <= x < roi["x"] + roi["width"]
        assert roi["y"] <= y < roi["y"] + roi["height"]
        assert region["score"] == pytest.approx(one["heatmap"]["max"])
        descriptors = load_pack("commutator").descriptors
        assert region["descriptor"] in descriptors
        assert len(one["explanation"]) == 5
        assert {reason["text"] for reason in one["explanation"]} <= set(descriptors)
        with Image.open(heard["folder"] / "archive" / one["heatmap"]["archive"]) as overlay:
            assert overlay.width >= roi["width"]
            assert overlay.height > roi["height"], "the region, and a caption below"


def check_heatmaps(heard: dict[str, Any], line: str, offset: tuple[int, int], size: tuple[int, int]) -> None:
    maps = {}
    for message in heard["messages"].of(f"line/{line}/anomaly/heatmap"):
        with Image.open(io.BytesIO(message.payload)) as picture:
            assert picture.mode == "L"
            assert picture.size == size
            assert picture.text["line"] == line  # type: ignore[attr-defined]
            maps[picture.text["id"]] = (int(picture.text["seq"]), picture.getextrema()[1])  # type: ignore[attr-defined]
    found = {one["id"]: one for one in verdicts(heard, line)}
    assert set(maps) <= set(found)
    assert len(maps) >= len(found) - 2  # QoS 0: the last ones may be on their way when the service stops
    for key, (seq, highest) in maps.items():
        one = found[key]
        assert one["seq"] == seq
        assert (one["heatmap"]["x"], one["heatmap"]["y"]) == offset
        assert (one["heatmap"]["width"], one["heatmap"]["height"]) == size
        assert one["heatmap"]["max"] * 255 == pytest.approx(highest, abs=0.51)


def test_a_camera_that_cannot_open_faults_its_own_line_only(heard: dict[str, Any]) -> None:
    states = [json.loads(message.payload) for message in heard["messages"].of("line/dead/status")]
    assert not verdicts(heard, "dead")
    assert "fault" in {one["state"] for one in states}
    assert "running" not in {one["state"] for one in states}
    stats = [json.loads(message.payload) for message in heard["messages"].of("line/dead/stats")]
    assert stats[-1]["reconnects"] >= 2
    for one in stats:
        jsonschema.validate(one, json_schemas()["stats"])


@pytest.mark.parametrize("line", ["tiles", "commutators"])
def test_states_run_from_starting_to_stopped(heard: dict[str, Any], line: str) -> None:
    states = [json.loads(message.payload) for message in heard["messages"].of(f"line/{line}/status")]
    for one in states:
        jsonschema.validate(one, json_schemas()["status"])
        assert one["node"] == "box-1"
    order = [one["state"] for one in states]
    assert order[0] == "starting"
    assert order[-1] == "stopped"
    assert "running" in order
    assert heard["code"] == 0
    assert "Traceback" not in heard["log"]
