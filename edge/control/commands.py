"""The one table of what a console can ask of the running service, and what of it concerns the lines themselves."""

from __future__ import annotations

import concurrent.futures
from dataclasses import asdict
from pathlib import Path

from pydantic import AwareDatetime, Field

from core.image import encode_png
from core.packs import list_packs
from edge.control.dispatcher import Arguments, Asked, Command, CommandError, Desk, NoArguments, OfLine, Result
from edge.control.learn_commands import LEARN_COMMANDS
from edge.control.shot_commands import SHOT_COMMANDS, next_parts


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

    since: AwareDatetime | None = None
    """Issued then or later."""
    until: AwareDatetime | None = None
    """Issued before."""
    count: int = Field(default=100, ge=1, le=10_000)
    """The last so many."""


class Audit(Arguments):
    """Entries of the audit."""

    count: int = Field(default=20, ge=1, le=1000)
    """The last so many."""


class Backup(Arguments):
    """A copy of all that the service remembers."""

    folder: Path
    """Absolute; made if need be. The service writes `state.db` and `verdicts.db` there."""


def _status(desk: Desk, _arguments: NoArguments, _asked: Asked) -> Result:
    lines = {}
    for name, line in desk.lines.items():
        recipe, (state, reason) = line.recipe, line.state()
        lines[name] = {
            "state": state,
            "reason": reason,
            "seq": line.seq,
            "counts": line.stats_so_far(),
            "recipe": recipe.wire.model_dump(mode="json"),
            "threshold": recipe.threshold,
            "provisional": recipe.provisional,
            "bank": recipe.bank.model_dump(mode="json"),
            "weights": recipe.weights,
            "drift": asdict(recipe.drift.state) if recipe.drift is not None else None,
        }
    return {"lines": lines}, ()


def _snapshot(desk: Desk, arguments: OfLine, _asked: Asked) -> Result:
    (image, (score, peak)), *_ = next_parts(desk, arguments.line, 1, 10.0)
    return {"score": score, "peak": peak}, [encode_png(image, {})]


def _trigger(desk: Desk, arguments: Trigger, _asked: Asked) -> Result:
    ticket = desk.line(arguments.line).trigger(arguments.part_id, arguments.deadline_ms)
    assert ticket is not None
    try:
        verdict = ticket.answer.result(max(0.0, ticket.left()) + 10.0)
    except concurrent.futures.TimeoutError:
        raise CommandError(f"line {arguments.line} has not answered; is it stopping?") from None
    return {"verdict": verdict.model_dump(mode="json", exclude_none=True)}, ()


def _pause(desk: Desk, arguments: OfLine, asked: Asked) -> Result:
    desk.line(arguments.line).pause(asked.who)
    return {"state": "paused"}, ()


def _resume(desk: Desk, arguments: OfLine, _asked: Asked) -> Result:
    line = desk.line(arguments.line)
    line.resume()
    return {"state": line.state()[0]}, ()


def _recipes(desk: Desk, _arguments: NoArguments, _asked: Asked) -> Result:
    return {
        "packs": list_packs(),
        "lines": {name: line.recipe.wire.model_dump(mode="json") for name, line in desk.lines.items()},
    }, ()


def _set_recipe(desk: Desk, arguments: SetRecipe, _asked: Asked) -> Result:
    desk.line(arguments.line)
    desk.change_pack(arguments.line, arguments.pack)
    recipe = desk.line(arguments.line).recipe
    return {"recipe": recipe.wire.model_dump(mode="json"), "threshold": recipe.threshold}, ()


def _history(desk: Desk, arguments: ReadHistory, _asked: Asked) -> Result:
    desk.line(arguments.line)
    found = desk.history.verdicts(arguments.line, since=arguments.since, until=arguments.until, count=arguments.count)
    return {"verdicts": [one.to_dict() for one in found]}, ()


def _audit(desk: Desk, arguments: Audit, _asked: Asked) -> Result:
    return {"entries": desk.state.run(lambda state: state.audit(arguments.count))}, ()


def _backup(desk: Desk, arguments: Backup, _asked: Asked) -> Result:
    folder = arguments.folder
    if not folder.is_absolute():
        raise CommandError(f"{folder}: name it from the root; the service has a working directory of its own")
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}; name a folder that the service can write") from error
    files = [desk.state.backup(folder), desk.history.backup(folder)]  # beside the writers, in this thread
    return {"files": {str(path): path.stat().st_size for path in files}}, ()


COMMANDS: dict[str, Command] = {
    "status": Command(NoArguments, _status, machines=True),
    "snapshot": Command(OfLine, _snapshot),
    "trigger": Command(Trigger, _trigger),
    "pause": Command(OfLine, _pause, changes=True, machines=True),
    "resume": Command(OfLine, _resume, changes=True, machines=True),
    "recipe_list": Command(NoArguments, _recipes, machines=True),
    "recipe_set": Command(SetRecipe, _set_recipe, changes=True, machines=True),
    **SHOT_COMMANDS,
    **LEARN_COMMANDS,
    "history": Command(ReadHistory, _history),
    "audit": Command(Audit, _audit),
    "backup": Command(Backup, _backup, changes=True),
}
"""Every command by its name."""
