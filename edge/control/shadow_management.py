"""Starts and ends the shadows of lines, and makes a shadow's recipe the live one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from core.database.database import DatabaseError
from edge.control.recipe_management import RecipeManagement
from edge.inspection.line_recipes import LineRecipes, RecipeSlot, RunningShadow
from edge.storage.settings_database import SettingsDatabase
from edge.storage.shadow_tables import NoShadowError, StoredShadow

if TYPE_CHECKING:
    from edge.control.line_control import LineControl


class ShadowError(ValueError):
    """The shadow cannot be had as asked; the message says why, and what to do."""


class ShadowManagement:
    """Of all lines. Any thread may call it.

    A shadow judges the parts that the line judges by one recipe, the one of its start. While the line judges by another
    one it rests.
    """

    def __init__(self, recipes: RecipeManagement, database: SettingsDatabase) -> None:
        self._recipes = recipes
        self._database = database
        self._lock = threading.Lock()  # while one starts or ends, so that disk and memory say the same

    def start(self, line: LineControl, slot: RecipeSlot, who: str) -> RunningShadow:
        """Has a recipe judge the line's parts a second time; ends the shadow of before. Waits until it is ready.

        Raises:
            ShadowError: the line judges by that recipe, or by one of another region.
            PackError, ModelError, BankError, DatabaseError: it cannot be made ready, or is not on disk; nothing has
                changed.
        """
        beside = line.recipes.active
        _check_pair(slot, beside)
        self._recipes.load(slot)
        with self._lock:
            return self._start(line, slot, beside, who)

    def stop(self, line: LineControl, who: str) -> StoredShadow:
        """Ends the line's shadow. What it said stays, for its report.

        Raises:
            NoShadowError: the line has none.
            DatabaseError: the disk does not take it; the shadow goes on.
        """
        with self._lock:
            running_shadow(line.recipes)
            return self._end(line, who)

    def promote(self, line: LineControl, who: str, *, swap: bool) -> tuple[RunningShadow, bool]:
        """Has the line judge by its shadow's recipe from its next part on, and ends the shadow.

        Args:
            line: The line.
            who: Who wants it.
            swap: Whether the recipe of before becomes the shadow.

        Returns:
            The shadow that was, and whether a restart will find all of it, as of `RecipeManagement.activate`.

        Raises:
            NoShadowError: the line has no shadow.
            ShadowError: the line judges by another recipe now than the shadow was compared with.
            PackError, ModelError, BankError, DatabaseError: it cannot be made ready; the line goes on as before.
        """
        with self._lock:
            shadow, before = running_shadow(line.recipes), line.recipes.active
            name, number = shadow.slot.stored.name, shadow.stored.beside
            if before.stored.number != number:
                beside = line.recipes.slot(number).stored.name
                raise ShadowError(
                    f"line {line.recipes.line} judges by recipe {before.stored.name}, and its shadow {name} was "
                    f"compared with recipe {beside}: set that one first, or set {name} itself (`alfa-edge recipe set`)"
                )
            kept = self._recipes.activate(shadow.slot)
            try:
                if swap:
                    self._start(line, before, shadow.slot, who)
                else:
                    self._end(line, who)
            except DatabaseError:  # the line judges by the recipe all the same; the shadow rests beside it
                kept = False
            return shadow, kept

    def _start(self, line: LineControl, slot: RecipeSlot, beside: RecipeSlot, who: str) -> RunningShadow:
        recipes, numbers = line.recipes, (slot.stored.number, beside.stored.number)
        before = self._pause(recipes)
        seq = line.seq
        try:
            stored = self._database.run(lambda tables: tables.shadows.start(recipes.line, *numbers, seq=seq, who=who))
        except DatabaseError:
            recipes.set_shadow(before)
            raise
        recipes.set_shadow(stored)
        return running_shadow(recipes)

    def _end(self, line: LineControl, who: str) -> StoredShadow:
        recipes = line.recipes
        before = self._pause(recipes)
        seq = line.seq
        try:
            ended = self._database.run(lambda tables: tables.shadows.end(recipes.line, seq=seq, who=who))
        except DatabaseError:
            recipes.set_shadow(before)
            raise
        assert ended is not None
        return ended

    @staticmethod
    def _pause(recipes: LineRecipes) -> StoredShadow | None:
        """Hands no more parts to the shadow: its last one has a number by then. Returns it."""
        shadow = recipes.shadow
        recipes.set_shadow(None)
        return None if shadow is None else shadow.stored


def running_shadow(recipes: LineRecipes) -> RunningShadow:
    """The line's shadow.

    Raises:
        NoShadowError: it has none.
    """
    if recipes.shadow is None:
        raise NoShadowError(f"line {recipes.line} has no shadow; `alfa-edge shadow start RECIPE` starts one")
    return recipes.shadow


def _check_pair(slot: RecipeSlot, beside: RecipeSlot) -> None:
    """Raises ShadowError: the two cannot judge the same parts."""
    shadow, live = slot.stored, beside.stored
    if slot is beside:
        raise ShadowError(
            f"line {live.line} judges by recipe {live.name} already, so that there is nothing to compare; name another "
            f"one, or make one like it (`alfa-edge recipe copy {live.name} NAME`)"
        )
    for what, of_shadow, of_live in (
        ("inspects", shadow.settings.roi, live.settings.roi),
        ("takes frames of", shadow.settings.health.size, live.settings.health.size),
    ):
        if of_shadow != of_live:
            raise ShadowError(
                f"recipe {shadow.name} {what} {_words(of_shadow)}, and recipe {live.name}, by which line {live.line} "
                f"judges, {_words(of_live)}; give both the same with `alfa-edge recipe edit`"
            )


def _words(place: object) -> str:
    return "anything" if place is None else f"({place})"
