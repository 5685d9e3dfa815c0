"""What commands change, as the audit keeps it: the state before and after, of which only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from edge.inspection.line_recipes import UnknownRecipeError

if TYPE_CHECKING:
    from edge.control.arguments import OfLine, OfRecipe
    from edge.control.dispatcher import Dispatcher
    from edge.control.recipe_commands import NamedRecipe, NewRecipe, RenameRecipe, SetRecipe
    from edge.inspection.line_recipes import RecipeSlot

State: TypeAlias = dict[str, Any]
"""By name, as JSON has it."""


def differing(before: State, after: State) -> tuple[State, State]:
    """Of both what is not the same; what only one of them has is None in the other."""
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def recipe_state(dispatcher: Dispatcher, slot: RecipeSlot) -> State:
    """What commands can change of a recipe, as the database has it: name, settings, shots, the last calibration."""
    stored = slot.stored
    shots, revision, calibration = dispatcher.database.run(
        lambda tables: (
            len(tables.bank.shots(stored.key)),
            tables.bank.revision(stored.key),
            tables.calibration(stored.key),
        )
    )
    state = {"recipe": stored.name, "revision": stored.revision, "retired": stored.retired}
    state |= stored.settings.model_dump(mode="json") | {"shots": shots, "bank_revision": revision}
    if calibration is not None:
        state |= {
            "calibrated_threshold": calibration.threshold,
            "calibrated_pixel_threshold": calibration.pixel_threshold,
            "calibrated_from": calibration.source,
            "review_below": calibration.review_below,
        }
    return state


def of_recipe(dispatcher: Dispatcher, arguments: OfRecipe) -> State:
    """The `state` of a command that changes a recipe."""
    return recipe_state(dispatcher, dispatcher.recipe(arguments.line, arguments.recipe, retired=True))


def of_named_recipe(dispatcher: Dispatcher, arguments: NamedRecipe) -> State:
    """The same where it must be named."""
    return recipe_state(dispatcher, dispatcher.recipe(arguments.line, arguments.recipe, retired=True))


def of_new_recipe(dispatcher: Dispatcher, arguments: NewRecipe) -> State:
    """Of a command that makes a recipe."""
    return _if_there(dispatcher, arguments.line, arguments.name)


def of_renamed_recipe(dispatcher: Dispatcher, arguments: RenameRecipe) -> State:
    """Of a command that renames a recipe: it is found by the old name before, and by the new one after."""
    line, names = arguments.line, (arguments.recipe, arguments.name)
    return next(filter(None, (_if_there(dispatcher, line, name) for name in names)), {})


def of_active_recipe(dispatcher: Dispatcher, arguments: SetRecipe) -> State:
    """Which recipe a line judges by; and what that says, where its pack is to change."""
    active = dispatcher.line(arguments.line).recipes.active
    said = {} if arguments.pack is None else recipe_state(dispatcher, active)
    return {"active_recipe": active.stored.name} | said


def of_reset_recipe(dispatcher: Dispatcher, arguments: OfLine) -> State:
    """Which recipe a line judges by, and what its first one says."""
    recipes = dispatcher.line(arguments.line).recipes
    return {"active_recipe": recipes.active.stored.name} | recipe_state(dispatcher, recipes.first)


def of_recipes(dispatcher: Dispatcher, arguments: OfLine) -> State:
    """The revision of each of a line's recipes, by their names."""
    return {slot.stored.name: slot.stored.revision for slot in dispatcher.line(arguments.line).recipes.slots}


def _if_there(dispatcher: Dispatcher, line: str, choice: str) -> State:
    try:
        slot = dispatcher.recipe(line, choice, retired=True)
    except UnknownRecipeError:
        return {}
    return recipe_state(dispatcher, slot)
