"""What commands change, as the audit keeps it: the state before and after, of which only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from edge.control.arguments import OfRecipe
    from edge.control.dispatcher import Dispatcher
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
        }
    return state


def of_recipe(dispatcher: Dispatcher, arguments: OfRecipe) -> State:
    """The `state` of a command that changes a recipe."""
    return recipe_state(dispatcher, dispatcher.recipe(arguments.line, arguments.recipe, retired=True))
