"""Shadows of a line at rest: which recipe may be one, what of it outlives the process, and what promotion changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.database.database import DatabaseError
from edge.control.dispatcher import Dispatcher
from edge.inspection.line_recipes import LineRecipes
from edge.storage.settings_database import SettingsDatabase
from tests.support.at_rest import asked, at_rest

ROI = {"x": 8, "y": 8, "width": 120, "height": 100}


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Dispatcher]:
    with at_rest(tmp_path, mode="trigger") as dispatcher:
        done(dispatcher, "recipe_copy", name="B", number=7, settings={"threshold": 0.6})
        yield dispatcher


def done(dispatcher: Dispatcher, command: str, **arguments: Any) -> dict[str, Any]:
    reply = asked(dispatcher, command, **{"line": "one"} | arguments)
    assert reply.refusal is None, reply.refusal
    assert reply.result is not None
    return reply.result


def refused(dispatcher: Dispatcher, command: str, **arguments: Any) -> str:
    reply = asked(dispatcher, command, **{"line": "one"} | arguments)
    assert reply.refusal is not None
    return reply.refusal.message


def recipes(dispatcher: Dispatcher) -> LineRecipes:
    return dispatcher.line("one").recipes


def shadow_of(dispatcher: Dispatcher) -> dict[str, Any] | None:
    status: dict[str, Any] | None = done_status(dispatcher)["shadow"]
    return status


def done_status(dispatcher: Dispatcher) -> dict[str, Any]:
    reply = asked(dispatcher, "status")
    assert reply.result is not None
    return dict(reply.result["lines"]["one"])


def test_a_shadow_starts_stops_and_stands_in_the_audit(line: Dispatcher) -> None:
    assert shadow_of(line) is None
    started = done(line, "shadow_start", recipe="7")["shadow"]
    assert (started["state"], started["recipe"]["name"], started["beside"]["name"]) == ("judging", "B", "default")
    assert (started["ended_at"], recipes(line).find("B").loaded is not None) == (None, True)
    shown = shadow_of(line)
    assert shown is not None
    assert shown["counts"] == {"judged": 0, "passed_over": 0, "failed": 0, "unkept": 0}
    ended = done(line, "shadow_stop")["shadow"]
    assert (ended["state"], ended["started_at"]) == ("ended", started["started_at"])
    assert shadow_of(line) is None
    stop, start = line.database.run(lambda tables: tables.audit(2))
    assert (start["command"], start["before"], start["after"]) == ("shadow_start", {"shadow": None}, {"shadow": "B"})
    assert (stop["before"], stop["after"]) == ({"shadow": "B"}, {"shadow": None})


def test_what_cannot_be_a_shadow_is_refused_and_changes_nothing(line: Dispatcher) -> None:
    done(line, "recipe_copy", name="C", settings={"roi": ROI})
    done(line, "recipe_copy", name="D", settings={"health": {"size": [320, 240]}})
    done(line, "recipe_copy", name="E")
    done(line, "recipe_retire", recipe="E")
    assert "line one has no recipe 'X'" in refused(line, "shadow_start", recipe="X")
    assert "recipe E of line one is retired" in refused(line, "shadow_start", recipe="E")
    same = refused(line, "shadow_start", recipe="default")
    assert "line one judges by recipe default already" in same
    assert "`alfa-edge recipe copy default NAME`" in same
    other = refused(line, "shadow_start", recipe="C")
    assert "recipe C inspects (x=8 y=8 width=120 height=100)" in other
    assert "default, by which line one judges, anything" in other
    assert "takes frames of ((320, 240))" in refused(line, "shadow_start", recipe="D")
    assert shadow_of(line) is None
    for command in ("shadow_stop", "shadow_promote"):
        assert "line one has no shadow; `alfa-edge shadow start RECIPE`" in refused(line, command)
    assert "line one never had a shadow" in refused(line, "shadow_report")


def test_a_shadow_outlives_the_process_and_its_recipe_is_in_use(tmp_path: Path) -> None:
    with at_rest(tmp_path, mode="trigger") as line:
        done(line, "recipe_copy", name="B")
        done(line, "shadow_start", recipe="B")
        assert "is the shadow of line one; end it" in refused(line, "recipe_retire", recipe="B")
    with at_rest(tmp_path, mode="trigger") as line:
        shadow = recipes(line).shadow
        assert shadow is not None
        assert (shadow.slot.stored.name, shadow.stored.beside) == ("B", 1)
        done(line, "shadow_stop")
        done(line, "recipe_retire", recipe="B")
    with at_rest(tmp_path, mode="trigger") as line:
        assert recipes(line).shadow is None
        assert done(line, "shadow_report")["shadow"]["state"] == "ended"


def test_a_report_without_parts_is_empty_and_fills_no_folder_that_is_not(line: Dispatcher, tmp_path: Path) -> None:
    done(line, "shadow_start", recipe="B")
    found = done(line, "shadow_report", folder=str(tmp_path / "drawn"))
    assert (found["parts"], found["both"], found["passed_over"], found["changed"], found["overlays"]) == (
        0,
        0,
        0,
        [],
        [],
    )
    assert found["feedback"] == {"parts": 0, "live": None, "shadow": None}
    (tmp_path / "drawn" / "mine.txt").touch()
    assert "is not empty; name a new folder" in refused(line, "shadow_report", folder=str(tmp_path / "drawn"))
    (tmp_path / "file").touch()
    assert "cannot be written" in refused(line, "shadow_report", folder=str(tmp_path / "file"))


def test_another_shadow_ends_the_one_of_before(line: Dispatcher) -> None:
    done(line, "recipe_copy", name="C")
    done(line, "shadow_start", recipe="B")
    done(line, "shadow_start", recipe="C")
    assert done(line, "shadow_report")["shadow"]["recipe"]["name"] == "C"
    rows = line.database.run(lambda tables: list(tables.database.tables.query("SELECT * FROM shadows ORDER BY id")))
    assert [row["ended_at"] is None for row in rows] == [False, True]


def test_a_shadow_rests_while_the_line_judges_by_another_recipe(line: Dispatcher) -> None:
    done(line, "recipe_copy", name="C")
    done(line, "shadow_start", recipe="B")
    done(line, "recipe_set", recipe="C")
    shown = shadow_of(line)
    assert shown is not None
    assert shown["state"] == "resting"
    words = refused(line, "shadow_promote")
    assert "line one judges by recipe C, and its shadow B was compared with recipe default" in words
    done(line, "recipe_set", recipe="default")
    assert (shadow_of(line) or {})["state"] == "judging"


def test_promotion_makes_the_shadow_live_and_can_swap_the_two(line: Dispatcher) -> None:
    done(line, "shadow_start", recipe="B")
    found = done(line, "shadow_promote", swap=True)
    assert (found["recipe"]["name"], found["threshold"]) == ("B", 0.6)
    assert (found["shadow"]["recipe"]["name"], found["shadow"]["beside"]["name"]) == ("default", "B")
    assert recipes(line).active.stored.name == "B"
    (entry,) = line.database.run(lambda tables: tables.audit(1))
    assert (entry["before"], entry["after"]) == (
        {"active_recipe": "default", "shadow": "B"},
        {"active_recipe": "B", "shadow": "default"},
    )
    found = done(line, "shadow_promote")
    assert (found["recipe"]["name"], found["shadow"], shadow_of(line)) == ("default", None, None)
    assert line.database.run(lambda tables: tables.recipes.active("one")) == 1


def test_a_shadow_that_the_disk_does_not_take_is_as_before(line: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    done(line, "recipe_copy", name="C")
    done(line, "shadow_start", recipe="B")

    def full(*_: object) -> None:
        raise DatabaseError("the disk is full")

    run = SettingsDatabase.run
    with monkeypatch.context() as patch:
        patch.setattr(
            SettingsDatabase,
            "run",
            lambda self, job: full() if "shadows" in job.__code__.co_names else run(self, job),
        )
        for command, arguments in (("shadow_stop", {}), ("shadow_start", {"recipe": "C"})):
            with pytest.raises(DatabaseError, match="full"):
                done(line, command, **arguments)
        shadow = recipes(line).shadow
        assert shadow is not None
        assert shadow.slot.stored.name == "B"
        found = done(line, "shadow_promote")
        assert (found["recipe"]["name"], found["kept"]) == ("B", False)
        assert (found["shadow"] or {})["state"] == "resting"


def test_ready_recipes_are_let_go_of_but_the_shadows(line: Dispatcher) -> None:
    done(line, "shadow_start", recipe="B")
    recipes(line).release_older(0)
    shadow = recipes(line).shadow
    assert shadow is not None
    assert shadow.slot.loaded is not None


def test_a_line_that_is_forgotten_has_no_shadow(line: Dispatcher) -> None:
    done(line, "shadow_start", recipe="B")
    del line.lines["one"]  # type: ignore[attr-defined]
    line.forget = lambda _: None
    assert asked(line, "line_forget", line="one").refusal is None
    assert line.database.run(lambda tables: tables.shadows.running("one")) is None
