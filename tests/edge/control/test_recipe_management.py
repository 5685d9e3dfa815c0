"""Which recipe is active is kept on disk, or an alarm says that it is not until it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from edge.control.recipe_management import RecipeManagement, changed_settings
from edge.ops.alarms import Alarms
from edge.settings import LineSettings, RecipeSettings
from edge.storage.recipe_tables import RecipeError, RecipeTables
from edge.storage.settings_database import SettingsDatabase
from tests.support.mosquitto import eventually


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SettingsDatabase]:
    database = SettingsDatabase(tmp_path)
    database.start()
    yield database
    database.stop()


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


@pytest.fixture
def management(database: SettingsDatabase, alarms: Alarms) -> Iterator[RecipeManagement]:
    """Of a line with the recipes `default` and `B`, none of which is ready."""
    lines = {"one": LineSettings.model_validate({"pack": "bottle", "camera": {"source": "sim:bottle"}})}
    management = RecipeManagement(lines, database, alarms=alarms)
    management.start(cast(Any, None), cast(Any, None))
    management.add("one", "B", RecipeSettings(pack="tile"), who="eva")
    yield management
    management.stop()


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_a_recipe_that_the_disk_does_not_take_is_an_alarm_until_it_does(
    management: RecipeManagement, database: SettingsDatabase, alarms: Alarms, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = management.lines["one"]
    with monkeypatch.context() as patch:
        patch.setattr(RecipeTables, "set_active", full)
        kept = line.activate(line.find("B"))
        assert kept.exception(30) is not None
        eventually(lambda: [alarm.code for alarm in alarms.of("one")] == ["line_settings"])
        [alarm] = alarms.of("one")
        assert alarm.message.startswith("line one judges by recipe B; a restart would undo that")
        assert line.active.stored.name == "B", "the line judges by it all the same"
    eventually(lambda: alarms.of("one") == [])
    assert database.run(lambda tables: tables.recipes.active("one")) == 2


def test_the_last_of_two_changeovers_is_the_one_that_is_kept(
    management: RecipeManagement, database: SettingsDatabase
) -> None:
    line = management.lines["one"]
    for choice in ("B", "default") * 20:
        line.choose(choice)
    line.activate(line.find("B")).result(30)
    assert database.run(lambda tables: tables.recipes.active("one")) == 2


def test_a_value_of_a_table_leaves_the_others_as_they_are() -> None:
    before = RecipeSettings(health={"dark": 9.0}, roi=None)
    found = changed_settings(before, {"health.blur": 12, "roi.x": 1, "roi.y": 2, "roi.width": 20, "roi.height": 30})
    assert (found.health.dark, found.health.blur) == (9.0, 12)
    assert found.roi is not None
    assert (found.roi.x, found.roi.width) == (1, 20)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("health.blurr", 12, "health.blurr: is no setting; did you mean blur?"),
        ("pak", "tile", "pak: is no setting; did you mean pack?"),
        ("method.windws", "none", "method.windws: is no setting; did you mean windows?"),
        (
            "health.zzz",
            1,
            "health.zzz: is no setting; known here: frozen_s, dark, bright, blur, torn, size, flat, saturated, "
            "enrolled_size",
        ),
        ("health.blur", "x", "health.blur: input should be a valid number, unable to parse string as a number"),
        ("tiles", [0, 1], "tiles.0: input should be greater than or equal to 1"),
        ("tiles", 4, "tiles: input should be 'auto', or a list"),
        ("pack.name", 4, "pack.name: pack is no table"),
        ("roi.x", 4, "roi.y: is required; add it"),
    ],
)
def test_a_wrong_setting_is_named_as_in_the_file(name: str, value: Any, said: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        changed_settings(RecipeSettings(), {name: value})
    assert str(refusal.value) == said
