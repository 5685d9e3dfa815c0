"""The audit has what each command changed, before and after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.bank.shot_checks import FLAGS
from core.image import encode_png
from core.simline import render
from edge.cli.app import app
from edge.control.changes import differing
from edge.control.commands import COMMANDS
from edge.control.dispatcher import Dispatcher
from tests.support.at_rest import LineOnFilm, asked, at_rest, written_settings

NOT_THE_STATE = {"backup"}
"""What they change is not what a line judges by."""


def last(dispatcher: Dispatcher) -> dict[str, Any]:
    [entry] = dispatcher.database.run(lambda tables: tables.audit(1))
    return entry


def picture(number: int) -> bytes:
    return encode_png(render("bottle", 1, 5000 + number, 0.0).image)


def test_only_what_differs_is_kept() -> None:
    assert differing({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "d": 4}) == (
        {"b": 2, "c": 3, "d": None},
        {"b": 5, "c": None, "d": 4},
    )


def test_every_command_that_changes_something_says_what() -> None:
    silent = {name for name, command in COMMANDS.items() if command.changes and command.state is None}
    assert silent == NOT_THE_STATE
    assert not [name for name, command in COMMANDS.items() if command.state is not None and not command.changes]


def test_the_audit_has_before_and_after(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        LineOnFilm(dispatcher, lambda number: render("bottle", 1, number, 0.0).image)

        def changed(command: str, *blobs: bytes, **arguments: Any) -> tuple[Any, Any]:
            assert asked(dispatcher, command, *blobs, **arguments).refusal is None
            entry = last(dispatcher)
            return entry["before"], entry["after"]

        names = ("calibrated_threshold", "calibrated_pixel_threshold", "calibrated_from")
        assert changed("threshold", line="one", threshold=0.75) == (
            dict.fromkeys(names),
            dict(zip(names, (0.75, 0.75, "set by eva"), strict=True)),
        )
        assert changed("threshold", line="one", threshold=0.75) == ({}, {})
        assert changed("pause", line="one") == ({"paused": None}, {"paused": "eva"})
        enrolled = {"shots": 0, "bank_revision": 0}, {"shots": 1, "bank_revision": 1}
        assert changed("enroll", picture(1), line="one", yes=FLAGS) == enrolled
        before, after = changed("shots_remove", shot=1)
        assert (before, after) == (
            {"active": True, "shots": 1, "bank_revision": 1},
            {"active": False, "shots": 0, "bank_revision": 2},
        )
        dispatcher.forget = lambda _line: None
        dispatcher.database.run(lambda tables: tables.set_paused("old", "ann"))
        assert changed("line_forget", line="old") == ({"paused": "ann"}, {"paused": None})


def test_so_it_has_of_recipes(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:

        def changed(command: str, **arguments: Any) -> tuple[Any, Any]:
            assert asked(dispatcher, command, line="one", **arguments).refusal is None
            entry = last(dispatcher)
            return entry["before"], entry["after"]

        before, after = changed("recipe_new", name="cap", settings={"pack": "bottle_cap", "threshold": 0.4})
        assert set(before.values()) == {None}
        assert (after["recipe"], after["revision"], after["pack"], after["threshold"]) == ("cap", 1, "bottle_cap", 0.4)
        edited = changed("recipe_edit", recipe="cap", settings={"threshold": 0.6})
        assert edited == ({"threshold": 0.4, "revision": 1}, {"threshold": 0.6, "revision": 2})
        assert changed("recipe_rename", recipe="cap", name="lid") == ({"recipe": "cap"}, {"recipe": "lid"})
        assert changed("recipe_set", recipe="lid") == ({"active_recipe": "default"}, {"active_recipe": "lid"})
        before, after = changed("recipe_reset")
        assert (before, after) == ({"active_recipe": "lid"}, {"active_recipe": "default"})
        assert changed("recipe_retire", recipe="lid") == ({"retired": False}, {"retired": True})


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("threshold", {"line": "none", "threshold": 0.5}), ("shots_remove", {"shot": 9})],
)
def test_what_is_refused_has_changed_nothing(tmp_path: Path, command: str, arguments: dict[str, Any]) -> None:
    with at_rest(tmp_path) as dispatcher:
        assert asked(dispatcher, command, **arguments).refusal is not None
        entry = last(dispatcher)
    assert entry["outcome"].startswith("refused: ")
    assert (entry["before"], entry["after"]) == (None, None)


def test_a_command_that_fails_has_what_it_had_changed_by_then(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        assert asked(dispatcher, "enroll", picture(1), picture(1), line="one", yes=FLAGS).refusal is not None
        entry = last(dispatcher)
    assert re.match("refused: .* is shot 1", entry["outcome"])
    assert (entry["before"]["shots"], entry["after"]["shots"]) == (0, 1)


def test_the_command_shows_it(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        assert asked(dispatcher, "threshold", line="one", threshold=0.75).refusal is None
    shown = CliRunner().invoke(app, ["audit", "-c", str(written_settings(tmp_path))], env={"COLUMNS": "300"})
    assert "calibrated_threshold none -> 0.7500" in shown.output
