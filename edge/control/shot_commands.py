"""Commands about normal shots, and the thresholds that come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.bank.shot_folder import export_shots
from core.image import encode_png
from edge.clock import iso_ms
from edge.control.arguments import Arguments, Folder, Number, OfRecipe
from edge.control.calibrate_commands import calibration_part, review_ended, shots_changed
from edge.control.changes import State, of_recipe, recipe_state
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, Dispatcher, Result
from edge.storage.recipe_tables import recipe_of_key

if TYPE_CHECKING:
    from core.bank.memory_bank import Shot
    from edge.inspection.line_recipes import RecipeSlot


class OfShot(Arguments):
    """A shot."""

    shot: Number
    """Its number."""


class ListShots(OfRecipe):
    """Shots of a recipe."""

    all: bool = False
    """Removed ones too."""


class OfFolder(OfRecipe):
    """A recipe's shots in a folder."""

    folder: Folder
    """Absolute; the service reads or writes it."""


class Threshold(OfRecipe):
    """A threshold set by hand."""

    threshold: float = Field(ge=0, le=1)
    """A part whose score is at or above it is anomalous."""


def _shots(dispatcher: Dispatcher, arguments: ListShots, _caller: Caller) -> Result:
    slot = dispatcher.recipe(arguments.line, arguments.recipe, retired=True)
    key, loaded = slot.stored.key, slot.loaded
    shots = dispatcher.database.run(lambda tables: tables.bank.shots(key, active_only=not arguments.all))
    weights = loaded.weights if loaded is not None else {}
    return {"shots": [_shot_part(shot) for shot in shots], "weights": weights}, ()


def _show_shot(dispatcher: Dispatcher, arguments: OfShot, _caller: Caller) -> Result:
    shot, image = dispatcher.database.read(
        lambda tables: (tables.bank.shot(arguments.shot), tables.bank.image(arguments.shot))
    )
    return {"shot": _shot_part(shot)}, [encode_png(image, {})]


def _of_shot(dispatcher: Dispatcher, arguments: OfShot) -> State:
    """The `state` of a command that changes a shot."""
    shot = dispatcher.database.run(lambda tables: tables.bank.shot(arguments.shot))
    slot = _slot_of(dispatcher, shot)
    return {"active": shot.active} | ({} if slot is None else recipe_state(dispatcher, slot))


def _slot_of(dispatcher: Dispatcher, shot: Shot) -> RecipeSlot | None:
    """The recipe whose shot it is; None where the configuration has its line no more."""
    line, number = recipe_of_key(shot.line)
    return dispatcher.line(line).recipes.slot(number) if line in dispatcher.lines else None


def _remove(dispatcher: Dispatcher, arguments: OfShot, caller: Caller) -> Result:
    return _changed(dispatcher, arguments, lambda: dispatcher.enrolment.remove(arguments.shot, caller.who))


def _restore(dispatcher: Dispatcher, arguments: OfShot, caller: Caller) -> Result:
    return _changed(dispatcher, arguments, lambda: dispatcher.enrolment.restore(arguments.shot, caller.who))


def _changed(dispatcher: Dispatcher, arguments: OfShot, change: Callable[[], Shot]) -> Result:
    slot = _slot_of(dispatcher, dispatcher.database.run(lambda tables: tables.bank.shot(arguments.shot)))
    ended = [] if slot is None or slot.loaded is None else review_ended(slot)
    shot = change()
    return {"shot": _shot_part(shot), "notes": [] if slot is None else shots_changed(slot, ended)}, ()


def _reembed(dispatcher: Dispatcher, arguments: OfRecipe, _caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    return {"shots": [shot.id for shot in dispatcher.enrolment.embed_missing(slot)]}, ()


def _threshold(dispatcher: Dispatcher, arguments: Threshold, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    ended = review_ended(slot)
    kept = dispatcher.enrolment.set_threshold(slot, arguments.threshold, caller.who)
    return {"calibration": calibration_part(kept), "notes": ended}, ()


def _export(dispatcher: Dispatcher, arguments: OfFolder, _caller: Caller) -> Result:
    key = dispatcher.recipe(arguments.line, arguments.recipe, retired=True).stored.key
    shots = dispatcher.database.read(lambda tables: export_shots(tables.bank, key, arguments.folder))
    return {"shots": [shot.id for shot in shots]}, ()


def _import(dispatcher: Dispatcher, arguments: OfFolder, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    ended = review_ended(slot)
    shots = dispatcher.enrolment.import_folder(slot, arguments.folder, caller.who)
    notes = shots_changed(slot, ended)
    return {"shots": [shot.id for shot in shots], "bank": slot.ready.bank.model_dump(), "notes": notes}, ()


def _shot_part(shot: Shot) -> dict[str, Any]:
    line, number = recipe_of_key(shot.line)
    known = asdict(shot) | {"line": line, "recipe": number, "added_at": iso_ms(shot.added_at)}
    return known | {"removed_at": iso_ms(shot.removed_at) if shot.removed_at else None}


SHOT_COMMANDS: dict[str, Command] = {
    "shots_list": Command(ListShots, _shots),
    "shots_show": Command(OfShot, _show_shot),
    "shots_remove": Command(OfShot, _remove, changes=True, state=_of_shot, limit_s=WORK_S),
    "shots_restore": Command(OfShot, _restore, changes=True, state=_of_shot, limit_s=WORK_S),
    "shots_reembed": Command(OfRecipe, _reembed, changes=True, state=of_recipe, limit_s=ALL_S),
    "shots_export": Command(OfFolder, _export, limit_s=ALL_S),
    "shots_import": Command(OfFolder, _import, changes=True, state=of_recipe, limit_s=ALL_S),
    "threshold": Command(Threshold, _threshold, changes=True, state=of_recipe, limit_s=WORK_S),
}
