"""Two evaluations of the same data: what changed, and what cannot be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.evaluate.compare import (
    EvaluationFileError,
    IncomparableError,
    Setting,
    compare,
    load,
    render_comparison,
)
from core.evaluate.result import ClassResult, Evaluation, Metrics
from tests.core.evaluate.synthetic import a_class, evaluation


def rescored(result: ClassResult, change: Callable[[int, float], float]) -> ClassResult:
    """The same class with other scores in every run."""
    runs = [
        run.model_copy(update={"scores": tuple(change(index, score) for index, score in enumerate(run.scores))})
        for run in result.runs
    ]
    return result.model_copy(update={"runs": tuple(runs)})


def remeasured(result: ClassResult, seed: int, **values: float | None) -> ClassResult:
    """The same class with other metrics in the runs of one seed."""
    runs = [
        run.model_copy(update={"metrics": Metrics(**{**run.metrics.model_dump(), **values})})
        if run.seed == seed
        else run
        for run in result.runs
    ]
    return result.model_copy(update={"runs": tuple(runs)})


def test_nothing_changed() -> None:
    of = evaluation(a_class("cap"))
    found = compare(of, of)
    assert found.same
    assert found.runs == 3
    assert found.scores_compared == 3 * 56
    assert not found.conditions
    assert "No change." in render_comparison(found)


def test_scores_and_sides_of_the_threshold() -> None:
    result = a_class("cap", seeds=1, shots=(0,))
    threshold = result.runs[0].operation.threshold  # type: ignore[union-attr]
    above, higher, *_ = (index for index, score in enumerate(result.runs[0].scores) if score >= threshold)
    moved = {above: math.nextafter(threshold, 0), higher: result.runs[0].scores[higher] + 0.3}
    found = compare(evaluation(result), evaluation(rescored(result, lambda index, score: moved.get(index, score))))
    assert [one.path for one in found.flips] == [result.pictures[above].path]
    assert found.scores[0].flipped  # before larger changes
    assert found.scores[0].verdicts == "anomalous -> normal"
    assert {one.path for one in found.scores} == {result.pictures[index].path for index in moved}


def test_a_flip_is_listed_however_small_the_change() -> None:
    result = a_class("cap", seeds=1, shots=(0,))
    threshold = result.runs[0].operation.threshold  # type: ignore[union-attr]
    at = rescored(result, lambda index, score: threshold if index == 0 else score)
    below = rescored(result, lambda index, score: math.nextafter(threshold, 0) if index == 0 else score)
    found = compare(evaluation(at), evaluation(below), least=0.5)
    assert len(found.flips) == len(found.scores) == 1


def test_metrics_are_compared_over_the_seeds_of_both() -> None:
    result = remeasured(remeasured(a_class("cap", shots=(4,)), 0, pro=0.5), 1, pro=0.1)
    new = remeasured(result, 0, pro=0.6)
    one_seed = new.model_copy(update={"runs": new.runs[:1]})
    found = compare(evaluation(result), evaluation(one_seed))
    assert [(one.metric, one.old, one.new) for one in found.metrics] == [("pro", 0.5, 0.6)]
    assert found.metrics[0].change == pytest.approx(0.1)
    assert found.settings_only_old == (Setting(class_name="cap", variant="alfa", shots=4, seed=1),)


def test_a_metric_that_is_gone_is_listed_and_one_that_hardly_moved_is_not() -> None:
    result = remeasured(a_class("cap", shots=(0,)), 0, pro=0.5, aupr=0.9)
    found = compare(evaluation(result), evaluation(remeasured(result, 0, pro=None, aupr=0.9009)))
    assert [(one.metric, one.new, one.change) for one in found.metrics] == [("pro", None, None)]
    assert "pro" in render_comparison(found)


def test_a_change_of_exactly_the_least_is_listed() -> None:
    result = remeasured(a_class("cap", shots=(0,)), 0, pro=0.5)
    assert len(compare(evaluation(result), evaluation(remeasured(result, 0, pro=0.501))).metrics) == 1


def test_pictures_and_classes_that_only_one_has() -> None:
    old = evaluation(a_class("cap", defects=("crack", "dent")), a_class("nut"))
    new = evaluation(a_class("cap", defects=("crack", "stain")), a_class("lid"))
    found = compare(old, new)
    assert {one.path.split("/")[2] for one in found.pictures_only_old if one.class_name == "cap"} == {"dent"}
    assert {one.path.split("/")[2] for one in found.pictures_only_new if one.class_name == "cap"} == {"stain"}
    assert {one.class_name for one in found.settings_only_old} == {"nut"}
    assert {one.class_name for one in found.settings_only_new} == {"lid"}
    assert {one.class_name for one in found.scores} <= {"cap"}
    assert "the pictures differ, so metrics are not of the same parts" in found.conditions
    assert not found.same


def test_other_conditions_are_named() -> None:
    result = a_class("cap")
    packed = result.model_copy(update={"pack_version": "2.0.0", "pack_sha256": "9" * 64})
    drawn = packed.runs[1].model_copy(update={"shot_paths": ("train/good/9.png",) * 4})
    new = evaluation(packed.model_copy(update={"runs": (packed.runs[0], drawn, packed.runs[2])}), model="ViT-L-14")
    found = compare(evaluation(result), new)
    assert found.conditions == (
        "model: ViT-B-16-plus-240 before, ViT-L-14 now",
        "pack of cap: cap 1.2.0 (0123456789ab) before, cap 2.0.0 (999999999999) now",
        "1 of 3 runs drew other shots",
    )


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (evaluation(a_class("cap")), evaluation(a_class("nut")), "classes cap before, nut now"),
        (evaluation(), evaluation(a_class("nut")), "classes - before, nut now"),
        (
            evaluation(a_class("cap", shots=(0,))),
            evaluation(a_class("cap", shots=(4,))),
            "no class was run with the same variant, shots and seed",
        ),
        (
            evaluation(a_class("cap", good=0, defects=("dent",))),
            evaluation(a_class("cap", good=0, defects=("stain",))),
            "share runs but no picture",
        ),
    ],
    ids=["other classes", "no class", "other settings", "other pictures"],
)
def test_nothing_to_compare(old: Evaluation, new: Evaluation, reason: str) -> None:
    with pytest.raises(IncomparableError, match=reason):
        compare(old, new)


@pytest.mark.parametrize("least", [-0.1, math.nan])
def test_least_is_not_negative(least: float) -> None:
    of = evaluation(a_class("cap"))
    with pytest.raises(ValueError, match="a smallest change"):
        compare(of, of, least)


def test_text_is_safe_for_a_terminal() -> None:
    result = a_class("cap", shots=(0,), defects=("[red]\x1b[31m\n\u202edent",))
    moved = rescored(result, lambda index, score: score + 0.01 * (index > 30))
    text = render_comparison(compare(evaluation(result), evaluation(moved)), most=3)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]\\x1b[31m\\n" in "".join(text.split("│")).replace("\n", "").replace(" ", "")
    assert "more changed scores" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_file_is_read_back_as_it_was(tmp_path: Path) -> None:
    of = evaluation(a_class("cap"), a_class("allgood", defects=()))
    of.write(tmp_path / "evaluation.json")
    assert load(tmp_path / "evaluation.json") == of


def shorten(content: dict[str, Any]) -> None:
    del content["classes"][0]["runs"][0]["scores"][0]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: content.update(schema_=2), "is of schema 2; this version reads schema 1"),
        (lambda content: content.pop("schema_"), "is no evaluation of alfa-edge"),
        (lambda content: content.pop("model"), "model: Field required"),
        (shorten, "cap, alfa at 0 shots: 55 scores and 56 hits for 56 pictures"),
    ],
    ids=["another schema", "no schema", "not whole", "a score is missing"],
)
def test_files_that_hold_something_else(tmp_path: Path, spoil: Callable[[dict[str, Any]], object], reason: str) -> None:
    content = json.loads(evaluation(a_class("cap")).model_dump_json())
    spoil(content)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(EvaluationFileError, match=reason) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\xff\xfe", b"{", b"[" * 100_000], ids=range(5))
def test_files_that_are_not_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(EvaluationFileError, match="is not JSON"):
        load(tmp_path / "file")


def test_json_of_another_kind_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("[1]", "utf-8")
    with pytest.raises(EvaluationFileError, match="is no evaluation"):
        load(tmp_path / "file")
    with pytest.raises(EvaluationFileError, match="No such file"):
        load(tmp_path / "absent")
    with pytest.raises(EvaluationFileError, match="is a folder, not a regular file"):
        load(tmp_path)
