"""Commands about recipes, on a line at rest: each product has its own settings, shots and calibration."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.bank.memory_bank import BankError
from core.bank.shot_checks import FLAGS
from core.image import encode_png
from core.simline import render
from edge.control import enrolment
from edge.control.dispatcher import Dispatcher
from edge.control.enrolment import Enrolment
from edge.control.turns import Turns
from tests.support.at_rest import LineOnFilm, asked, at_rest

ROI = {"x": 8, "y": 8, "width": 120, "height": 100}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Dispatcher]:
    with at_rest(tmp_path, mode="trigger") as dispatcher:
        yield dispatcher


def done(dispatcher: Dispatcher, command: str, *blobs: bytes, **arguments: Any) -> dict[str, Any]:
    reply = asked(dispatcher, command, *blobs, **{"line": "one"} | arguments)
    assert reply.refusal is None, reply.refusal
    assert reply.result is not None
    return reply.result


def refused(dispatcher: Dispatcher, command: str, **arguments: Any) -> str:
    reply = asked(dispatcher, command, **{"line": "one"} | arguments)
    assert reply.refusal is not None
    return reply.refusal.message


def picture(product: str, number: int) -> bytes:
    return encode_png(render(product, 1, 5000 + number, 0.0).image)


def judged_by(dispatcher: Dispatcher) -> dict[str, Any]:
    """What a part would be judged by now."""
    recipe = dispatcher.line("one").recipe
    return {
        "name": recipe.wire.name,
        "pack": recipe.wire.pack,
        "threshold": recipe.threshold,
        "source": recipe.wire.threshold_source,
        "rate": recipe.wire.false_alarm_rate,
        "shots": recipe.bank.shots,
        "roi": recipe.settings.roi,
        "watched": recipe.drift is not None,
    }


def test_each_recipe_comes_back_as_it_was(line: Dispatcher, tmp_path: Path) -> None:
    done(line, "enroll", *(picture("bottle", number) for number in range(4)), yes=FLAGS)
    done(line, "calibrate", rate=0.2, accept=0.5)
    done(line, "recipe_new", name="B", number=700, settings={"pack": "tile", "roi": ROI})
    done(line, "enroll", *(picture("tile", number) for number in range(2)), recipe="B", yes=FLAGS)
    first = judged_by(line)
    assert (first["shots"], first["rate"]) == (4, 0.2)
    done(line, "calibrate", recipe="700", rate=0.5, accept=0.5)
    assert judged_by(line) == first, "what is done to another recipe changes nothing of this one"
    done(line, "recipe_set", recipe="B")
    second = judged_by(line)
    assert (second["name"], second["pack"], second["shots"]) == ("B", "tile", 2)
    assert second["roi"].model_dump() == ROI
    assert second["source"].startswith("50 % false alarms, from 2 shots")
    for _ in range(2):
        assert done(line, "recipe_set", recipe="1")["recipe"]["name"] == "default"
        assert judged_by(line) == first
        done(line, "recipe_set", recipe="700")
        assert judged_by(line) == second
    listed = done(line, "shots_list", recipe="B")["shots"]
    assert [(shot["line"], shot["recipe"]) for shot in listed] == [("one", 700)] * 2
    assert asked(line, "shots_remove", shot=1).refusal is None  # of the one that is not active
    assert judged_by(line) == second
    done(line, "recipe_set", recipe="default")
    assert judged_by(line)["shots"] == 3


def test_what_was_set_is_there_after_a_restart(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        done(dispatcher, "recipe_new", name="B", settings={"pack": "tile", "threshold": 0.7, "health.blur": 12})
        done(dispatcher, "recipe_set", recipe="B")
        before = judged_by(dispatcher)
    with at_rest(tmp_path) as dispatcher:
        assert judged_by(dispatcher) == before
        assert dispatcher.line("one").recipe.settings.health.blur == 12
        done(dispatcher, "recipe_reset")
        assert judged_by(dispatcher)["name"] == "default"
    with at_rest(tmp_path) as dispatcher:
        assert judged_by(dispatcher)["name"] == "default"


def test_an_edit_is_a_revision_and_takes_effect_at_once(line: Dispatcher) -> None:
    changed = done(line, "recipe_edit", settings={"threshold": 0.8, "shots.augment": "flips"}, reason="trial")
    assert changed["differences"]["threshold"] == [0.5, 0.8]
    recipe = line.line("one").recipe
    assert (recipe.threshold, recipe.wire.revision, recipe.settings.shots.augment) == (0.8, 2, "flips")
    shown = done(line, "recipe_show")
    assert [(entry["revision"], entry["who"], entry["reason"]) for entry in shown["revisions"]] == [
        (1, "configuration", ""),
        (2, "eva", "trial"),
    ]
    assert done(line, "recipe_show", revision=1)["settings"]["threshold"] == 0.5
    assert done(line, "recipe_diff")["differences"].keys() == {"threshold", "shots"}
    done(line, "recipe_new", name="B", settings={"pack": "tile"})
    assert done(line, "recipe_diff", recipe="B", other="1")["differences"]["pack"] == ["tile", "bottle"]


def test_a_copy_has_shots_and_calibration_of_its_own(line: Dispatcher) -> None:
    done(line, "enroll", *(picture("bottle", number) for number in range(3)), yes=FLAGS)
    done(line, "calibrate", rate=0.25, accept=0.5)
    first = judged_by(line)
    done(line, "recipe_copy", recipe="default", name="B", settings={"note": "a trial"})
    done(line, "recipe_set", recipe="B")
    assert judged_by(line) == first | {"name": "B"}
    assert asked(line, "shots_remove", shot=4).refusal is None
    assert (judged_by(line)["shots"], judged_by(line)["watched"]) == (2, False)
    done(line, "recipe_set", recipe="default")
    assert judged_by(line) == first


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("recipe_set", {"recipe": "C"}, r"no recipe 'C'; there are default \(1\), B \(2\)"),
        ("recipe_set", {}, "name a recipe, or a pack"),
        ("recipe_set", {"recipe": "B", "pack": "tile"}, "name a recipe, or a pack"),
        ("recipe_new", {"name": "B"}, "a recipe 'B' already"),
        ("recipe_new", {"name": "C", "number": 2}, "number 2 of line one is that of 'B'"),
        ("recipe_new", {"name": "C", "settings": {"pack": "no-such-pack"}}, "no-such-pack"),
        ("recipe_new", {"name": "12"}, "digits alone are a number"),
        ("recipe_new", {"name": "a/b"}, "no name of a recipe"),
        ("recipe_new", {"name": "C", "settings": {"thresholds": 1}}, "thresholds: is no setting; did you mean"),
        ("recipe_edit", {"settings": {"threshold": 2}}, "threshold: input should be less than or equal to 1"),
        ("recipe_edit", {"settings": {"pack.name": "x"}}, "pack is no table"),
        ("recipe_edit", {"settings": {"threshold": 0.5}}, "like that already"),
        ("recipe_retire", {"recipe": "default"}, "line one judges by recipe default; set another one first"),
        ("recipe_retire", {"recipe": "B", "back": True}, "recipe B of line one is in use"),
        ("recipe_rename", {"recipe": "B", "name": "default"}, "a recipe 'default' already"),
        ("enroll", {"recipe": "B", "shots": 1}, "judges its next parts by recipe default, not by B"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    line: Dispatcher, command: str, arguments: dict[str, Any], message: str
) -> None:
    done(line, "recipe_new", name="B")
    before = judged_by(line)
    assert re.search(message, refused(line, command, **arguments))
    assert judged_by(line) == before
    assert [slot.stored.name for slot in line.line("one").recipes.slots] == ["default", "B"]


def test_a_retired_recipe_is_kept_and_comes_back(line: Dispatcher) -> None:
    done(line, "recipe_new", name="B")
    done(line, "recipe_retire", recipe="2")
    assert "retired" in refused(line, "recipe_set", recipe="B")
    assert "retired" in refused(line, "threshold", recipe="B", threshold=0.7)
    assert done(line, "recipe_show", recipe="B")["recipe"]["retired"]
    done(line, "recipe_retire", recipe="B", back=True)
    done(line, "recipe_rename", recipe="B", name="C")
    assert done(line, "recipe_set", recipe="C")["recipe"]["name"] == "C"


def test_a_recipe_whose_pack_is_gone_can_be_mended(line: Dispatcher, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text((Path(__file__).parents[3] / "prompt_packs" / "tile.toml").read_text("utf-8"), "utf-8")
    done(line, "recipe_new", name="B", settings={"pack": str(own)})
    own.unlink()
    message = refused(line, "recipe_set", recipe="B")
    assert "recipe B of line one judges by the pack" in message
    assert "alfa-edge recipe edit" in message
    assert judged_by(line)["name"] == "default"
    done(line, "recipe_edit", recipe="B", settings={"pack": "tile"})
    assert done(line, "recipe_set", recipe="B")["recipe"]["pack"] == "tile"


def test_parts_of_other_recipes_do_not_become_shots_of_this_one(line: Dispatcher) -> None:
    """The line changes over while somebody waits for parts of the recipe of before."""
    line_on_film = LineOnFilm(line, lambda number: render("bottle", 1, number, 0.0).image)
    done(line, "recipe_new", name="B")
    slot = line.ready("one", "B")

    def shown(number: int) -> Any:
        part = LineOnFilm._part(line_on_film, number)
        by = slot.ready if number % 2 else line.ready("one", "default").ready
        return replace(part, recipe=by)

    line_on_film._part = shown  # type: ignore[method-assign]
    done(line, "enroll", shots=3)
    done(line, "shots_take", yes=FLAGS)
    sources = done(line, "shots_list")["shots"]
    assert len(sources) == 3
    assert done(line, "shots_list", recipe="B")["shots"] == []


def test_a_recipe_goes_to_another_box_as_a_folder(line: Dispatcher, tmp_path: Path) -> None:
    done(line, "enroll", *(picture("bottle", number) for number in range(3)), yes=FLAGS)
    done(line, "calibrate", rate=0.25, accept=0.5)
    done(line, "recipe_edit", settings={"roi": ROI, "note": 'a "quoted" note', "shots.limit": 500})
    done(line, "calibrate", rate=0.25, accept=0.5)
    first, folder = judged_by(line), tmp_path / "default"
    assert len(done(line, "recipe_export", recipe="default", folder=str(folder))["shots"]) == 3
    assert "not empty" in refused(line, "recipe_export", folder=str(folder))
    assert "has a recipe 'default'" in refused(line, "recipe_import", folder=str(folder))
    done(line, "recipe_import", folder=str(folder), name="B")
    done(line, "recipe_set", recipe="B")
    assert judged_by(line) == first | {"name": "B"}
    with at_rest(tmp_path / "other box") as other:
        done(other, "enroll", picture("bottle", 9), yes=FLAGS)
        changed = done(other, "recipe_import", folder=str(folder), replace=True)
        assert changed["differences"].keys() == {"roi", "note", "shots"}
        assert judged_by(other) == first
        done(other, "recipe_reset")
        assert judged_by(other)["roi"] is None


def test_parts_are_judged_by_all_of_a_folder_or_by_nothing_of_it(
    line: Dispatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(line, "enroll", *(picture("bottle", number) for number in range(2)), yes=FLAGS)
    done(line, "calibrate", rate=0.5, accept=0.5)
    first, folder, during = judged_by(line), str(tmp_path / "default"), list[dict[str, Any]]()
    done(line, "recipe_export", folder=folder)
    done(line, "enroll", picture("bottle", 9), yes=FLAGS)
    done(line, "recipe_edit", settings={"roi": ROI})
    before = judged_by(line)
    take = Enrolment.take_calibration

    def watched(*arguments: Any) -> None:
        during.append(judged_by(line))
        take(*arguments)
        during.append(judged_by(line))

    with monkeypatch.context() as patch:
        patch.setattr(Enrolment, "take_calibration", watched)
        done(line, "recipe_import", folder=folder, replace=True)
    assert during == [before, before]
    assert judged_by(line) == first
    assert "leave --number out" in refused(line, "recipe_import", folder=folder, replace=True, number=7)


def test_after_an_import_that_failed_the_line_judges_by_what_is_kept(
    line: Dispatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "default")
    done(line, "recipe_export", folder=folder)
    done(line, "enroll", picture("bottle", 9), yes=FLAGS)
    done(line, "recipe_edit", settings={"roi": ROI})

    def fails(*_arguments: Any) -> None:
        raise BankError("the disk is gone")

    monkeypatch.setattr(enrolment, "import_shots", lambda *_arguments, **_named: fails())
    assert "the disk is gone" in refused(line, "recipe_import", folder=folder, replace=True)
    assert (judged_by(line)["roi"], judged_by(line)["shots"]) == (None, 0)
    assert done(line, "recipe_show")["shots"] == 0


def test_what_a_calibration_of_a_folder_says_of_itself_can_be_read(line: Dispatcher, tmp_path: Path) -> None:
    done(line, "threshold", threshold=0.7)
    done(line, "recipe_export", folder=str(tmp_path / "folder"))
    path = tmp_path / "folder" / "recipe.toml"
    path.write_text(path.read_text("utf-8").replace("set by eva", "set \\u001b[2J"), "utf-8")
    message = refused(line, "recipe_import", folder=str(tmp_path / "folder"), name="B")
    assert re.search(r"recipe\.toml: calibration\.source: holds .*; mend the file", message)


def test_a_ready_recipe_is_set_while_another_command_changes_it(
    line: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(line, "recipe_new", name="B")
    slot = line.ready("one", "B")
    monkeypatch.setattr(line.enrolment, "_turns", Turns(0.2))
    begun, over = threading.Event(), threading.Event()

    def change() -> None:
        with line.enrolment.changing(slot):
            begun.set()
            over.wait(30)

    changes = threading.Thread(target=change)
    changes.start()
    try:
        assert begun.wait(30)
        assert done(line, "recipe_set", recipe="B")["recipe"]["name"] == "B"
    finally:
        over.set()
        changes.join()


def test_the_audit_compares_a_recipe_with_itself_where_the_line_changes_over_meanwhile(
    line: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(line, "recipe_new", name="B")
    enrol = Enrolment.enrol

    def slow(*arguments: Any, **named: Any) -> Any:
        done(line, "recipe_set", recipe="B")
        return enrol(*arguments, **named)

    monkeypatch.setattr(Enrolment, "enrol", slow)
    done(line, "enroll", picture("bottle", 0), yes=FLAGS)
    audit = asked(line, "audit").result
    assert audit is not None
    [entry] = [entry for entry in audit["entries"] if entry["command"] == "enroll"]
    assert (entry["before"], entry["after"]) == ({"shots": 0, "bank_revision": 0}, {"shots": 1, "bank_revision": 1})
    assert json.loads(entry["arguments"])["recipe"] == "1"


def test_another_share_of_expected_defects_is_watched_from_then_on(line: Dispatcher) -> None:
    done(line, "enroll", *(picture("bottle", number) for number in range(3)), yes=FLAGS)
    done(line, "calibrate", rate=0.25, accept=0.5)
    drift = line.line("one").recipe.drift
    assert drift is not None
    done(line, "recipe_edit", settings={"note": "a trial"})
    assert line.line("one").recipe.drift is drift
    done(line, "recipe_edit", settings={"expected_defects": 0.3})
    assert line.line("one").recipe.drift not in (None, drift)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("recipe.toml", "name = 1\n", r"recipe\.toml: format: Field required; mend the file"),
        ("recipe.toml", "name =\n", r"recipe\.toml: not valid TOML"),
        ("recipe.toml", None, r"recipe\.toml: No such file .*recipe export"),
        ("calibration.json", '{"scores": [0.1]}', "1 scores, not 3; export the recipe again"),
        ("calibration.json", "[]", r"calibration\.json: "),
        ("shots/shot-000001.png", "no picture", r"is not the picture that was exported"),
        ("shots/shots.json", "{}", "is no manifest of shots"),
    ],
)
def test_a_folder_that_was_altered_is_refused_before_anything_is_written(
    line: Dispatcher, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    done(line, "enroll", *(picture("bottle", number) for number in range(3)), yes=FLAGS)
    done(line, "calibrate", rate=0.25, accept=0.5)
    done(line, "recipe_export", folder=str(tmp_path / "folder"))
    before = judged_by(line)
    path = tmp_path / "folder" / file
    path.unlink() if text is None else path.write_text(text)
    assert re.search(message, refused(line, "recipe_import", folder=str(tmp_path / "folder"), name="B"))
    assert [slot.stored.name for slot in line.line("one").recipes.slots] == ["default"]
    assert judged_by(line) == before
