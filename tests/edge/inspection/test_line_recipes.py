"""The recipes of a line: by name or number, one active, ready or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from edge.inspection.line_recipes import LineRecipes, RecipeNotReadyError, RecipeSlot, UnknownRecipeError
from edge.inspection.recipe import LoadedRecipe
from edge.storage.recipe_tables import RecipeError
from tests.support.recipes import Keeper, stored
from tests.support.verdicts import MODEL, RECIPE


def loaded(slot: RecipeSlot) -> LoadedRecipe:
    nothing = [cast(Any, None)] * 2
    return LoadedRecipe(
        nothing[0], MODEL, nothing[1], 0.5, 0.5, RECIPE, settings=slot.stored.settings, key=slot.stored.key
    )


def made(*names: str) -> tuple[LineRecipes, Keeper]:
    """The recipes 1, 2, ... of a line, of which the first is active and ready."""
    keeper = Keeper()
    slots = [RecipeSlot(stored(name, number)) for number, name in enumerate(names, 1)]
    slots[0].settle(loaded(slots[0]))
    return LineRecipes("one", slots, 1, keeper), keeper


def test_a_recipe_is_found_by_its_name_and_by_its_number() -> None:
    recipes, _ = made("default", "B", "C 3")
    assert [recipes.find(choice).stored.number for choice in ("B", "2", "0002", "C 3", "1")] == [2, 2, 2, 3, 1]
    for choice in ("b", "4", "", "²", "65536"):
        with pytest.raises(UnknownRecipeError, match=r"there are default \(1\), B \(2\), C 3 \(3\)"):
            recipes.find(choice)


def test_a_retired_recipe_is_not_to_be_used() -> None:
    recipes, keeper = made("default", "B b")
    slot = recipes.find("B b")
    slot.change(replace(slot.stored, retired=True), None)
    for choice in ("B b", "2"):
        with pytest.raises(
            UnknownRecipeError, match="recipe B b of line one is retired; `alfa-edge recipe retire 'B b' --back` "
        ):
            recipes.choose(choice)
    assert recipes.find("B b", retired=True) is slot
    assert (recipes.active.stored.name, keeper.kept) == ("default", [])


def test_a_trigger_that_comes_while_a_recipe_is_retired_does_not_make_it_the_lines() -> None:
    recipes, keeper = made("default", "B")
    found = recipes.find("B")
    recipes.retire(found)
    with pytest.raises(UnknownRecipeError, match="recipe B of line one is retired"):
        recipes.activate(found)
    assert (recipes.active.stored.name, keeper.kept) == ("default", [])
    with pytest.raises(RecipeError, match="line one judges by recipe default; set another one first"):
        recipes.retire(recipes.active)


def test_what_a_trigger_names_is_the_lines_from_then_on_and_is_kept_once() -> None:
    recipes, keeper = made("default", "B")
    slot, kept = recipes.choose("2")
    assert slot is recipes.active
    assert kept is keeper.on_disk[0]
    assert keeper.wanted == ["B"]
    assert recipes.choose("B") == (slot, None)
    assert keeper.kept == ["B"]


def test_a_repeated_trigger_changes_the_recipe_only_where_the_service_was_ended_before_it_was_kept() -> None:
    recipes, keeper = made("default", "B", "C")
    recipes.choose("B", repeated=True)
    recipes.choose("C", repeated=True)  # they come in their order
    assert keeper.kept == ["B", "C"]
    recipes.choose("default")
    recipes.choose("B", repeated=True)  # only its acknowledgement was lost
    assert recipes.active.stored.name == "default"


def test_parts_wait_for_a_recipe_and_go_on_when_it_is_ready_or_cannot_be() -> None:
    recipes, keeper = made("default", "B")
    slot, went = recipes.find("B"), list[str]()
    recipes.when_ready(slot, lambda: went.append("first"))
    assert (went, keeper.wanted) == ([], ["B"])
    slot.fail("its pack is gone")
    recipes.when_ready(slot, lambda: went.append("second"))
    assert went == ["first", "second"]
    with pytest.raises(RecipeNotReadyError, match="recipe B of line one: its pack is gone"):
        _ = slot.ready
    recipes.choose("B")  # named again, it is tried again
    recipes.when_ready(slot, lambda: went.append("third"))
    assert went == ["first", "second"]
    slot.settle(loaded(slot))
    assert went == ["first", "second", "third"]


def test_a_recipe_that_others_made_ready_stays_so_where_it_could_not_be_made_ready_once_more() -> None:
    recipes, _ = made("default", "B")
    slot = recipes.find("B")
    slot.settle(loaded(slot))
    ready = slot.loaded
    slot.fail("line one/2 has been changed by another command for 120 s")
    assert (slot.loaded, slot.failure) == (ready, None)


def test_the_recipe_that_was_not_used_for_longest_is_let_go_of_and_never_the_active_one() -> None:
    recipes, _ = made("default", "B", "C", "D")
    for name in ("B", "C", "D"):
        slot = recipes.find(name)
        slot.settle(loaded(slot))
        recipes.note_use(slot)
    recipes.activate(recipes.find("B"))
    recipes.release_older(1)
    assert [slot.stored.name for slot in recipes.slots if slot.loaded is not None] == ["B", "D"]
    recipes.release_older(0)
    assert [slot.stored.name for slot in recipes.slots if slot.loaded is not None] == ["B"]


def test_an_error_names_the_recipe_of_its_part_though_it_is_not_ready() -> None:
    recipes, _ = made("default", "B")
    told = recipes.judged_by(recipes.find("B"))
    assert (told.wire.name, told.wire.number, told.wire.revision) == ("B", 2, 1)
    assert (told.wire.pack, told.provisional, told.bank.shots, told.model) == ("generic", True, 0, MODEL)
