"""The one table of what a console can ask of the running service, and what of it concerns the lines themselves."""

from __future__ import annotations

import concurrent.futures
from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field

from core.database.database import DatabaseError
from core.image import encode_jpeg, encode_png
from core.overlay import outlined
from edge.control.arguments import Arguments, Folder, NoArguments, OfLine
from edge.control.calibrate_commands import CALIBRATE_COMMANDS, score_and_peak
from edge.control.candidate_commands import CANDIDATE_COMMANDS
from edge.control.changes import State
from edge.control.command_queue import LIMIT_S
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, CommandError, Dispatcher, Result, unless_kept
from edge.control.feedback_commands import FEEDBACK_COMMANDS
from edge.control.history_commands import HISTORY_COMMANDS
from edge.control.learn_commands import LEARN_COMMANDS
from edge.control.next_parts import next_parts
from edge.control.picture_commands import PICTURE_COMMANDS
from edge.control.recipe_commands import RECIPE_COMMANDS
from edge.control.review_commands import REVIEW_COMMANDS
from edge.control.service_commands import SERVICE_COMMANDS
from edge.control.shadow_commands import SHADOW_COMMANDS, shadow_part
from edge.control.shot_commands import SHOT_COMMANDS
from edge.inspection.recipe import LoadedRecipe
from edge.messages import RecipeChoice
from edge.storage.backup import write_backup
from edge.storage.settings_database import SettingsTables
from edge.topics import line_name


class Trigger(OfLine):
    """A part to judge now."""

    part_id: str = Field(min_length=1, max_length=200)
    """What its verdict will name."""
    deadline_ms: int | None = Field(default=None, ge=10, le=600_000)
    """By when, milliseconds from now; the line's own without it."""
    recipe: RecipeChoice | None = None
    """Name or number of its recipe, which is the line's from then on."""


class Snapshot(OfLine):
    """The picture of the next part."""

    crop: bool = False
    """Only the inspected region, as it is judged; without it the whole frame, with the region drawn."""
    format: Literal["jpeg", "png"] = "jpeg"
    """Of the picture; a PNG is without loss."""


class Backup(Arguments):
    """A copy of all that the service remembers."""

    folder: Folder
    """A new or empty one. The service writes `state.db` and `verdicts.db` there."""


def _status(dispatcher: Dispatcher, _arguments: NoArguments, _caller: Caller) -> Result:
    lines = {}
    for name, line in dispatcher.lines.items():
        active = line.recipes.active
        judged_by, recipe = line.recipes.judged_by(active), active.loaded
        drift, shadow = recipe.drift if recipe is not None else None, line.recipes.shadow
        lines[name] = line.health().model_dump(mode="json") | {
            "seq": line.seq,
            "counts": line.stats_so_far(),
            "recipe": judged_by.wire.model_dump(mode="json"),
            "threshold": judged_by.threshold,
            "provisional": judged_by.provisional,
            "review_below": recipe.review_below if recipe is not None else None,
            "in_review": line.in_review,
            "method": _method_part(recipe) if recipe is not None else None,
            "bank": judged_by.bank.model_dump(mode="json"),
            "weights": recipe.weights if recipe is not None else {},
            "smallest_defect": recipe.smallest_defect() if recipe is not None else None,
            "drift": asdict(drift.state) if drift is not None else None,
            "shadow": None
            if shadow is None
            else shadow_part(line.recipes, shadow.stored) | {"counts": dict(line.shadow_counts)},
        }
    return {"lines": lines}, ()


def _method_part(recipe: LoadedRecipe) -> dict[str, Any]:
    return {
        "name": recipe.model.method,
        "head": recipe.model.head,
        "remark": recipe.inspector.remark or None,
        "text_half": recipe.inspector.keeps_text_half,
    }


def _snapshot(dispatcher: Dispatcher, arguments: Snapshot, _caller: Caller) -> Result:
    with next_parts(dispatcher, dispatcher.ready(arguments.line), 1, 10.0) as parts:
        seen = parts.next(0)
    score, peak = score_and_peak(seen)
    image = seen.image if arguments.crop else outlined(seen.frame, seen.region)
    height, width = image.shape[:2]
    picture = encode_png(image) if arguments.format == "png" else encode_jpeg(image)
    return {"seq": seen.seq, "score": score, "peak": peak, "width": width, "height": height}, [picture]


def _trigger(dispatcher: Dispatcher, arguments: Trigger, _caller: Caller) -> Result:
    part = dispatcher.line(arguments.line).trigger(arguments.part_id, arguments.deadline_ms, arguments.recipe)
    assert part is not None
    try:
        verdict = part.answer.result(max(0.0, part.left()) + 10.0)
    except concurrent.futures.TimeoutError:
        raise CommandError(f"line {arguments.line} has not answered; is it stopping?") from None
    return {"verdict": verdict.model_dump(mode="json", exclude_none=True)}, ()


def _pause(dispatcher: Dispatcher, arguments: OfLine, caller: Caller) -> Result:
    name, line = arguments.line, dispatcher.line(arguments.line)
    with dispatcher.pausing:
        line.pause(caller.who)
        kept = dispatcher.keep(
            name, lambda tables: tables.set_paused(name, caller.who), f"line {name} is paused by {caller.who}"
        )
    return {"state": line.health().state} | unless_kept(kept), ()


def _resume(dispatcher: Dispatcher, arguments: OfLine, _caller: Caller) -> Result:
    name, line = arguments.line, dispatcher.line(arguments.line)
    with dispatcher.pausing:
        line.resume()
        kept = dispatcher.keep(name, lambda tables: tables.set_paused(name, None), f"line {name} was resumed")
    return {"state": line.health().state} | unless_kept(kept), ()


def _paused(dispatcher: Dispatcher, arguments: OfLine) -> State:
    return {"paused": dispatcher.line(arguments.line).paused}


def _settings_of(dispatcher: Dispatcher, arguments: OfLine) -> State:
    """What is kept of a line that may not be configured."""
    return dispatcher.database.run(lambda tables: {"paused": tables.paused(arguments.line)})


def _forget_line(dispatcher: Dispatcher, arguments: OfLine, caller: Caller) -> Result:
    name = line_name(arguments.line)
    if name in dispatcher.lines:
        raise CommandError(f"line {name} is configured; take it out of the configuration first, and start again")
    dispatcher.forget(name)
    seq = dispatcher.history.last_seq(name)

    def forget(tables: SettingsTables) -> None:
        tables.forget_settings(name)
        tables.shadows.end(name, seq=seq, who=caller.who)

    dispatcher.database.run(forget)
    return {"line": name}, ()


def _backup(dispatcher: Dispatcher, arguments: Backup, _caller: Caller) -> Result:
    folder = arguments.folder
    try:
        made = write_backup(folder, dispatcher.database, dispatcher.history)  # beside the writers, in this thread
    except DatabaseError as error:
        raise CommandError(str(error)) from error
    return {
        "files": {str(folder / name): size for name, size in made.sizes.items()},
        "installation": made.installation,
        "lines": {line: asdict(number) for line, number in made.lines.items()},
        "verdicts": made.verdicts,
        "shots": made.shots,
    }, ()


COMMANDS: dict[str, Command] = {
    "status": Command(NoArguments, _status, machines=True, quick=True),
    "snapshot": Command(Snapshot, _snapshot),
    "trigger": Command(Trigger, _trigger, limit_s=WORK_S + LIMIT_S),
    "pause": Command(OfLine, _pause, changes=True, state=_paused, machines=True, quick=True),
    "resume": Command(OfLine, _resume, changes=True, state=_paused, machines=True, quick=True),
    "line_forget": Command(OfLine, _forget_line, changes=True, state=_settings_of),
    **RECIPE_COMMANDS,
    **SHADOW_COMMANDS,
    **CANDIDATE_COMMANDS,
    **SHOT_COMMANDS,
    **CALIBRATE_COMMANDS,
    **REVIEW_COMMANDS,
    **LEARN_COMMANDS,
    **FEEDBACK_COMMANDS,
    **HISTORY_COMMANDS,
    **PICTURE_COMMANDS,
    **SERVICE_COMMANDS,
    "backup": Command(Backup, _backup, changes=True, limit_s=ALL_S),
}
"""Every command by its name."""
