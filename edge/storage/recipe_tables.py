"""The recipes of all lines in `state.db`: their names and numbers, all revisions of their settings, the active one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from core.database.database import Database, DatabaseError
from core.database.error import restore_remedy
from edge.clock import iso_ms, utc_now
from edge.settings_recipe import FIRST, FIRST_NAME, MOST_NUMBER, RecipeSettings

CONFIGURATION = "configuration"
"""Who makes revisions that come from the TOML file."""
_NEWEST = """
    SELECT recipes.line, recipes.number, name, retired, revision, at, who, reason, settings
    FROM recipes JOIN recipe_revisions USING (line, number)
"""
_LAST = "revision = (SELECT max(revision) FROM recipe_revisions AS r WHERE r.line = recipes.line AND r.number = "
_LAST += "recipes.number)"


class RecipeError(ValueError):
    """The recipe cannot be had or changed as asked; the message says why, and what to do."""


@dataclass(frozen=True)
class StoredRecipe:
    """A revision of a recipe.

    Attributes:
        line: Whose it is.
        number: Of the recipe on its line, 1 to 65535; it stays, and is never another recipe's.
        name: Of the recipe, which may be renamed.
        retired: Whether it is kept, but not to be used.
        revision: From 1 on, by one with each change of the settings.
        at: When it was made, as ISO 8601.
        who: Who made it.
        reason: Why, in words.
        settings: What it says.
    """

    line: str
    number: int
    name: str
    retired: bool
    revision: int
    at: str
    who: str
    reason: str
    settings: RecipeSettings

    @property
    def key(self) -> str:
        """As `recipe_key`."""
        return recipe_key(self.line, self.number)


def recipe_key(line: str, number: int) -> str:
    """Under which shots and calibrations of a recipe are kept: those of a line's first one under the line's name."""
    return line if number == FIRST else f"{line}/{number}"


def recipe_of_key(key: str) -> tuple[str, int]:
    """Line and number of a key."""
    line, _, number = key.partition("/")
    return line, int(number or FIRST)


class RecipeTables:
    """The tables; for the thread of the connection. Whatever changes them is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables = database.tables

    def of_line(self, line: str) -> list[StoredRecipe]:
        """The newest revision of each of a line's recipes, by number, retired ones too."""
        query = f"{_NEWEST} WHERE recipes.line = ? AND {_LAST} ORDER BY recipes.number"
        return [self._stored(row) for row in self._tables.query(query, [line])]

    def recipe(self, line: str, number: int, revision: int | None = None) -> StoredRecipe:
        """A revision of a recipe, by default the newest.

        Raises:
            RecipeError: there is none.
        """
        which, values = (_LAST, []) if revision is None else ("revision = ?", [revision])
        query = f"{_NEWEST} WHERE recipes.line = ? AND recipes.number = ? AND {which}"
        rows = list(self._tables.query(query, [line, number, *values]))
        if not rows:
            if revision is None:
                raise RecipeError(f"line {line} has no recipe {number}; `alfa-edge recipe list` says which it has")
            raise RecipeError(
                f"recipe {number} of line {line} has no revision {revision}; `alfa-edge recipe show {number} --line "
                f"{line}` says which it has"
            )
        return self._stored(rows[0])

    def revisions(self, line: str, number: int) -> list[StoredRecipe]:
        """All revisions of a recipe, the oldest first."""
        query = f"{_NEWEST} WHERE recipes.line = ? AND recipes.number = ? ORDER BY revision"
        return [self._stored(row) for row in self._tables.query(query, [line, number])]

    def add(
        self, line: str, number: int | None, name: str, settings: RecipeSettings, *, who: str, reason: str = ""
    ) -> StoredRecipe:
        """Makes a recipe.

        Args:
            line: Whose.
            number: None: one above the line's largest, or the smallest that is free.
            name: No other recipe of the line has it.
            settings: Its first revision.
            who: Who makes it.
            reason: Why.

        Raises:
            RecipeError: name or number are another recipe's, or no number is free.
        """
        with self._database.transaction():
            taken = {stored.number: stored.name for stored in self.of_line(line)}
            if number is None:
                number = max(taken, default=0) + 1
                if number > MOST_NUMBER:
                    free = (free for free in range(1, MOST_NUMBER + 1) if free not in taken)
                    number = next(free, None)
                if number is None:
                    raise RecipeError(f"line {line} has {MOST_NUMBER} recipes, and no number is free")
            if number in taken:
                raise RecipeError(f"number {number} of line {line} is that of {taken[number]!r}; name another one")
            self._refuse_name(line, number, name)
            self._insert("recipes", {"line": line, "number": number, "name": name, "retired": 0})
            self._insert_revision(line, number, 1, settings, who, reason)
            return self.recipe(line, number)

    def revise(self, line: str, number: int, settings: RecipeSettings, *, who: str, reason: str = "") -> StoredRecipe:
        """Makes the recipe's next revision. Raises RecipeError: there is no such recipe."""
        with self._database.transaction():
            revision = self.recipe(line, number).revision + 1
            self._insert_revision(line, number, revision, settings, who, reason)
            return self.recipe(line, number)

    def rename(self, line: str, number: int, name: str) -> StoredRecipe:
        """Gives the recipe another name. Raises RecipeError: another recipe of the line has it."""
        return self._change(line, number, name=name)

    def retire(self, line: str, number: int, retired: bool) -> StoredRecipe:
        """Takes the recipe out of use, or back. Raises RecipeError: there is no such recipe."""
        return self._change(line, number, retired=int(retired))

    def active(self, line: str) -> int:
        """The number of the recipe that the line judges by."""
        rows = list(self._tables.query("SELECT recipe FROM line_settings WHERE line = ?", [line]))
        return cast("int | None", rows[0]["recipe"] if rows else None) or FIRST

    def set_active(self, line: str, number: int) -> None:
        """Keeps which recipe the line judges by."""
        self._set(line, recipe=number)

    def take_configured(self, line: str, settings: RecipeSettings) -> tuple[StoredRecipe, tuple[str, ...]]:
        """Brings the line's first recipe in line with the configuration: what was changed there since it was last read
        is the newer decision, and goes into a new revision; all else stays as it was set by command.

        A pack that a command of an older version had set is the first recipe's newest revision.

        Returns:
            The recipe, and the names of the settings that were taken over.
        """
        with self._database.transaction():
            before = self._row(line)
            configured = json.dumps(settings.model_dump(mode="json"))
            if before.get("configured") is None:
                stored = self.add(line, FIRST, FIRST_NAME, settings, who=CONFIGURATION)
                pack = before.get("pack")
                if pack is not None and before["configured_pack"] == settings.pack:
                    set_pack = settings.model_copy(update={"pack": pack})
                    stored = self.revise(line, FIRST, set_pack, who="command", reason="the pack that a command had set")
                self._set(line, configured=configured, pack=None, configured_pack=None)
                return stored, ()
            stored = self.recipe(line, FIRST)
            older = self._settings(before["configured"])
            changed = {
                name: getattr(settings, name)
                for name in RecipeSettings.model_fields
                if getattr(settings, name) != getattr(older, name)
            }
            if changed:
                newer = stored.settings.model_copy(update=changed)
                reason = f"{', '.join(changed)} changed in the configuration"
                stored = self.revise(line, FIRST, newer, who=CONFIGURATION, reason=reason)
                self._set(line, configured=configured)
            return stored, tuple(changed)

    def _change(self, line: str, number: int, **values: Any) -> StoredRecipe:
        with self._database.transaction():
            self.recipe(line, number)
            if "name" in values:
                self._refuse_name(line, number, values["name"])
            self._tables.table("recipes").update((line, number), values)
            return self.recipe(line, number)

    def _refuse_name(self, line: str, number: int, name: str) -> None:
        for stored in self.of_line(line):
            if stored.name == name and stored.number != number:
                raise RecipeError(f"line {line} has a recipe {name!r} already, number {stored.number}; name another")

    def _row(self, line: str) -> dict[str, Any]:
        return next(self._tables.query("SELECT * FROM line_settings WHERE line = ?", [line]), {})

    def _set(self, line: str, **values: Any) -> None:
        with self._database.transaction():
            if self._row(line):
                self._tables.table("line_settings").update(line, values)
            else:
                self._insert("line_settings", {"line": line, **values})

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        self._tables.table(table).insert(dict(row))

    def _insert_revision(
        self, line: str, number: int, revision: int, settings: RecipeSettings, who: str, reason: str
    ) -> None:
        row = {"line": line, "number": number, "revision": revision, "at": iso_ms(utc_now()), "who": who}
        text = json.dumps(settings.model_dump(mode="json"))  # all of them: another version may have other defaults
        self._insert("recipe_revisions", row | {"reason": reason, "settings": text})

    def _stored(self, row: Mapping[str, Any]) -> StoredRecipe:
        return StoredRecipe(
            **{**row, "retired": bool(row["retired"]), "settings": self._settings(cast(str, row["settings"]))}
        )

    def _settings(self, text: str) -> RecipeSettings:
        try:
            return RecipeSettings.model_validate_json(text)
        except ValidationError as error:
            path = self._database.path
            message = f"database {path} holds a recipe that the program does not write ({error.errors()[0]['msg']})"
            raise DatabaseError(f"{message}: {restore_remedy(path)}") from error
