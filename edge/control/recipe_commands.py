"""Commands about recipes: what there is, what it says, and which one a line judges by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from core.packs.pack import is_path, list_packs, path_of
from edge.control.arguments import Folder, NoArguments, Number, OfLine, OfRecipe
from edge.control.calibrate_commands import calibration_part
from edge.control.changes import (
    of_active_recipe,
    of_named_recipe,
    of_new_recipe,
    of_recipe,
    of_recipes,
    of_renamed_recipe,
    of_reset_recipe,
)
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, CommandError, Dispatcher, Result, unless_kept
from edge.control.recipe_management import changed_settings
from edge.messages import RecipeChoice
from edge.settings_recipe import RecipeName, RecipeNumber, RecipeSettings
from edge.storage.recipe_folder import read_recipe, write_recipe
from edge.storage.recipe_tables import RecipeError

if TYPE_CHECKING:
    from edge.inspection.line_recipes import RecipeSlot
    from edge.storage.recipe_tables import StoredRecipe

Changes = dict[str, Any]
"""Values of `RecipeSettings` by their names."""


class SetRecipe(OfLine):
    """Another recipe; or another pack of the one that the line judges by."""

    recipe: RecipeChoice | None = None
    """Its name or number."""
    pack: str | None = Field(default=None, min_length=1, max_length=4096)
    """The name of a pack, or the path of a pack file."""

    @model_validator(mode="after")
    def _one_of_them(self) -> SetRecipe:
        if (self.recipe is None) == (self.pack is None):
            raise ValueError("name a recipe, or a pack")
        return self


class NamedRecipe(OfLine):
    """A recipe that is named."""

    recipe: RecipeChoice
    """Its name or number."""


class ShowRecipe(OfRecipe):
    """A revision of a recipe."""

    revision: Number | None = None
    """By default the newest."""


class NewRecipe(OfLine):
    """A recipe to be."""

    name: RecipeName
    """No other recipe of the line has it."""
    number: RecipeNumber | None = None
    """No other recipe of the line has it. By default one above the largest."""
    settings: Changes = Field(default_factory=dict)
    """What it says; the rest is as every setting's default."""


class CopyRecipe(NewRecipe):
    """A recipe that is to be like another, with its shots and its calibration."""

    recipe: RecipeChoice | None = None
    """That other one; by default the one that the line judges by."""


class EditRecipe(OfRecipe):
    """What is to change of a recipe."""

    settings: Changes = Field(min_length=1)
    """What it is to say."""
    reason: str = Field(default="", max_length=500)
    """Why, for its history."""


class RenameRecipe(NamedRecipe):
    """Another name."""

    name: RecipeName
    """No other recipe of the line has it."""


class RetireRecipe(NamedRecipe):
    """Out of use, or back."""

    back: bool = False
    """Take it back."""


class CompareRecipes(OfRecipe):
    """Two recipes, or two revisions of one."""

    other: RecipeChoice | None = None
    """The other recipe; by default the same."""
    revision: Number | None = None
    """Of the first; by default the newest, or with the same recipe the one before the newest."""
    other_revision: Number | None = None
    """Of the other; by default the newest."""


class ExportRecipe(OfRecipe):
    """Where a recipe is to be written."""

    folder: Folder
    """A new or empty one; the service writes it."""


class ImportRecipe(OfLine):
    """A folder that `recipe_export` wrote."""

    folder: Folder
    """The service reads it."""
    name: RecipeName | None = None
    """By default as the folder says."""
    number: RecipeNumber | None = None
    """Of a new one. By default as the folder says where that is free, else one above the largest."""
    pack: str | None = Field(default=None, min_length=1, max_length=4096)
    """Another pack, where that of the folder is a file that is not here."""
    replace: bool = False
    """Whether the line's recipe of that name may be changed."""


def _list(dispatcher: Dispatcher, _arguments: NoArguments, _caller: Caller) -> Result:
    recipes = {}
    for name, line in dispatcher.lines.items():
        active = line.recipes.active
        recipes[name] = [
            named_part(slot.stored)
            | {
                "pack": slot.stored.settings.pack,
                "note": slot.stored.settings.note,
                "active": slot is active,
                "ready": slot.loaded is not None,
                "retired": slot.stored.retired,
            }
            for slot in line.recipes.slots
        ]
    judged_by = {name: line.recipes.active.wire for name, line in dispatcher.lines.items()}
    return {
        "packs": list_packs(),
        "lines": {name: wire.model_dump(mode="json") for name, wire in judged_by.items()},
        "recipes": recipes,
    }, ()


def _show(dispatcher: Dispatcher, arguments: ShowRecipe, _caller: Caller) -> Result:
    slot = dispatcher.recipe(arguments.line, arguments.recipe, retired=True)
    line, number, key = arguments.line, slot.stored.number, slot.stored.key
    shown, revisions, shots, calibration = dispatcher.database.run(
        lambda tables: (
            tables.recipes.recipe(line, number, arguments.revision),
            tables.recipes.revisions(line, number),
            len(tables.bank.shots(key)),
            tables.calibration(key),
        )
    )
    known = ("revision", "at", "who", "reason")
    return {
        "recipe": named_part(shown) | {"retired": shown.retired},
        "settings": settings_part(shown.settings),
        "revisions": [{name: getattr(revision, name) for name in known} for revision in revisions],
        "shots": shots,
        "calibration": calibration_part(calibration) if calibration is not None else None,
        "active": slot is dispatcher.line(line).recipes.active,
    }, ()


def _new(dispatcher: Dispatcher, arguments: NewRecipe, caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    settings = changed_settings(RecipeSettings(), rooted(arguments.settings))
    slot = dispatcher.recipes.add(
        arguments.line, arguments.name, settings, who=caller.who, number=arguments.number, reason="new"
    )
    return changed_part(None, slot.stored), ()


def _copy(dispatcher: Dispatcher, arguments: CopyRecipe, caller: Caller) -> Result:
    like = dispatcher.recipe(arguments.line, arguments.recipe, retired=True)
    settings = changed_settings(like.stored.settings, rooted(arguments.settings))
    with dispatcher.enrolment.changing(like):
        slot = dispatcher.recipes.add(
            arguments.line,
            arguments.name,
            settings,
            who=caller.who,
            number=arguments.number,
            like=like,
            reason=f"a copy of {like.stored.name}, revision {like.stored.revision}",
        )
    return changed_part(like.stored, slot.stored), ()


def _edit(dispatcher: Dispatcher, arguments: EditRecipe, caller: Caller) -> Result:
    slot = dispatcher.recipe(arguments.line, arguments.recipe)
    before = slot.stored
    stored = dispatcher.recipes.revise(slot, rooted(arguments.settings), who=caller.who, reason=arguments.reason)
    return changed_part(before, stored), ()


def _set(dispatcher: Dispatcher, arguments: SetRecipe, caller: Caller) -> Result:
    line = dispatcher.line(arguments.line)
    if arguments.pack is not None:
        return _set_pack(dispatcher, arguments.line, arguments.pack, caller)
    before = line.recipes.active.stored
    slot = dispatcher.recipe(arguments.line, arguments.recipe)
    kept = dispatcher.recipes.activate(slot)
    return changed_part(before, slot.stored) | judges_by(slot) | unless_kept(kept), ()


def _set_pack(dispatcher: Dispatcher, line: str, pack: str, caller: Caller) -> Result:
    """The active recipe's next revision has another pack."""
    names = list_packs()
    if caller.asker.machine and pack not in names:  # no word on files: a machine is not to find out which there are
        raise CommandError(f"no pack of that name; machines name one of {', '.join(names)}")
    slot = dispatcher.line(line).recipes.active
    before = slot.stored
    settings = changed_settings(before.settings, rooted({"pack": pack}))
    if settings != before.settings:
        dispatcher.recipes.revise(slot, {"pack": settings.pack}, who=caller.who, reason=f"pack {pack}")
    dispatcher.recipes.load(slot)
    return changed_part(before, slot.stored) | judges_by(slot), ()


def _prepare(dispatcher: Dispatcher, arguments: NamedRecipe, _caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    return {"prepared": named_part(slot.stored)}, ()


def _rename(dispatcher: Dispatcher, arguments: RenameRecipe, _caller: Caller) -> Result:
    slot = dispatcher.recipe(arguments.line, arguments.recipe, retired=True)
    before = slot.stored
    dispatcher.recipes.rename(slot, arguments.name)
    return changed_part(before, slot.stored), ()


def _retire(dispatcher: Dispatcher, arguments: RetireRecipe, _caller: Caller) -> Result:
    slot = dispatcher.recipe(arguments.line, arguments.recipe, retired=True)
    before = slot.stored
    if before.retired is not arguments.back:
        what = "is retired already" if before.retired else "is in use"
        raise RecipeError(f"recipe {before.name} of line {before.line} {what}")
    dispatcher.recipes.retire(slot, not arguments.back)
    return changed_part(before, slot.stored), ()


def _reset(dispatcher: Dispatcher, arguments: OfLine, caller: Caller) -> Result:
    """The line judges by its first recipe, as the configuration has that."""
    line = dispatcher.line(arguments.line)
    before, slot = line.recipes.active.stored, line.recipes.first
    configured = dispatcher.recipes.configured(arguments.line)
    if slot.stored.retired:
        dispatcher.recipes.retire(slot, False)
    if slot.stored.settings != configured:
        dispatcher.recipes.revise(slot, configured.model_dump(), who=caller.who, reason="as in the configuration")
    kept = dispatcher.recipes.activate(slot)
    return changed_part(before, slot.stored) | judges_by(slot) | unless_kept(kept), ()


def _diff(dispatcher: Dispatcher, arguments: CompareRecipes, _caller: Caller) -> Result:
    line = arguments.line
    first = dispatcher.recipe(line, arguments.recipe, retired=True).stored
    other = first if arguments.other is None else dispatcher.recipe(line, arguments.other, retired=True).stored
    revision = arguments.revision
    if revision is None and other is first:
        revision = max(1, first.revision - 1)
    one, two = dispatcher.database.run(
        lambda tables: (
            tables.recipes.recipe(line, first.number, revision),
            tables.recipes.recipe(line, other.number, arguments.other_revision),
        )
    )
    return {"one": named_part(one), "two": named_part(two), "differences": differences(one.settings, two.settings)}, ()


def _export(dispatcher: Dispatcher, arguments: ExportRecipe, _caller: Caller) -> Result:
    stored = dispatcher.recipe(arguments.line, arguments.recipe, retired=True).stored
    shots = dispatcher.database.read(
        lambda tables: write_recipe(arguments.folder, stored, tables.bank, tables.calibration(stored.key))
    )
    return {"recipe": named_part(stored), "folder": str(arguments.folder), "shots": shots}, ()


def _import(dispatcher: Dispatcher, arguments: ImportRecipe, caller: Caller) -> Result:
    recipes = dispatcher.line(arguments.line).recipes
    folder = read_recipe(arguments.folder)
    if arguments.pack is not None:
        folder = replace(folder, settings=changed_settings(folder.settings, rooted({"pack": arguments.pack})))
    name = arguments.name or folder.name
    taken = {slot.stored.name: slot for slot in recipes.slots}
    numbers = {slot.stored.number for slot in recipes.slots}
    if name in taken and not arguments.replace:
        raise RecipeError(
            f"line {arguments.line} has a recipe {name!r}; give the new one another --name, or change that one with "
            "--replace"
        )
    if name in taken and arguments.number is not None:
        raise RecipeError(f"recipe {name} of line {arguments.line} keeps its number; leave --number out with --replace")
    before = taken[name].stored if name in taken else None
    number = arguments.number or (None if folder.number in numbers else folder.number)
    slot = dispatcher.recipes.take_folder(
        arguments.line, folder, who=caller.who, name=name, number=number, replaced=taken.get(name)
    )
    return changed_part(before, slot.stored) | judges_by(slot) | {"shots": slot.ready.bank.shots}, ()


def rooted(changes: Mapping[str, Any]) -> Changes:
    """`changes` with the path of a pack file from the root, where one is named."""
    pack = changes.get("pack")
    if isinstance(pack, str) and is_path(pack):
        return {**changes, "pack": str(path_of(pack).absolute())}
    return dict(changes)


def named_part(stored: StoredRecipe) -> dict[str, Any]:
    """Which recipe it is, as a reply says it."""
    return {"name": stored.name, "number": stored.number, "revision": stored.revision}


def settings_part(settings: RecipeSettings) -> dict[str, Any]:
    """What a recipe says, as a reply says it."""
    return settings.model_dump(mode="json")


def differences(one: RecipeSettings, two: RecipeSettings) -> dict[str, list[Any]]:
    """What the settings say that are not the same in both, by name."""
    first, second = settings_part(one), settings_part(two)
    return {name: [first[name], second[name]] for name in first if first[name] != second[name]}


def changed_part(before: StoredRecipe | None, after: StoredRecipe) -> dict[str, Any]:
    """What a command has changed, as its reply says it."""
    changed = differences(before.settings, after.settings) if before is not None else {}
    was = named_part(before) if before is not None else None
    return {"before": was, "after": named_part(after) | {"retired": after.retired}, "differences": changed}


def judges_by(slot: RecipeSlot) -> dict[str, Any]:
    """What a line judges by now, as a reply says it."""
    recipe = slot.ready
    return {"recipe": recipe.wire.model_dump(mode="json"), "threshold": recipe.threshold}


RECIPE_COMMANDS: dict[str, Command] = {
    "recipe_list": Command(NoArguments, _list, machines=True, quick=True),
    "recipe_show": Command(ShowRecipe, _show),
    "recipe_new": Command(NewRecipe, _new, changes=True, state=of_new_recipe, limit_s=WORK_S),
    "recipe_copy": Command(CopyRecipe, _copy, changes=True, state=of_new_recipe, limit_s=WORK_S),
    "recipe_edit": Command(EditRecipe, _edit, changes=True, state=of_recipe, limit_s=WORK_S),
    "recipe_set": Command(SetRecipe, _set, changes=True, state=of_active_recipe, machines=True, limit_s=WORK_S),
    "recipe_prepare": Command(NamedRecipe, _prepare, machines=True, limit_s=WORK_S),
    "recipe_rename": Command(RenameRecipe, _rename, changes=True, state=of_renamed_recipe),
    "recipe_retire": Command(RetireRecipe, _retire, changes=True, state=of_named_recipe),
    "recipe_reset": Command(OfLine, _reset, changes=True, state=of_reset_recipe, limit_s=WORK_S),
    "recipe_export": Command(ExportRecipe, _export, limit_s=ALL_S),
    "recipe_import": Command(ImportRecipe, _import, changes=True, state=of_recipes, limit_s=ALL_S),
    "recipe_diff": Command(CompareRecipes, _diff),
}
