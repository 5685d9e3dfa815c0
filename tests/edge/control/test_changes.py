"""The audit has what each command changed, before and after."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

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
    with at_rest(tmp_path, threshold_source="by hand") as dispatcher:
        LineOnFilm(dispatcher, lambda number: render("bottle", 1, number, 0.0).image)
        assert asked(dispatcher, "threshold", line="one", threshold=0.75).refusal is None
        entry = last(dispatcher)
        assert entry["before"] == {"threshold": 0.5, "pixel_threshold": 0.5, "threshold_source": "by hand"}
        assert entry["after"] == {"threshold": 0.75, "pixel_threshold": 0.75, "threshold_source": "set by eva"}

        assert asked(dispatcher, "threshold", line="one", threshold=0.75).refusal is None
        assert (last(dispatcher)["before"], last(dispatcher)["after"]) == ({}, {})

        assert asked(dispatcher, "pause", line="one").refusal is None
        assert (last(dispatcher)["before"], last(dispatcher)["after"]) == ({"paused": None}, {"paused": "eva"})

        assert asked(dispatcher, "enroll", picture(1), line="one", sure=True).refusal is None
        changed = last(dispatcher)
        assert (changed["before"]["shots"], changed["after"]["shots"]) == (0, 1)
        assert asked(dispatcher, "shots_remove", shot=1).refusal is None
        changed = last(dispatcher)
        assert (changed["before"]["active"], changed["after"]["active"]) == (True, False)
        assert (changed["before"]["shots"], changed["after"]["shots"]) == (1, 0)

        dispatcher.forget = lambda _line: None
        dispatcher.database.run(lambda tables: tables.set_paused("old", "ann"))
        assert asked(dispatcher, "line_forget", line="old").refusal is None
        assert (last(dispatcher)["before"], last(dispatcher)["after"]) == ({"paused": "ann"}, {"paused": None})


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
        assert asked(dispatcher, "enroll", picture(1), picture(1), line="one", sure=True).refusal is not None
        entry = last(dispatcher)
    assert re.match("refused: .* is shot 1", entry["outcome"])
    assert (entry["before"]["shots"], entry["after"]["shots"]) == (0, 1)


def test_the_command_shows_it(tmp_path: Path) -> None:
    with at_rest(tmp_path) as dispatcher:
        assert asked(dispatcher, "threshold", line="one", threshold=0.75).refusal is None
    shown = CliRunner().invoke(app, ["audit", "-c", str(written_settings(tmp_path))], env={"COLUMNS": "300"})
    assert "threshold 0.5000 -> 0.7500" in shown.output
