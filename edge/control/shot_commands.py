"""Commands about normal shots, and the thresholds and feedback that come of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from core.bank.shot_folder import export_shots
from core.image import Rgb, encode_png
from edge.clock import iso_ms
from edge.control.arguments import Arguments, Flags, Folder, Number, OfLine, OfRecipe
from edge.control.calibrate_commands import calibration_part, review_ended
from edge.control.candidate_commands import enrolled_part
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.enrolment import Enrolled
from edge.control.review_queue import count_waiting
from edge.settings_recipe import FIRST
from edge.storage.recipe_tables import recipe_of_key
from edge.storage.retention import ArchiveError

if TYPE_CHECKING:
    from core.bank.memory_bank import Shot
    from edge.storage.history import Entry


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


class Feedback(OfLine):
    """What a verdict was really about."""

    seq: Number
    """The verdict's number."""
    kind: Literal["false_alarm", "missed"]
    """`false_alarm`: the part was good, its picture is enrolled; `missed`: it was defective, evidence is kept."""
    note: str = Field(default="", max_length=500)
    """What there is to say of it."""
    yes: Flags = ()
    """The flags in spite of which the picture is enrolled; that it is anomalous is what the feedback is about."""


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


def _remove(dispatcher: Dispatcher, arguments: OfShot, caller: Caller) -> Result:
    return {"shot": _shot_part(dispatcher.enrolment.remove(arguments.shot, caller.who))}, ()


def _restore(dispatcher: Dispatcher, arguments: OfShot, caller: Caller) -> Result:
    return {"shot": _shot_part(dispatcher.enrolment.restore(arguments.shot, caller.who))}, ()


def _reembed(dispatcher: Dispatcher, arguments: OfRecipe, _caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    return {"shots": [shot.id for shot in dispatcher.enrolment.embed_missing(slot)]}, ()


def _threshold(dispatcher: Dispatcher, arguments: Threshold, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    ended = review_ended(slot)
    kept = dispatcher.enrolment.set_threshold(slot, arguments.threshold, caller.who)
    return {"calibration": calibration_part(kept), "notes": ended}, ()


def _feedback(dispatcher: Dispatcher, arguments: Feedback, caller: Caller) -> Result:
    line = dispatcher.line(arguments.line)
    entry = dispatcher.history.entry(arguments.line, arguments.seq)
    if entry.score is None:
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is an error: nothing was judged")
    if arguments.kind == "false_alarm" and entry.verdict != "anomaly":
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is {entry.verdict}, no alarm")
    if arguments.kind == "missed" and entry.verdict != "normal":
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is {entry.verdict}: it missed nothing")
    picture, missing = archived(dispatcher, entry)
    if arguments.kind == "false_alarm" and picture is None:
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} has no picture to enrol: {missing}")
    name = f"verdict {arguments.seq}"
    judged_by = dispatcher.history.payload(arguments.line, arguments.seq)["recipe"]
    slot = line.recipes.slot(judged_by.get("number") or FIRST)  # before there were recipes it was the first one
    if arguments.kind == "false_alarm":
        dispatcher.recipes.load(slot)

    found: list[Enrolled] = []
    with dispatcher.enrolment.changing(slot):
        if arguments.kind == "false_alarm" and picture is not None:
            found = dispatcher.enrolment.enrol(
                slot,
                [(name, picture)],
                who=caller.who,
                note=arguments.note,
                accepted={"anomalous", *arguments.yes},
            )
        shot = next((enrolled.shot.id for enrolled in found if enrolled.shot is not None), None)
        png = encode_png(picture, {}) if arguments.kind == "missed" and picture is not None else None
        kept = dispatcher.database.run(
            lambda tables: tables.feed_back(
                arguments.line,
                arguments.seq,
                arguments.kind,
                who=caller.who,
                note=arguments.note,
                shot=shot,
                picture=png,
            )
        )
    count_waiting(dispatcher, arguments.line)  # which it may have been one of
    return {
        "feedback": kept,
        "score": entry.score,
        "threshold": entry.threshold,
        "threshold_now": line.recipes.judged_by(slot).threshold,
        "picture": picture is not None,
        "missing": missing,
        "pictures": [enrolled_part(enrolled) for enrolled in found],
        "bank": line.recipes.judged_by(slot).bank.model_dump(),
    }, ()


def archived(dispatcher: Dispatcher, entry: Entry) -> tuple[Rgb | None, str | None]:
    """A verdict's picture; or none, and why."""
    if entry.archive is None:
        return None, "it was not archived; archive.dir and archive.ok_every say what is"
    try:
        return dispatcher.archive.picture(entry.archive), None
    except ArchiveError as error:
        return None, str(error)


def _export(dispatcher: Dispatcher, arguments: OfFolder, _caller: Caller) -> Result:
    key = dispatcher.recipe(arguments.line, arguments.recipe, retired=True).stored.key
    shots = dispatcher.database.read(lambda tables: export_shots(tables.bank, key, arguments.folder))
    return {"shots": [shot.id for shot in shots]}, ()


def _import(dispatcher: Dispatcher, arguments: OfFolder, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    shots = dispatcher.enrolment.import_folder(slot, arguments.folder, caller.who)
    return {"shots": [shot.id for shot in shots], "bank": slot.ready.bank.model_dump()}, ()


def _shot_part(shot: Shot) -> dict[str, Any]:
    line, number = recipe_of_key(shot.line)
    known = asdict(shot) | {"line": line, "recipe": number, "added_at": iso_ms(shot.added_at)}
    return known | {"removed_at": iso_ms(shot.removed_at) if shot.removed_at else None}


SHOT_COMMANDS: dict[str, Command] = {
    "shots_list": Command(ListShots, _shots),
    "shots_show": Command(OfShot, _show_shot),
    "shots_remove": Command(OfShot, _remove, changes=True, limit_s=WORK_S),
    "shots_restore": Command(OfShot, _restore, changes=True, limit_s=WORK_S),
    "shots_reembed": Command(OfRecipe, _reembed, changes=True, limit_s=ALL_S),
    "shots_export": Command(OfFolder, _export, limit_s=ALL_S),
    "shots_import": Command(OfFolder, _import, changes=True, limit_s=ALL_S),
    "threshold": Command(Threshold, _threshold, changes=True, limit_s=WORK_S),
    "feedback": Command(Feedback, _feedback, changes=True, limit_s=WORK_S),
}
