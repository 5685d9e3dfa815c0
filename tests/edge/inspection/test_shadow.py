"""A line's shadow: what it is handed, what it passes over, and that it waits for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from core.alfa import Alfa
from edge.inference import Inference
from edge.inspection.line_recipes import LineRecipes, RecipeSlot
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.shadow import Shadow
from edge.messages import Recipe, Verdict
from edge.ops.alarms import Alarms
from edge.settings import HistorySettings, Roi
from edge.settings_recipe import RecipeSettings
from edge.storage.outbox import Outbox
from edge.storage.shadow_tables import StoredShadow
from edge.storage.shadow_verdicts import ShadowVerdicts
from tests.support.mosquitto import eventually
from tests.support.overload import PacedMethod
from tests.support.recipes import Keeper, stored
from tests.support.verdicts import MODEL, RECIPE, verdict

IMAGE = np.zeros((32, 32, 3), np.uint8)
STARTED = StoredShadow(5, "one", 2, 1, 1, "2026-01-01T00:00:00.000Z", "eva", None, None, None)


class Broken(PacedMethod):
    def inspect(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no memory")


class Bench:
    """A line with a live recipe and a shadow, an inference and a disk, but no parts of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inference = Inference(1)
        self.outbox = Outbox(folder, HistorySettings(), alarms=Alarms())
        self.outbox.start()
        self.keeper = Keeper()
        slots = [RecipeSlot(stored("default", 1)), RecipeSlot(stored("B", 2))]
        self.live = loaded(slots[0], PacedMethod(lambda _: 0.001))
        slots[0].settle(self.live)
        self.slot = slots[1]
        self.slot.settle(loaded(self.slot, PacedMethod(lambda _: 0.001), threshold=0.2))
        self.recipes = LineRecipes("one", slots, 1, self.keeper)
        self.recipes.set_shadow(STARTED)
        self.shadow = Shadow("one", self.recipes, self.inference, self.outbox.shadows)
        self._seq = 0

    def judge(self, recipe: LoadedRecipe | None = None) -> Verdict:
        """One more part of the line, which the shadow is handed."""
        self._seq += 1
        recipe = recipe or self.live
        issued = verdict("one", self._seq, recipe=recipe.wire)
        self.outbox.issue(issued).result(10)
        self.shadow.judge(issued, IMAGE, recipe)
        return issued

    def until(self, **counts: int) -> None:
        usual = dict.fromkeys(("judged", "passed_over", "failed", "unkept"), 0)
        eventually(lambda: self.shadow.counts == usual | counts)

    def stop(self) -> None:
        self.inference.stop()
        self.outbox.stop()


def loaded(slot: RecipeSlot, method: PacedMethod, threshold: float = 0.5) -> LoadedRecipe:
    wire: Recipe = RECIPE.model_copy(update={"name": slot.stored.name, "number": slot.stored.number, "revision": 4})
    settings = slot.stored.settings
    return LoadedRecipe(cast(Alfa, method), MODEL, cast(Any, None), threshold, threshold, wire, settings=settings)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stop()


def test_a_part_is_judged_a_second_time_and_that_is_kept(bench: Bench) -> None:
    bench.inference.start()
    bench.judge()
    bench.until(judged=1)
    bench.stop()
    [part] = ShadowVerdicts(bench.folder).of(5, "one", {1})
    assert (part.live_answer, part.live_score) == ("normal", 0.25)
    assert (part.shadow_answer, part.shadow_score, part.shadow_threshold) == ("anomaly", 0.25, 0.2)
    assert part.shadow_revision == 4


def test_an_answer_between_two_borders_is_a_review(bench: Bench) -> None:
    bench.inference.start()
    bench.slot.settle(replace(bench.slot.ready, review_below=0.3))
    bench.judge()
    bench.until(judged=1)
    bench.stop()
    assert ShadowVerdicts(bench.folder).agreement(5, "one") == {("normal", "review"): 1}


def test_what_is_too_much_is_passed_over(bench: Bench) -> None:
    for _ in range(Shadow.WAITING + 3):  # while the inference does not run
        bench.judge()
    bench.until(passed_over=3)
    bench.inference.start()
    bench.until(passed_over=3, judged=Shadow.WAITING)
    bench.judge()
    bench.until(passed_over=3, judged=Shadow.WAITING + 1)


def test_parts_of_another_recipe_and_of_before_its_start_are_not_its_own(bench: Bench) -> None:
    bench.inference.start()
    bench.recipes.set_shadow(replace(STARTED, first_seq=3))
    for _ in range(2):
        bench.judge()
    bench.judge(replace(bench.live, wire=bench.live.wire.model_copy(update={"number": 9})))
    bench.judge()
    bench.until(judged=1)
    bench.recipes.set_shadow(None)
    bench.judge()
    bench.until(judged=1)


def test_a_part_of_another_region_is_passed_over(bench: Bench) -> None:
    bench.inference.start()
    region = RecipeSettings(roi=Roi(x=0, y=0, width=16, height=16))
    bench.judge(replace(bench.live, settings=region))
    bench.until(passed_over=1)


def test_a_recipe_that_is_not_ready_is_made_so_and_parts_are_passed_over_meanwhile(bench: Bench) -> None:
    bench.inference.start()
    bench.slot.release()
    bench.judge()
    bench.until(passed_over=1)
    assert bench.keeper.wanted == ["B"]
    assert bench.shadow.trouble is None
    bench.slot.fail("its pack is gone")
    bench.judge()
    bench.until(passed_over=2)
    assert bench.keeper.wanted == ["B"], "it is not tried again with every part"
    assert bench.shadow.trouble == "recipe B: its pack is gone"


def test_a_pass_that_fails_is_told_until_one_does_not(bench: Bench) -> None:
    bench.inference.start()
    well = bench.slot.ready
    bench.slot.settle(loaded(bench.slot, Broken(lambda _: 0.0)))
    bench.judge()
    bench.until(failed=1)
    assert bench.shadow.trouble == "recipe B: RuntimeError: no memory"
    bench.slot.settle(well)
    bench.judge()
    bench.until(failed=1, judged=1)
    assert bench.shadow.trouble is None


def test_at_the_end_what_waits_is_passed_over(bench: Bench) -> None:
    bench.judge()
    bench.inference.stop()
    bench.judge()
    bench.until(passed_over=2)


def test_what_the_disk_does_not_take_is_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse: Callable[[object], bool] = lambda _: False  # noqa: E731
    monkeypatch.setattr(bench.outbox.shadows, "keep", refuse)
    bench.inference.start()
    bench.judge()
    bench.until(unkept=1)
