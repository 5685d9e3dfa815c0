"""Commands about shadows: a second recipe that judges a line's parts beside the first."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from core.files import replacing
from core.image import Rgb, encode_jpeg
from core.overlay import Caption, overlay
from core.picture_files import entries
from edge.control.arguments import Folder, OfLine
from edge.control.changes import State
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, CommandError, Dispatcher, Result, unless_kept
from edge.control.recipe_commands import NamedRecipe, judges_by, named_part
from edge.control.shadow_report import agreement_part, changed_parts, feedback_part
from edge.inspection.verdict import answer_of
from edge.storage.feedback import FeedbackLog
from edge.storage.retention import ArchiveError
from edge.storage.shadow_verdicts import ComparedPart, ShadowVerdicts

if TYPE_CHECKING:
    from edge.inspection.line_recipes import LineRecipes, RecipeSlot
    from edge.storage.shadow_tables import StoredShadow

_DRAWN_S = 60.0  # how long one pass of an overlay may wait for time that no part needs


class ReportShadow(OfLine):
    """What the line's shadow, or its last one, would have changed."""

    count: int = Field(default=20, ge=0, le=10_000)
    """Of the parts on which the two differ the last so many."""
    folder: Folder | None = None
    """A new or empty one: the service writes there what both see in these parts, as far as their pictures are kept."""


class PromoteShadow(OfLine):
    """The shadow's recipe is to be the line's."""

    swap: bool = False
    """Whether the line's recipe of before is to be the shadow."""


def _start(dispatcher: Dispatcher, arguments: NamedRecipe, caller: Caller) -> Result:
    line, slot = dispatcher.line(arguments.line), dispatcher.recipe(arguments.line, arguments.recipe)
    shadow = dispatcher.shadows.start(line, slot, caller.who)
    return {"shadow": shadow_part(line.recipes, shadow.stored)}, ()


def _stop(dispatcher: Dispatcher, arguments: OfLine, caller: Caller) -> Result:
    line = dispatcher.line(arguments.line)
    return {"shadow": shadow_part(line.recipes, dispatcher.shadows.stop(line, caller.who))}, ()


def _promote(dispatcher: Dispatcher, arguments: PromoteShadow, caller: Caller) -> Result:
    line = dispatcher.line(arguments.line)
    promoted, kept = dispatcher.shadows.promote(line, caller.who, swap=arguments.swap)
    shadow = line.recipes.shadow
    return judges_by(promoted.slot) | {
        "shadow": None if shadow is None else shadow_part(line.recipes, shadow.stored)
    } | unless_kept(kept), ()


def _report(dispatcher: Dispatcher, arguments: ReportShadow, _caller: Caller) -> Result:
    name, recipes = arguments.line, dispatcher.line(arguments.line).recipes
    shadow = dispatcher.database.run(lambda tables: tables.shadows.last(name))
    verdicts, said = ShadowVerdicts(dispatcher.database.folder), FeedbackLog(dispatcher.database.folder).of(name)
    counts = agreement_part(verdicts.agreement(shadow.id, name))  # before those of the line, which may grow meanwhile
    judged = max(counts["both"], verdicts.judged(name, shadow.beside, shadow.first_seq, shadow.last_seq))
    changed = verdicts.changed(shadow.id, name, arguments.count)
    written, missing = list[str](), 0
    if arguments.folder is not None:
        written, missing = _write_overlays(dispatcher, recipes, shadow, changed, arguments.folder)
    return {
        "shadow": shadow_part(recipes, shadow),
        "parts": judged,
        "passed_over": judged - counts["both"],
        **counts,
        "feedback": feedback_part(verdicts.of(shadow.id, name, said), said),
        "changed": changed_parts(changed, said),
        "overlays": written,
        "without_picture": missing,
    }, ()


def _write_overlays(
    dispatcher: Dispatcher,
    recipes: LineRecipes,
    shadow: StoredShadow,
    parts: Sequence[ComparedPart],
    folder: Path,
) -> tuple[list[str], int]:
    """Writes what both recipes, as they are now, see in the parts; the files, and how many have no picture."""
    written, missing = list[str](), 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if entries(folder):
            raise CommandError(f"{folder} is not empty; name a new folder")
        for part in parts:
            try:
                image = None if part.archive is None else dispatcher.archive.picture(part.archive)
            except ArchiveError:  # it has had to go by now, which is the archive's to decide
                image = None
            if image is None:
                missing += 1
                continue
            slots = (recipes.slot(shadow.beside), recipes.slot(shadow.recipe))
            drawn = _side_by_side(*(_drawn(dispatcher, slot, image) for slot in slots))
            file = folder / f"{part.seq:08d}.jpg"
            with replacing(file) as draft:
                draft.write_bytes(encode_jpeg(drawn))
            written.append(str(file))
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror or error}; name another folder") from error
    return written, missing


def _drawn(dispatcher: Dispatcher, slot: RecipeSlot, image: Rgb) -> Rgb:
    recipe = dispatcher.recipes.load(slot)
    scored = dispatcher.recipes.inspect(recipe, image)
    try:
        inspection = scored.result(_DRAWN_S).inspection
    except concurrent.futures.TimeoutError:
        scored.cancel()
        raise CommandError(
            "the parts of all lines leave no time to draw; ask again when there are fewer, or without a folder"
        ) from None
    caption = Caption(
        answer_of(inspection, recipe),
        inspection.score,
        recipe.threshold,
        provisional=recipe.provisional,
        line=f"{slot.stored.line}, recipe {slot.stored.name}",
    )
    return overlay(image, inspection.heatmap, recipe.pixel_threshold, caption)


def _side_by_side(left: Rgb, right: Rgb) -> Rgb:
    """Two pictures, uint8 [H, W, 3]; the lower one is filled up with black."""
    height = max(left.shape[0], right.shape[0])
    filled = [np.pad(picture, ((0, height - picture.shape[0]), (0, 0), (0, 0))) for picture in (left, right)]
    return np.hstack(filled)


def shadow_part(recipes: LineRecipes, shadow: StoredShadow) -> dict[str, Any]:
    """A shadow as a reply says it."""
    beside = recipes.slot(shadow.beside)
    state = "ended" if not shadow.runs else "judging" if recipes.active is beside else "resting"
    return {
        "id": shadow.id,
        "state": state,
        "recipe": named_part(recipes.slot(shadow.recipe).stored),
        "beside": named_part(beside.stored),
        "started_at": shadow.started_at,
        "started_by": shadow.started_by,
        "ended_at": shadow.ended_at,
        "ended_by": shadow.ended_by,
        "first_seq": shadow.first_seq,
        "last_seq": shadow.last_seq,
    }


def _shadow_state(dispatcher: Dispatcher, arguments: OfLine) -> State:
    """Of commands that start, end or promote a shadow."""
    recipes = dispatcher.line(arguments.line).recipes
    shadow = None if recipes.shadow is None else recipes.shadow.slot.stored.name
    return {"active_recipe": recipes.active.stored.name, "shadow": shadow}


SHADOW_COMMANDS: dict[str, Command] = {
    "shadow_start": Command(NamedRecipe, _start, changes=True, state=_shadow_state, limit_s=WORK_S),
    "shadow_stop": Command(OfLine, _stop, changes=True, state=_shadow_state),
    "shadow_report": Command(ReportShadow, _report, limit_s=ALL_S),
    "shadow_promote": Command(PromoteShadow, _promote, changes=True, state=_shadow_state, limit_s=WORK_S),
}
