"""A line changes over: each part by the recipe of its trigger, ready or not, its region and its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.alfa import Alfa
from core.backbone import load_backbone
from edge.inspection.line_recipes import RecipeSlot
from edge.inspection.recipe import LoadedRecipe
from edge.settings import CameraSettings, LineSettings
from tests.support.hall import Hall
from tests.support.mosquitto import Mosquitto, subscribe
from tests.support.quick import QUICK
from tests.support.recipes import stored

ROI = {"x": 8, "y": 16, "width": 120, "height": 96}


@pytest.fixture
def hall(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Hall]:
    """A line with recipe `default`, which is ready, and `B`, which is not."""
    settings = LineSettings(camera=CameraSettings(source="sim:tile?seed=1&defects=0"), mode="trigger")
    alfa = Alfa(load_backbone("untrained", None, "cpu", "fp32"), QUICK)
    with subscribe(mosquitto.port, "line/#") as heard, Hall(settings, alfa, mosquitto, heard, tmp_path) as hall:
        hall.line.recipes.add(RecipeSlot(stored("B", 2, roi=ROI, threshold=0.125)))
        yield hall


def loaded(hall: Hall, **settings: Any) -> LoadedRecipe:
    """What recipe `B` judges by."""
    slot = hall.line.recipes.find("B")
    made = stored("B", 2, **{"roi": ROI, "threshold": 0.125} | settings)
    ready = hall.line.recipes.slot(1).ready
    wire = ready.wire.model_copy(update={"name": "B", "number": 2, "revision": 1})
    return replace(ready, wire=wire, settings=made.settings, threshold=0.125, key=slot.stored.key)


def answered(hall: Hall, part: str, recipe: str | None = None, deadline_ms: int = 60_000) -> dict[str, Any]:
    verdict = hall.line.trigger(part, deadline_ms, recipe).answer.result(90)
    return verdict.model_dump(mode="json", exclude_none=True)


def test_a_part_whose_recipe_is_not_ready_at_its_deadline_is_an_error_that_names_it(hall: Hall) -> None:
    verdict = answered(hall, "p1", "B", deadline_ms=300)
    assert verdict["error"]["code"] == "recipe_not_ready"
    assert "alfa-edge recipe prepare" in verdict["error"]["message"]
    assert (verdict["recipe"]["name"], verdict["recipe"]["number"], verdict["threshold"]) == ("B", 2, 0.125)
    assert answered(hall, "p2", deadline_ms=300)["error"]["code"] == "recipe_not_ready", "the line judges by B now"
    assert answered(hall, "p3", "default")["recipe"]["name"] != "B"


def test_parts_go_on_when_their_recipe_is_ready_each_by_its_own(hall: Hall) -> None:
    waiting = [hall.line.trigger(f"B{number}", 60_000, "2" if number == 0 else None) for number in range(2)]
    first = answered(hall, "A", "1")
    assert not any(part.answer.done() for part in waiting), "it holds up nobody else"
    hall.line.recipes.find("B").settle(loaded(hall))
    found = [part.answer.result(90) for part in waiting]
    assert [(verdict.recipe.name, verdict.threshold) for verdict in found] == [("B", 0.125)] * 2
    for verdict in found:
        assert verdict.heatmap is not None
        assert {side: getattr(verdict.heatmap, side) for side in ROI} == ROI
    assert first["heatmap"]["width"] > ROI["width"]


def test_a_recipe_that_cannot_be_made_ready_is_answered_at_once_and_is_a_fault_of_the_line(hall: Hall) -> None:
    hall.line.recipes.choose("B")
    hall.line.recipes.find("B").fail("its pack is gone")
    verdict = answered(hall, "p1")
    assert (verdict["error"]["code"], verdict["error"]["message"]) == (
        "recipe_not_ready",
        "recipe B: its pack is gone",
    )
    health = hall.line.health()
    assert (health.state, health.reason) == ("fault", "recipe B: its pack is gone")
    hall.line.recipes.choose("default")
    assert hall.line.health().state == "running"


def test_the_limits_of_the_picture_are_those_of_the_parts_recipe(hall: Hall) -> None:
    hall.line.recipes.find("B").settle(loaded(hall, health={"blur": 1e9}))
    assert answered(hall, "p1", "B")["error"]["code"] == "camera_blurred"
    assert answered(hall, "p2", "default")["verdict"] != "error"
    hall.line.recipes.find("B").settle(loaded(hall, health={"size": (3, 4)}))
    assert answered(hall, "p3", "B")["error"]["code"] == "camera_size"


def test_an_unknown_recipe_is_answered_and_changes_nothing(hall: Hall) -> None:
    verdict = answered(hall, "p1", "C")
    assert verdict["error"]["code"] == "recipe_unknown"
    assert "there are default (1), B (2)" in verdict["error"]["message"]
    assert answered(hall, "p2")["verdict"] != "error"
