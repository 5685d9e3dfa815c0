"""Recipes in the database: names, numbers, all revisions, and what the configuration says of the first one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.database.database import DatabaseError
from edge.settings_recipe import MOST_NUMBER, RecipeSettings
from edge.storage.recipe_tables import RecipeError, StoredRecipe, recipe_key, recipe_of_key
from edge.storage.settings_database import SettingsDatabase

BOTTLES = RecipeSettings(pack="bottle", roi={"x": 1, "y": 2, "width": 30, "height": 40}, tiles=(2, 1))


@contextmanager
def opened(folder: Path) -> Iterator[SettingsDatabase]:
    database = SettingsDatabase(folder)
    database.start()
    try:
        yield database
    finally:
        database.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SettingsDatabase]:
    with opened(tmp_path) as found:
        found.run(lambda tables: tables.recipes.take_configured("one", BOTTLES))
        yield found


def add(database: SettingsDatabase, name: str, number: int | None = None) -> StoredRecipe:
    return database.run(lambda tables: tables.recipes.add("one", number, name, BOTTLES, who="eva"))


def configured(database: SettingsDatabase, **changes: object) -> tuple[StoredRecipe, tuple[str, ...]]:
    settings = BOTTLES.model_copy(update=changes)
    return database.run(lambda tables: tables.recipes.take_configured("one", settings))


def test_the_configuration_is_the_first_recipe_and_is_read_once(database: SettingsDatabase) -> None:
    stored, changed = configured(database)
    assert (stored.name, stored.number, stored.revision, stored.who) == ("default", 1, 1, "configuration")
    assert stored.settings == BOTTLES
    assert changed == ()


def test_what_was_changed_in_the_configuration_is_the_newer_decision_and_the_rest_stays(
    database: SettingsDatabase,
) -> None:
    by_command = BOTTLES.model_copy(update={"pack": "tile", "threshold": 0.7})
    database.run(lambda tables: tables.recipes.revise("one", 1, by_command, who="eva"))
    assert configured(database)[1] == ()
    stored, changed = configured(database, threshold=0.6)
    assert changed == ("threshold",)
    assert (stored.settings.pack, stored.settings.threshold, stored.revision) == ("tile", 0.6, 3)
    assert stored.reason == "threshold changed in the configuration"
    stored, changed = configured(database)  # and back again
    assert (changed, stored.settings.threshold) == (("threshold",), 0.5)


@pytest.mark.parametrize(
    ("configured_then", "pack", "revisions"),
    [("bottle", "tile", ["bottle", "tile"]), ("screw", "tile", ["bottle"]), (None, None, ["bottle"])],
    ids=["set since", "the configuration is newer", "never set"],
)
def test_a_pack_that_an_older_version_has_set_is_the_newest_revision(
    tmp_path: Path, configured_then: str | None, pack: str | None, revisions: list[str]
) -> None:
    with opened(tmp_path) as database:
        row = "INSERT INTO line_settings (line, paused_by, pack, configured_pack) VALUES ('one', 'eva', ?, ?)"
        database.run(lambda tables: tables.database.tables.execute(row, [pack, configured_then]))
        for _ in range(2):
            configured(database)
        found = database.run(lambda tables: tables.recipes.revisions("one", 1))
        assert [revision.settings.pack for revision in found] == revisions
        assert database.run(lambda tables: tables.paused("one")) == "eva"


def test_names_and_numbers_are_of_one_recipe_for_ever(database: SettingsDatabase) -> None:
    assert add(database, "B").number == 2
    assert add(database, "C", 700).number == 700
    assert add(database, "D").number == 701
    for name, number, message in (("B", None, "a recipe 'B' already, number 2"), ("E", 2, "number 2 .* is that of")):
        with pytest.raises(RecipeError, match=message):
            add(database, name, number)
    database.run(lambda tables: tables.recipes.retire("one", 2, True))
    with pytest.raises(RecipeError, match="'B' already"):
        add(database, "B")
    renamed = database.run(lambda tables: tables.recipes.rename("one", 2, "B of 2025"))
    assert (renamed.number, renamed.retired, renamed.revision) == (2, True, 1)
    with pytest.raises(RecipeError, match="'C' already"):
        database.run(lambda tables: tables.recipes.rename("one", 2, "C"))


def test_after_the_largest_number_the_smallest_free_one_is_next(database: SettingsDatabase) -> None:
    add(database, "last", MOST_NUMBER)
    assert add(database, "next").number == 2


def test_all_revisions_and_the_active_recipe_outlive_the_process(tmp_path: Path) -> None:
    with opened(tmp_path) as database:
        configured(database)
        add(database, "B")
        for threshold in (0.6, 0.7):
            newer = BOTTLES.model_copy(update={"threshold": threshold})
            database.run(lambda tables, newer=newer: tables.recipes.revise("one", 2, newer, who="eva", reason="trial"))
        database.run(lambda tables: tables.recipes.set_active("one", 2))
    with opened(tmp_path) as database:
        assert database.run(lambda tables: tables.recipes.active("one")) == 2
        assert database.run(lambda tables: tables.recipes.active("two")) == 1
        revisions = database.run(lambda tables: tables.recipes.revisions("one", 2))
        assert [(revision.revision, revision.settings.threshold) for revision in revisions] == [
            (1, 0.5),
            (2, 0.6),
            (3, 0.7),
        ]
        assert database.run(lambda tables: tables.recipes.recipe("one", 2, 2)).settings.threshold == 0.6
        with pytest.raises(RecipeError, match="recipe 2 of line one has no revision 9"):
            database.run(lambda tables: tables.recipes.recipe("one", 2, 9))


def test_settings_that_the_program_does_not_write_are_refused_with_the_way_out(database: SettingsDatabase) -> None:
    database.run(lambda tables: tables.database.tables.execute("UPDATE recipe_revisions SET settings = '{\"a\": 1}'"))
    with pytest.raises(DatabaseError, match="holds a recipe that the program does not write"):
        database.run(lambda tables: tables.recipes.of_line("one"))


def test_the_first_recipe_has_the_shots_of_before_there_were_recipes() -> None:
    assert (recipe_key("one", 1), recipe_key("one", 7)) == ("one", "one/7")
    assert (recipe_of_key("one"), recipe_of_key("one/7")) == (("one", 1), ("one", 7))
