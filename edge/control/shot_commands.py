"""Commands about normal shots, and the thresholds that come of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.autocorrelation import autocorrelation_time
from core.bank.shot_folder import export_shots
from core.calibration import Promise, promise
from core.image import Rgb, decode, encode_png
from edge.clock import iso_ms, utc_now
from edge.control.arguments import Arguments, Folder, Moment, Names, Number, OfRecipe
from edge.control.changes import State, of_recipe, recipe_state
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.enrolment import Enrolled
from edge.control.kept_pictures import KeptPictures
from edge.control.next_parts import next_parts
from edge.storage.recipe_tables import recipe_of_key
from edge.storage.settings_database import LineCalibration

if TYPE_CHECKING:
    from core.bank.memory_bank import Shot
    from edge.inspection.line_recipes import RecipeSlot
    from edge.inspection.recipe import Seen
    from edge.storage.history import ScoredPart


class OfShot(Arguments):
    """A shot."""

    shot: Number
    """Its number."""


class ListShots(OfRecipe):
    """Shots of a recipe."""

    all: bool = False
    """Removed ones too."""


class Enrol(OfRecipe):
    """Pictures to enrol: those sent along, or the next ones of the line."""

    shots: int = Field(default=0, ge=0, le=64)
    """How many of the line's next parts; 0 with pictures sent along."""
    names: Names = ()
    """Of the pictures sent along."""
    note: str = Field(default="", max_length=500)
    """What there is to say of them."""
    sure: bool = False
    """Enrol pictures that are flagged, too."""
    timeout_s: float = Field(default=30.0, gt=0, le=600)
    """How long to wait for the line's parts."""


class OfFolder(OfRecipe):
    """A recipe's shots in a folder."""

    folder: Folder
    """Absolute; the service reads or writes it."""


class Calibrate(OfRecipe):
    """Where a threshold is to come from."""

    rate: float = Field(default=0.05, gt=0, lt=1)
    """The false-alarm rate that it is to promise."""
    parts: int = Field(default=0, ge=0, le=10_000)
    """From so many of the line's next parts, all of which must be good; 0: from its shots, each against the others."""
    since: Moment | None = None
    """From the parts of the history since then, all of which must have been good."""
    until: Moment | None = None
    """And until then; without it, until now."""
    sure: bool = False
    """Accept the rate that the parts can promise, where they are too few for the one asked for."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


class Threshold(OfRecipe):
    """A threshold set by hand."""

    threshold: float = Field(ge=0, le=1)
    """A part whose score is at or above it is anomalous."""


def _enrol(dispatcher: Dispatcher, arguments: Enrol, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    if bool(arguments.shots) == bool(caller.blobs):
        raise CommandError("enroll takes pictures, or a number of the line's next parts; one of the two")
    pictures: Iterator[tuple[str, Rgb]]
    if arguments.shots:
        kept = KeptPictures()
        with next_parts(dispatcher, slot, arguments.shots, arguments.timeout_s) as parts:
            while len(kept) < arguments.shots:
                kept.append(f"line {arguments.line}", parts.next_by_now(len(kept)).image)
        pictures = iter(kept)
    else:
        for _ in sent_pictures(caller.blobs, arguments.names):  # all of them, before the first is enrolled
            pass
        pictures = sent_pictures(caller.blobs, arguments.names)
    found = dispatcher.enrolment.enrol(slot, pictures, who=caller.who, note=arguments.note, sure=arguments.sure)
    return {
        "pictures": [enrolled_part(enrolled) for enrolled in found],
        "bank": slot.ready.bank.model_dump(),
        "smallest_defect": slot.ready.smallest_defect(),
    }, ()


def sent_pictures(blobs: Sequence[bytes], names: Sequence[str]) -> Iterator[tuple[str, Rgb]]:
    """The pictures that were sent along, and their names, one by one: decoded, all of them may be gigabytes.

    Raises:
        ImageError: one is no picture.
    """
    for place, blob in enumerate(blobs):
        name = names[place] if place < len(names) else f"picture {place + 1}"
        yield name, decode(blob, name)


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
    line, number = recipe_of_key(shot.line)
    of_its_recipe = {}
    if line in dispatcher.lines:
        of_its_recipe = recipe_state(dispatcher, dispatcher.line(line).recipes.slot(number))
    return {"active": shot.active} | of_its_recipe


def _remove(dispatcher: Dispatcher, arguments: OfShot, caller: Caller) -> Result:
    return {"shot": _shot_part(dispatcher.enrolment.remove(arguments.shot, caller.who))}, ()


def _restore(dispatcher: Dispatcher, arguments: OfShot, caller: Caller) -> Result:
    return {"shot": _shot_part(dispatcher.enrolment.restore(arguments.shot, caller.who))}, ()


def _reembed(dispatcher: Dispatcher, arguments: OfRecipe, _caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    return {"shots": [shot.id for shot in dispatcher.enrolment.embed_missing(slot)]}, ()


def _calibrate(dispatcher: Dispatcher, arguments: Calibrate, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    remedy = ""
    before = (slot.ready.bank, slot.ready.wire.pack_sha256)
    if arguments.parts and (arguments.since or arguments.until):
        raise CommandError("calibrate takes parts or a stretch of the history, not both")
    if arguments.until and not arguments.since:
        raise CommandError("until says where a stretch of the history ends; say with since where it begins")
    scores: list[tuple[float, float]] = []
    source = "parts declared good"
    if arguments.parts:
        _suffice(promise(arguments.parts, arguments.rate), arguments)  # before anybody waits for them
        with next_parts(dispatcher, slot, arguments.parts, arguments.timeout_s) as parts:
            while len(scores) < arguments.parts:
                scores.append(score_and_peak(parts.next_by_now(len(scores))))
    enrolment = dispatcher.enrolment
    with enrolment.changing(slot):
        recipe = slot.ready
        if (recipe.bank, recipe.wire.pack_sha256) != before:
            raise CommandError(f"the shots or the pack of line {arguments.line} changed meanwhile; calibrate again")
        if arguments.since is not None:
            scores, source = _from_history(dispatcher, slot, arguments, arguments.since)
        elif not arguments.parts:
            if recipe.bank.shots > 1:  # of one or none there is nothing to leave out
                _suffice(promise(recipe.bank.shots, arguments.rate), arguments)
            scores, source = enrolment.leave_one_out(slot), "shots, each against the others"
            if len(scores) < recipe.bank.shots:  # more of them would not help
                remedy = f"no more of the {recipe.bank.shots} shots are compared; calibrate on its parts (--parts)"
        time = autocorrelation_time([score for score, _ in scores])
        _suffice(promise(len(scores), arguments.rate, time), arguments, remedy)
        kept = enrolment.calibrate(slot, scores, arguments.rate, source, caller.who)
        drift = slot.ready.drift
    notes = [drift.state.unwatched] if drift is not None and drift.state.unwatched else []
    return {"calibration": calibration_part(kept), "notes": notes}, ()


def _suffice(found: Promise, arguments: Calibrate, remedy: str = "") -> None:
    """Raises CommandError: good parts cannot promise the rate, and nobody has accepted what they can."""
    if found.met or arguments.sure:
        return
    can, more = f"{100 * found.rate:.3g} %", f"show it {found.needed - found.count} more ({found.takes} in all)"
    raise CommandError(
        f"{found.subject} {can}, not the {100 * found.requested:.3g} % asked for: {remedy or more}, "
        f"or accept {can} with --yes"
    )


def _threshold(dispatcher: Dispatcher, arguments: Threshold, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    kept = dispatcher.enrolment.set_threshold(slot, arguments.threshold, caller.who)
    return {"calibration": calibration_part(kept)}, ()


def _from_history(
    dispatcher: Dispatcher, slot: RecipeSlot, arguments: Calibrate, since: datetime
) -> tuple[list[tuple[float, float]], str]:
    """What parts of the history scored that were judged as the recipe judges now."""
    until = arguments.until or utc_now()
    scores = [(part.score, part.peak) for part in scored_as_now(dispatcher, slot, since, until)]
    stretch = f"from {iso_ms(since)} to {iso_ms(until)}"
    if not scores:
        message = f"line {arguments.line} judged no part {stretch} with the recipe, model, pack and shots of now"
        raise CommandError(message)
    return scores, f"parts of the history {stretch}, declared good"


def scored_as_now(
    dispatcher: Dispatcher, slot: RecipeSlot, since: datetime | None, until: datetime | None
) -> list[ScoredPart]:
    """The parts of the history that were judged as the recipe judges now, the oldest first."""
    recipe = slot.ready
    return dispatcher.history.scores(
        slot.stored.line,
        since=since,
        until=until,
        fingerprint=recipe.model.fingerprint,
        pack_sha256=recipe.wire.pack_sha256,
        bank_revision=recipe.bank.revision,
        basis=recipe.wire.basis,
        tiles=recipe.wire.tiles,
        number=slot.stored.number,
    )


def _export(dispatcher: Dispatcher, arguments: OfFolder, _caller: Caller) -> Result:
    key = dispatcher.recipe(arguments.line, arguments.recipe, retired=True).stored.key
    shots = dispatcher.database.read(lambda tables: export_shots(tables.bank, key, arguments.folder))
    return {"shots": [shot.id for shot in shots]}, ()


def _import(dispatcher: Dispatcher, arguments: OfFolder, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    shots = dispatcher.enrolment.import_folder(slot, arguments.folder, caller.who)
    return {"shots": [shot.id for shot in shots], "bank": slot.ready.bank.model_dump()}, ()


def calibration_part(kept: LineCalibration) -> dict[str, Any]:
    """A calibration as a reply says it."""
    return {name: value for name, value in asdict(kept).items() if name != "scores"}


def score_and_peak(seen: Seen) -> tuple[float, float]:
    """S of a part, and the peak of its heatmap."""
    return seen.inspection.score, float(seen.inspection.patch_map.max())


def enrolled_part(enrolled: Enrolled) -> dict[str, Any]:
    """A picture that was shown, and what became of it, as a reply says it."""
    shot = enrolled.shot.id if enrolled.shot else None
    return {"name": enrolled.name, "shot": shot, "flags": [asdict(flag) for flag in enrolled.flags]}


def _shot_part(shot: Shot) -> dict[str, Any]:
    line, number = recipe_of_key(shot.line)
    known = asdict(shot) | {"line": line, "recipe": number, "added_at": iso_ms(shot.added_at)}
    return known | {"removed_at": iso_ms(shot.removed_at) if shot.removed_at else None}


SHOT_COMMANDS: dict[str, Command] = {
    "enroll": Command(Enrol, _enrol, changes=True, state=of_recipe, limit_s=WORK_S),
    "shots_list": Command(ListShots, _shots),
    "shots_show": Command(OfShot, _show_shot),
    "shots_remove": Command(OfShot, _remove, changes=True, state=_of_shot, limit_s=WORK_S),
    "shots_restore": Command(OfShot, _restore, changes=True, state=_of_shot, limit_s=WORK_S),
    "shots_reembed": Command(OfRecipe, _reembed, changes=True, state=of_recipe, limit_s=ALL_S),
    "shots_export": Command(OfFolder, _export, limit_s=ALL_S),
    "shots_import": Command(OfFolder, _import, changes=True, state=of_recipe, limit_s=ALL_S),
    "calibrate": Command(Calibrate, _calibrate, changes=True, state=of_recipe, limit_s=WORK_S),
    "threshold": Command(Threshold, _threshold, changes=True, state=of_recipe, limit_s=WORK_S),
}
