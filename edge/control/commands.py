"""The one table of what a console can ask of the running service, and what of it concerns the lines themselves."""

from __future__ import annotations

import concurrent.futures
from dataclasses import asdict

from pydantic import Field

from core.database.database import DatabaseError
from core.image import encode_png
from core.packs.pack import is_path, list_packs, path_of
from edge.control.arguments import Arguments, Folder, Moment, NoArguments, OfLine
from edge.control.changes import State
from edge.control.command_queue import LIMIT_S
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, CommandError, Dispatcher, Result, of_line
from edge.control.feedback_commands import FEEDBACK_COMMANDS
from edge.control.learn_commands import LEARN_COMMANDS
from edge.control.next_parts import next_parts
from edge.control.shot_commands import SHOT_COMMANDS, score_and_peak
from edge.storage.backup import write_backup
from edge.topics import line_name


class Trigger(OfLine):
    """A part to judge now."""

    part_id: str = Field(min_length=1, max_length=200)
    """What its verdict will name."""
    deadline_ms: int | None = Field(default=None, ge=10, le=600_000)
    """By when, milliseconds from now; the line's own without it."""


class SetRecipe(OfLine):
    """Another pack."""

    pack: str = Field(min_length=1, max_length=4096)
    """Its name, or the path of a pack file."""


class ReadHistory(OfLine):
    """Verdicts of a line."""

    since: Moment | None = None
    """Issued then or later."""
    until: Moment | None = None
    """Issued before."""
    count: int = Field(default=100, ge=1, le=10_000)
    """The last so many."""


class Audit(Arguments):
    """Entries of the audit."""

    count: int = Field(default=20, ge=1, le=1000)
    """The last so many."""


class Backup(Arguments):
    """A copy of all that the service remembers."""

    folder: Folder
    """A new or empty one. The service writes `state.db` and `verdicts.db` there."""


def _status(dispatcher: Dispatcher, _arguments: NoArguments, _caller: Caller) -> Result:
    lines = {}
    for name, line in dispatcher.lines.items():
        recipe = line.recipe
        lines[name] = line.health().model_dump(mode="json") | {
            "seq": line.seq,
            "counts": line.stats_so_far(),
            "recipe": recipe.wire.model_dump(mode="json"),
            "threshold": recipe.threshold,
            "provisional": recipe.provisional,
            "method": {
                "name": recipe.model.method,
                "head": recipe.model.head,
                "remark": recipe.inspector.remark or None,
                "text_half": recipe.inspector.keeps_text_half,
            },
            "bank": recipe.bank.model_dump(mode="json"),
            "weights": recipe.weights,
            "smallest_defect": recipe.smallest_defect(),
            "drift": asdict(recipe.drift.state) if recipe.drift is not None else None,
        }
    return {"lines": lines}, ()


def _snapshot(dispatcher: Dispatcher, arguments: OfLine, _caller: Caller) -> Result:
    with next_parts(dispatcher, arguments.line, 1, 10.0) as parts:
        seen = parts.next(0)
    score, peak = score_and_peak(seen)
    return {"score": score, "peak": peak}, [encode_png(seen.image, {})]


def _trigger(dispatcher: Dispatcher, arguments: Trigger, _caller: Caller) -> Result:
    part = dispatcher.line(arguments.line).trigger(arguments.part_id, arguments.deadline_ms)
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
    return {"state": line.health().state} | _unless(kept), ()


def _resume(dispatcher: Dispatcher, arguments: OfLine, _caller: Caller) -> Result:
    name, line = arguments.line, dispatcher.line(arguments.line)
    with dispatcher.pausing:
        line.resume()
        kept = dispatcher.keep(name, lambda tables: tables.set_paused(name, None), f"line {name} was resumed")
    return {"state": line.health().state} | _unless(kept), ()


def _unless(kept: bool) -> dict[str, bool]:
    """What a reply says besides, where the disk did not take what was set."""
    return {} if kept else {"kept": False}


def _recipes(dispatcher: Dispatcher, _arguments: NoArguments, _caller: Caller) -> Result:
    return {
        "packs": list_packs(),
        "lines": {name: line.recipe.wire.model_dump(mode="json") for name, line in dispatcher.lines.items()},
    }, ()


def _set_recipe(dispatcher: Dispatcher, arguments: SetRecipe, caller: Caller) -> Result:
    pack, names = arguments.pack, list_packs()
    if caller.asker.machine and pack not in names:  # no word on files: a machine is not to find out which there are
        raise CommandError(f"no pack of that name; machines name one of {', '.join(names)}")
    if is_path(pack):
        pack = str(path_of(pack).absolute())
    return _change_pack(dispatcher, arguments.line, pack)


def _reset_recipe(dispatcher: Dispatcher, arguments: OfLine, _caller: Caller) -> Result:
    return _change_pack(dispatcher, arguments.line, None)


def _change_pack(dispatcher: Dispatcher, name: str, pack: str | None) -> Result:
    """Has the line judge by a pack, None: by the configured one, now and after a restart."""
    line = dispatcher.line(name)
    configured = dispatcher.configured_packs[name]
    with dispatcher.enrolment.changing(name):
        dispatcher.change_pack(name, pack or configured)
        kept = dispatcher.keep(
            name, lambda tables: tables.set_pack(name, pack, configured), f"line {name} judges by {pack or configured}"
        )
    recipe = line.recipe
    return {"recipe": recipe.wire.model_dump(mode="json"), "threshold": recipe.threshold} | _unless(kept), ()


def _settings_of(dispatcher: Dispatcher, arguments: OfLine) -> State:
    """What is kept of a line that may not be configured."""
    name = arguments.line
    return dispatcher.database.run(lambda tables: {"paused": tables.paused(name), "pack": tables.pack(name)})


def _forget_line(dispatcher: Dispatcher, arguments: OfLine, _caller: Caller) -> Result:
    name = line_name(arguments.line)
    if name in dispatcher.lines:
        raise CommandError(f"line {name} is configured; take it out of the configuration first, and start again")
    dispatcher.forget(name)
    dispatcher.database.run(lambda tables: tables.forget_settings(name))
    return {"line": name}, ()


def _history(dispatcher: Dispatcher, arguments: ReadHistory, _caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    found = dispatcher.history.verdicts(
        arguments.line, since=arguments.since, until=arguments.until, count=arguments.count
    )
    return {"verdicts": [entry.to_dict() for entry in found]}, ()


def _audit(dispatcher: Dispatcher, arguments: Audit, _caller: Caller) -> Result:
    return {"entries": dispatcher.database.run(lambda tables: tables.audit(arguments.count))}, ()


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
    "snapshot": Command(OfLine, _snapshot),
    "trigger": Command(Trigger, _trigger, limit_s=WORK_S + LIMIT_S),
    "pause": Command(OfLine, _pause, changes=True, state=of_line, machines=True, quick=True),
    "resume": Command(OfLine, _resume, changes=True, state=of_line, machines=True, quick=True),
    "recipe_list": Command(NoArguments, _recipes, machines=True, quick=True),
    "recipe_set": Command(SetRecipe, _set_recipe, changes=True, state=of_line, machines=True, limit_s=WORK_S),
    "recipe_reset": Command(OfLine, _reset_recipe, changes=True, state=of_line, limit_s=WORK_S),
    "line_forget": Command(OfLine, _forget_line, changes=True, state=_settings_of),
    **SHOT_COMMANDS,
    **LEARN_COMMANDS,
    **FEEDBACK_COMMANDS,
    "history": Command(ReadHistory, _history),
    "audit": Command(Audit, _audit),
    "backup": Command(Backup, _backup, changes=True, limit_s=ALL_S),
}
"""Every command by its name."""
