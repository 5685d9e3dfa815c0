"""A part whose picture shows nothing is answered `error`, live and from files, by the limits of its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.alfa import Alfa
from core.backbone import load_backbone
from core.image import Rgb, encode_png
from core.picture_check import ShotFigures
from core.simline import render
from core.structure import structure_of
from edge.inspection.line_recipes import RecipeSlot
from edge.settings import CameraSettings, LineSettings
from tests.core.test_picture_check import bars, coded, defocused, noise
from tests.support.hall import Hall
from tests.support.mjpeg import MjpegServer
from tests.support.mosquitto import Mosquitto, subscribe
from tests.support.recipes import stored

PART = render("bearing", 1, 0, 0.0, size=320).image
WOOD = render("wood", 1, 0, 0.0, size=320).image
SIZE = PART.shape[:2]
SHOWN = {
    "part": lambda index: np.clip(PART + np.random.default_rng(index).integers(-3, 4, PART.shape), 0, 255),
    "grey": lambda index: np.full(PART.shape, 120 + index % 16, np.uint8),
    "green": lambda index: np.full(PART.shape, (0, 135, index % 16), np.uint8),
    "bars": lambda index: np.roll(bars(320, 320), 16 * index, axis=1),
    "cap": lambda index: noise(9 + index % 3, 3, SIZE),
    "bright": lambda index: np.where(np.arange(320)[:, None, None] < 160, 255, PART),
    "corner": lambda index: np.where(
        (np.arange(320)[:, None] < 64)[..., None] & (np.arange(320) < 64)[:, None], 90, PART
    ),
    "soft": lambda index: defocused(WOOD, 0.08, 1.0),
    "blurred": lambda index: defocused(PART, 0.07, 2.0),
}


@pytest.fixture(scope="module")
def alfa() -> Alfa:
    return Alfa(load_backbone("untrained", None, "cpu", "fp32"))


@pytest.fixture
def shown() -> list[str]:
    """What the camera of `hall` shows."""
    return ["part"]


@pytest.fixture
def hall(alfa: Alfa, shown: list[str], tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Hall]:
    """A line before a live camera, with recipe `default`, and recipe `B`, which `judges` fills."""

    def draw(index: int) -> Rgb:
        return np.asarray(SHOWN[shown[0]](index), np.uint8)

    with MjpegServer(draw, fps=5) as camera:
        line = {"mode": "trigger", "frame_within_ms": 60_000}  # a busy machine is late
        settings = LineSettings(camera=CameraSettings(source=camera.url, open_timeout_s=30), **line)
        with subscribe(mosquitto.port, "line/#") as heard, Hall(settings, alfa, mosquitto, heard, tmp_path) as hall:
            hall.line.recipes.add(RecipeSlot(stored("B", 2)))
            yield hall


def judges(hall: Hall, shots: list[Rgb] | None = None, **settings: Any) -> None:
    """Has recipe `B` judge by these settings and the figures of these shots."""
    slot, ready = hall.line.recipes.find("B"), hall.line.recipes.slot(1).ready
    figures = ShotFigures.of([structure_of(shot) for shot in shots or []])
    made = stored("B", 2, **settings).settings
    slot.settle(replace(ready, settings=made, key=slot.stored.key, shots=figures))


def answered(hall: Hall, recipe: str = "default") -> tuple[str, str]:
    """The decision or the error's code of the next part, and the words."""
    verdict = hall.line.trigger("part", 60_000, recipe).answer.result(90)
    return (verdict.error.code, verdict.error.message) if verdict.error else (verdict.verdict, "")


def test_what_a_live_camera_shows_of_nothing_is_an_error(hall: Hall, shown: list[str]) -> None:
    assert answered(hall)[0] in ("normal", "anomaly")
    for kind, words in (
        ("grey", "the picture shows nothing"),
        ("green", "the picture shows nothing"),
        ("bars", "the picture is a test picture"),
        ("cap", "the picture shows nothing"),
        ("blurred", "the picture has nothing sharp in it"),
    ):
        shown[0] = kind
        code, message = answered(hall)
        while code in ("normal", "anomaly"):  # one was still on its way
            code, message = answered(hall)
        assert (kind, code) == (kind, "camera_flat")
        assert message.startswith(words)
        assert message.endswith("set health.flat = false")
    shown[0] = "part"
    while (code := answered(hall)[0]) == "camera_flat":
        pass
    assert code in ("normal", "anomaly")


def test_the_recipe_says_what_is_refused(hall: Hall, shown: list[str]) -> None:
    shown[0] = "grey"
    judges(hall, health={"flat": False})
    assert answered(hall)[0] == "camera_flat"
    assert answered(hall, "B")[0] in ("normal", "anomaly")


def test_the_region_alone_is_looked_at(hall: Hall, shown: list[str]) -> None:
    shown[0] = "corner"
    judges(hall, roi={"x": 0, "y": 0, "width": 64, "height": 64})
    while (code := answered(hall, "B")[0]) in ("normal", "anomaly"):  # one was still on its way
        pass
    assert code == "camera_flat"
    judges(hall, roi={"x": 64, "y": 64, "width": 200, "height": 200})
    assert answered(hall, "B")[0] in ("normal", "anomaly")


def test_a_frame_is_held_against_the_shots(hall: Hall) -> None:
    other = render("bearing", 1, 1, 0.0, size=240).image
    judges(hall, [other, other])
    code, message = answered(hall, "B")
    assert code == "camera_size"
    assert "the picture has 320 x 320 pixels, and all shots have 240 x 240; set the camera's size" in message
    judges(hall, [other, other], health={"enrolled_size": False})
    assert answered(hall, "B")[0] in ("normal", "anomaly")
    judges(hall, [other, PART])
    assert answered(hall, "B")[0] in ("normal", "anomaly")


def test_a_frame_without_the_detail_of_the_shots_is_out_of_focus(hall: Hall, shown: list[str]) -> None:
    shown[0] = "soft"
    judges(hall, [WOOD])
    while (found := answered(hall, "B"))[0] in ("normal", "anomaly"):
        pass
    assert found[0] == "camera_flat"
    assert "the picture has less than a quarter of the shots' fine detail; check focus" in found[1]
    assert answered(hall)[0] in ("normal", "anomaly"), "without shots it may be a plain part"


def test_a_frame_that_is_saturated_beyond_the_shots_is_over_exposed(hall: Hall, shown: list[str]) -> None:
    judges(hall, [PART])
    shown[0] = "bright"
    while (found := answered(hall, "B"))[0] in ("normal", "anomaly"):
        pass
    assert found[0] == "camera_white"
    assert "the picture is saturated in more places than any shot" in found[1]
    judges(hall, [PART], health={"saturated": 0})
    assert answered(hall, "B")[0] in ("normal", "anomaly")


def test_a_file_that_shows_nothing_is_an_error_too(alfa: Alfa, tmp_path: Path, mosquitto: Mosquitto) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, picture in enumerate((PART, SHOWN["grey"](0), coded(SHOWN["cap"](0)), SHOWN["bars"](0), PART)):
        (folder / f"{number}.png").write_bytes(encode_png(np.asarray(picture, np.uint8)))
    settings = LineSettings(camera=CameraSettings(source=str(folder)), mode="trigger")
    with subscribe(mosquitto.port, "line/#") as heard, Hall(settings, alfa, mosquitto, heard, tmp_path) as hall:
        found = [answered(hall)[0] for _ in range(5)]
    assert found[1:4] == ["camera_flat"] * 3
    assert {found[0], found[4]} <= {"normal", "anomaly"}
