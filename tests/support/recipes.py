"""Recipes of a line without a database."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from edge.inspection.line_recipes import LineRecipes, RecipeSlot
from edge.inspection.recipe import LoadedRecipe
from edge.settings_recipe import FIRST, FIRST_NAME, RecipeSettings
from edge.storage.recipe_tables import StoredRecipe


class Keeper:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.wanted: list[str] = []
        self.kept: list[str] = []
        self.on_disk: list[Future[None]] = []

    def prepare(self, slot: RecipeSlot) -> None:
        self.wanted.append(slot.stored.name)

    def keep_active(self, slot: RecipeSlot) -> Future[None]:
        self.kept.append(slot.stored.name)
        self.on_disk.append(Future())
        return self.on_disk[-1]


def stored(name: str = FIRST_NAME, number: int = FIRST, line: str = "one", **settings: object) -> StoredRecipe:
    """A recipe's first revision."""
    made = RecipeSettings.model_validate(settings)
    return StoredRecipe(line, number, name, False, 1, "2026-01-01T00:00:00.000Z", "test", "", made)


def only_recipe(line: str, settings: RecipeSettings, loaded: LoadedRecipe) -> LineRecipes:
    """The recipes of a line that has one, which is ready."""
    first = replace(stored(line=line), settings=settings)
    wire = loaded.wire.model_copy(update={"name": first.name, "number": first.number, "revision": first.revision})
    slot = RecipeSlot(first, replace(loaded, settings=settings, key=first.key, wire=wire))
    return LineRecipes(line, [slot], FIRST, Keeper())
