"""What a line keeps is of one model and method: under another it is made anew from the pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.bank.shot_checks import FLAGS
from core.simline import render
from edge.control.dispatcher import Dispatcher
from edge.control.offline import offline_dispatcher
from tests.support.at_rest import settings_at_rest

ANEW = "their features are made anew from the kept pictures"


@contextmanager
def at_rest(folder: Path, model: dict[str, Any], method: dict[str, Any]) -> Iterator[Dispatcher]:
    settings = settings_at_rest(folder)
    changed = {
        "lines": {"one": settings.lines["one"]},
        "model": settings.model.model_copy(update=model),
        "method": settings.method.model_copy(update={"few_shot": "alfa", **method}),
    }
    with offline_dispatcher(settings.model_copy(update=changed)) as dispatcher:
        yield dispatcher


def test_another_input_size_or_step_between_windows_needs_features_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pictures = [(str(number), render("bottle", 1, 5000 + number, 0.0).image) for number in range(2)]
    with at_rest(tmp_path, {}, {}) as one:
        one.enrolment.enrol(one.ready("one"), pictures, who="eva", note="", accepted=set(FLAGS))
        one.enrolment.calibrate(one.ready("one"), [(0.2, 0.2)] * 20, 0.05, "parts", "eva")
        assert not one.line("one").recipe.provisional
    for model, method in (({"image_size": 160}, {}), ({}, {"stride": 1})):
        caplog.clear()
        with caplog.at_level(logging.WARNING), at_rest(tmp_path, model, method) as one:
            recipe = one.line("one").recipe
            assert [ANEW in record.getMessage() for record in caplog.records].count(True) == 1
            assert recipe.index is not None
            assert recipe.provisional
            assert "the last calibration was with another" in recipe.wire.threshold_source
            assert 0 <= one.enrolment.score(pictures[0][1], recipe)[0] <= 1
    with at_rest(tmp_path, {}, {}) as one:
        assert not one.line("one").recipe.provisional, "what was promised of the first still holds"


def test_a_pack_that_is_rendered_otherwise_is_calibrated_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is the same, and its prompts are not: what they scored promises nothing."""
    with at_rest(tmp_path, {}, {}) as one:
        one.enrolment.calibrate(one.ready("one"), [(0.2, 0.2)] * 20, 0.05, "parts", "eva")
        before = one.line("one").recipe
    monkeypatch.setattr("core.packs.pack.with_article", lambda phrase: f"the {phrase}")
    with at_rest(tmp_path, {}, {}) as one:
        after = one.line("one").recipe
        assert (before.provisional, after.provisional) == (False, True)
        assert not after.text.normal.equal(before.text.normal)
