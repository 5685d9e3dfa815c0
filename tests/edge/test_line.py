"""One line, with a real camera process, a real scorer and a real broker: one answer for every part."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.alfa import Alfa
from core.backbone import Backbone, load_backbone
from core.compiled import compile_pack
from core.packs import load_pack
from core.simline import render
from edge.archive import Archive
from edge.camera import Camera
from edge.line import Line, LoadedRecipe
from edge.mqtt import Publisher
from edge.recipes import model_part, recipe_part
from edge.scorer import Scorer
from edge.settings import CameraSettings, LineSettings, MqttSettings, Roi
from tests.support.mosquitto import Mosquitto, Subscription, eventually, subscribe


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained", None, "cpu", "fp32")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three pictures, of which the second is torn."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(render("tile", 1, index, 0.0, size=480).image).save(folder / f"{index}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:400])
    return folder


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[Subscription]:
    with subscribe(mosquitto.port, "line/#") as messages:
        yield messages


def run(
    settings: LineSettings, alfa: Alfa, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, expected: int
) -> list[dict[str, Any]]:
    """The verdicts of a line that is stopped after the expected number."""
    pack = load_pack("magnetic_tile")
    text = alfa.text(compile_pack(alfa.backbone, pack))
    recipe = LoadedRecipe(text, settings.threshold, settings.threshold, recipe_part(pack, "test"))
    scorer = Scorer(alfa, 1)
    publisher = Publisher(MqttSettings(host=mosquitto.host, port=mosquitto.port), "one", "box", "0")
    camera = Camera("one", settings.camera, tmp_path)
    model = model_part(alfa.backbone, alfa.method)
    line = Line("one", settings, recipe, model, camera, scorer, publisher, Archive(tmp_path / "archive"), 60.0)
    publisher.start()
    scorer.start()
    line.start()
    try:
        eventually(lambda: len(heard.of("line/one/anomaly")) >= expected, 30)
    finally:
        line.halt()
        line.join(10)
        scorer.stop()
        publisher.stop()
    return [json.loads(message.payload) for message in heard.of("line/one/anomaly")]


def settings(parts: Path, **more: Any) -> LineSettings:
    return LineSettings(camera=CameraSettings(source=str(parts), rate=0), **more)


def test_a_torn_picture_is_an_error_verdict_and_the_next_part_is_judged(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    found = run(settings(parts), Alfa(backbone), mosquitto, heard, tmp_path, 3)
    assert [one["seq"] for one in found] == [1, 2, 3]
    assert [one["verdict"] == "error" for one in found] == [False, True, False]
    assert found[1]["error"]["code"] == "camera_no_frame"
    assert "1.png" in found[1]["error"]["message"]
    # The broker acknowledges the last state to the line before, or after, it hands it on to us.
    eventually(lambda: json.loads(heard.of("line/one/status")[-1].payload)["state"] == "stopped", 10)


def test_a_region_outside_the_frame_is_an_error_verdict(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    (parts / "1.png").unlink()
    roi = Roi(x=400, y=0, width=100, height=100)
    found = run(settings(parts, roi=roi), Alfa(backbone), mosquitto, heard, tmp_path, 2)
    assert {one["error"]["code"] for one in found} == {"roi_outside_frame"}
    assert "480 x 480" in found[0]["error"]["message"]
    assert found[0]["camera"]["width"] == 480


def test_a_pass_that_fails_is_an_error_verdict(
    parts: Path,
    backbone: Backbone,
    mosquitto: Mosquitto,
    heard: Subscription,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (parts / "1.png").unlink()
    alfa = Alfa(backbone)

    def fail(*_: object) -> None:
        raise RuntimeError("device lost")

    monkeypatch.setattr(alfa, "vision", fail)
    found = run(settings(parts), alfa, mosquitto, heard, tmp_path, 2)
    assert {one["error"]["code"] for one in found} == {"scorer_failed"}
    assert "device lost" in found[0]["error"]["message"]


def test_a_disk_that_takes_nothing_stops_the_archive_and_not_the_line(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    (parts / "1.png").unlink()
    found = run(settings(parts, threshold=0.0), Alfa(backbone), mosquitto, heard, tmp_path, 2)
    assert [one["verdict"] for one in found] == ["anomaly", "anomaly"]


def test_overlays_are_where_the_verdict_says(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    (parts / "1.png").unlink()
    found = run(settings(parts, threshold=0.0), Alfa(backbone), mosquitto, heard, tmp_path, 2)
    for one in found:
        with Image.open(tmp_path / "archive" / one["heatmap"]["archive"]) as overlay:
            assert np.asarray(overlay).shape == (480, 480, 3)
