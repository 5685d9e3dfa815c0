"""A line that goes from one method to another: its shots stay, and no threshold of the one is the other's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.bank.shot_checks import FLAGS
from core.simline import render
from edge.control.offline import offline_dispatcher
from edge.settings import Settings
from tests.support.filo_heads import random_head

ALFA: dict[str, Any] = {"scales": [3], "stride": 3}


def settings(folder: Path, method: dict[str, Any]) -> Settings:
    return Settings(
        service={"state_dir": folder / "state"},
        model={"name": "bundled", "device": "cpu", "dtype": "fp32", "store": folder / "models", "tower": "none"},
        lines={"one": {"pack": "bottle", "camera": {"source": "sim:bottle"}, "method": method}},
    )


def shown(number: int) -> tuple[str, Any]:
    return str(number), render("bottle", 1, 5000 + number, 0.0, size=240).image


def test_shots_serve_both_methods_and_a_threshold_one(tmp_path: Path) -> None:
    filo = {"name": "filo", "filo": {"checkpoint": str(random_head(tmp_path))}}
    named = {"who": "eva", "note": "", "accepted": set(FLAGS)}
    with offline_dispatcher(settings(tmp_path, ALFA)) as dispatcher:
        dispatcher.enrolment.enrol(dispatcher.ready("one"), [shown(0), shown(1)], **named)
        dispatcher.enrolment.set_threshold(dispatcher.ready("one"), 0.4321, "eva")
        before = dispatcher.line("one").recipe
        assert (before.threshold, before.bank.shots) == (0.4321, 2)
    with offline_dispatcher(settings(tmp_path, filo)) as dispatcher:
        recipe = dispatcher.line("one").recipe
        assert recipe.index is not None
        assert (recipe.model.method, recipe.bank.shots) == ("filo", 2)
        assert recipe.threshold != 0.4321
        assert "with another pack, model, method" in recipe.wire.threshold_source
        assert recipe.wire.basis != before.wire.basis
        score, peak = dispatcher.enrolment.score(shown(7)[1], recipe)
        assert 0 <= score <= 1
        assert 0 <= peak <= 1
        dispatcher.enrolment.enrol(dispatcher.ready("one"), [shown(2)], **named)
    with offline_dispatcher(settings(tmp_path, ALFA)) as dispatcher:
        recipe = dispatcher.line("one").recipe
        assert recipe.index is not None, "the shot that FiLo was shown has what ALFA needs"
        assert (recipe.bank.shots, recipe.threshold) == (3, 0.4321)
