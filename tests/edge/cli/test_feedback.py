"""What people said is listed, shown with its picture, written as a labelled set, and measured on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.image import encode_png, read
from core.simline import render
from edge.cli import feedback
from edge.cli.app import app
from edge.settings import HistorySettings
from edge.settings_recipe import RecipeSettings
from edge.storage.outbox import Outbox
from edge.storage.settings_database import SettingsDatabase
from tests.support.at_rest import written_settings
from tests.support.verdicts import verdict

KINDS = {3: "false_alarm", 4: "confirmed", 5: "missed", 6: "confirmed_normal", 7: "missed"}
NOTE, PET = "=1+1", ".PET 0.5 l"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something was said of five parts; of the last no picture was kept, and the first is no longer in the history."""
    folder = tmp_path_factory.mktemp("cli")
    box = Outbox(folder / "state", HistorySettings())
    box.start()
    box.pass_over("one", 3)
    for seq in (4, 5, 6, 7):
        box.issue(verdict("one", seq, f"part {seq}")).result()
    box.stop()
    state = SettingsDatabase(folder / "state")
    state.start()
    for number, name in ((1, "tile"), (2, PET)):  # what names no recipe was judged by the first
        state.run(
            lambda tables, number=number, name=name: tables.recipes.add(
                "one", number, name, RecipeSettings(), who="eva"
            )
        )
    for seq, kind in KINDS.items():
        png = encode_png(picture(seq)) if seq != 7 else None
        state.run(
            lambda tables, seq=seq, kind=kind, png=png: tables.feed_back(
                "one", seq, kind, who="eva", note=NOTE, shot=None, picture=png, recipe=2 if seq == 3 else None
            )
        )
    state.stop()
    written_settings(folder)
    return folder


def picture(seq: int) -> Any:
    return render("bottle", 1, seq, float(KINDS[seq] in ("confirmed", "missed"))).image


def typed(folder: Path, *words: str, code: int = 0, columns: int = 200) -> str:
    command, *rest = words
    first = [command] if command == "evaluate" else ["feedback", command]
    arguments = [*first, "-c", str(folder / "edge.toml"), "--line", "one", *rest]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output
    return result.output


def test_a_list_has_the_newest_first(folder: Path) -> None:
    found = json.loads(typed(folder, "list", "--json"))
    assert [entry["seq"] for entry in found] == [7, 6, 5, 4, 3]
    assert [entry["defective"] for entry in found] == [True, False, True, True, False]
    assert [entry["seq"] for entry in json.loads(typed(folder, "list", "--json", "--count", "2"))] == [7, 6]
    table = typed(folder, "list", columns=80)
    assert "confirmed_normal" in table
    assert max(map(len, table.splitlines())) <= 80


def test_one_is_shown_with_its_verdict_and_its_picture(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "part.png"
    shown = json.loads(typed(folder, "show", "5", "--out", str(target)))
    assert (shown["kind"], shown["verdict"]["part_id"]) == ("missed", "part 5")
    assert np.array_equal(read(target), picture(5))
    assert json.loads(typed(folder, "show", "3"))["verdict"] is None
    assert "no picture of verdict 7 was kept" in typed(folder, "show", "7", "--out", str(target), code=2)
    assert "nobody has said anything of verdict 8" in typed(folder, "show", "8", code=2)


def test_a_labelled_set_is_written_once(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "set"
    said = typed(folder, "export", str(target))
    assert f"{target}/tile: 1 good and 2 defective parts of line one" in said
    assert f"{target}/_PET 0.5 l: 1 good and 0 defective parts of line one" in said
    assert "no picture was kept of 1 part" in said
    files = {3: "_PET 0.5 l/good/00000003", 4: "tile/bad/00000004", 5: "tile/bad/00000005", 6: "tile/good/00000006"}
    for seq, name in files.items():
        assert np.array_equal(read(target / f"{name}.png"), picture(seq))
    with (target / "feedback.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["seq"]: row for row in csv.DictReader(file)}
    assert {int(seq): row["file"] for seq, row in rows.items()} == {
        seq: f"{name}.png" for seq, name in files.items()
    } | {7: ""}
    assert {int(seq): row["kind"] for seq, row in rows.items()} == KINDS
    assert (rows["3"]["recipe"], rows["4"]["recipe"]) == (PET, "tile")
    assert rows["3"]["note"] == f"'{NOTE}"
    assert "is not empty; name a new folder" in typed(folder, "export", str(target), code=2)


def test_the_method_is_measured_on_it(folder: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    said = typed(folder, "evaluate", "--from-feedback", "--json", str(result), "--cache", str(tmp_path / "cache"))
    assert "line one, tile: 1 good and 2 defective parts" in said
    assert "no picture was kept of 1 other part" in said
    classes = {measured["name"]: measured for measured in json.loads(result.read_text())["classes"]}
    assert {name: measured["pack"] for name, measured in classes.items()} == {"tile": "tile", "_PET 0.5 l": "generic"}
    assert sorted(part["anomalous"] for part in classes["tile"]["pictures"]) == [False, True, True]


@pytest.mark.parametrize(
    "words",
    [("evaluate", "parts", "--from-feedback"), ("evaluate", "parts"), ("evaluate",)],
)
def test_a_folder_or_the_feedback_is_measured_on(folder: Path, words: tuple[str, ...]) -> None:
    assert "name DIR; or --from-feedback with --config and --line" in " ".join(typed(folder, *words, code=2).split())


def test_lines_and_stretches_that_are_not_there_are_named(folder: Path) -> None:
    runner, config = CliRunner(), str(folder / "edge.toml")
    for command in (["list"], ["show", "3"], ["rates"]):
        result = runner.invoke(app, ["feedback", *command, "-c", config, "--line", "oen"], env={"COLUMNS": "200"})
        assert (result.exit_code, "no line 'oen'; there are one, two" in result.output) == (2, True)
    assert "judged no part then" in typed(folder, "rates", "--until", "2020-01-01")
    assert "shift '6' is no time of day" in typed(folder, "rates", "--shift", "6", code=2)
    two = runner.invoke(app, ["feedback", "list", "-c", config, "--line", "two"])
    assert "nobody has said anything of verdicts of line two" in two.output


def test_a_threshold_that_was_proposed_for_a_recipe_is_set_on_that_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = {"count": 0, "of": 1, "low": 0.0, "high": 1.0}
    at = {"threshold": 0.25, "alarms": share, "escapes": None}
    found = {"now": at, "proposed": at, "calibration": {"rate": 0.05, "note": ""}, "parts": 1, "most": None}
    found |= {"scored_again": 0, "without_picture": 0, "defective": 0, "agrees": None}
    monkeypatch.setattr(feedback, "ask_service", lambda *_arguments, **_named: found)
    common = ["feedback", "threshold", "--line", "one", "-c", str(folder / "edge.toml")]
    told = CliRunner().invoke(app, [*common, "--recipe", PET])
    assert f"alfa-edge threshold 0.25 --line one --recipe '{PET}'" in told.output
    told = CliRunner().invoke(app, common)
    assert told.output.endswith("alfa-edge threshold 0.25 --line one\n")
