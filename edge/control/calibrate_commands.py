"""Commands about a line's calibration: from good parts to a threshold with a promise, with each part in view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from core.autocorrelation import autocorrelation_time
from core.calibration import Promise, promise
from core.outliers import RULE, find_outliers
from edge.clock import iso_ms, utc_now
from edge.control.arguments import Moment, Number, OfLine, OfRecipe
from edge.control.calibration_runs import CalibrationRun
from edge.control.changes import State, of_recipe
from edge.control.dispatcher import WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.next_parts import next_parts
from edge.inspection.line_recipes import RecipeSlot
from edge.inspection.recipe import Seen
from edge.storage.history import ScoredPart, UnknownVerdictError
from edge.storage.settings_database import LineCalibration

_MOST_LEFT_OUT = 1000


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
    without: tuple[Number, ...] = Field(default=(), max_length=_MOST_LEFT_OUT)
    """Verdicts of that stretch to leave out; those that feedback calls defective are left out anyway."""
    accept: float | None = Field(default=None, gt=0, le=1)
    """The highest rate that may be set, where the parts are too few for the one asked for."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


class CalibrationState(OfLine):
    """How far a calibration is."""

    after: int = Field(default=0, ge=0)
    """So many of its parts are known already, and are not told again."""


def _calibrate(dispatcher: Dispatcher, arguments: Calibrate, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    if arguments.parts and (arguments.since or arguments.until):
        raise CommandError("calibrate takes parts or a stretch of the history, not both")
    if arguments.until and not arguments.since:
        raise CommandError("until says where a stretch of the history ends; say with since where it begins")
    if arguments.without and not arguments.since:
        raise CommandError(
            "without leaves verdicts out of a stretch of the history; say with since where it begins. A shot is left "
            "out when it is put aside: `alfa-edge shots remove`"
        )
    if arguments.parts:
        _suffice(promise(arguments.parts, arguments.rate), arguments)  # before anybody waits for them
    before = slot.ready.scores_are_of
    with dispatcher.calibrations.begin(arguments.line, caller.who, arguments.parts) as run:
        if arguments.parts:
            _watch(dispatcher, slot, arguments, run)
        with dispatcher.enrolment.changing(slot):
            if slot.ready.scores_are_of != before:
                raise CommandError(
                    f"the shots, or what recipe {slot.stored.name} of line {arguments.line} judges by, changed "
                    "meanwhile; calibrate again"
                )
            left_out: dict[int, str] = {}
            if arguments.since is not None:
                parts, left_out, source = _from_history(dispatcher, slot, arguments, arguments.since)
                kind, remedy = "seq", ""
            elif arguments.parts:
                parts, source, kind, remedy = run.parts(), "parts declared good", "seq", ""
            else:
                parts, remedy = _from_shots(dispatcher, slot, arguments)
                source, kind = "shots, each against the others", "shot"
            scores = [part.score for part in parts]
            _suffice(promise(len(parts), arguments.rate, autocorrelation_time(scores)), arguments, remedy)
            run.settle()
            ended = review_ended(slot)
            pairs = [(part.score, part.peak) for part in parts]
            kept = dispatcher.enrolment.calibrate(slot, pairs, arguments.rate, source, caller.who)
            drift = slot.ready.drift
    notes = ended + ([drift.state.unwatched] if drift is not None and drift.state.unwatched else [])
    return {
        "calibration": calibration_part(kept),
        "notes": notes,
        "parts": [{kind: part.number, "score": part.score} for part in parts],
        "outliers": _outliers(parts, kind),
        "left_out": [{"seq": seq, "why": why} for seq, why in left_out.items()],
        "stretch": _stretch(dispatcher, arguments, parts) if kind == "seq" else None,
    }, ()


def _watch(dispatcher: Dispatcher, slot: RecipeSlot, arguments: Calibrate, run: CalibrationRun) -> None:
    """Shows the run the line's next parts."""
    with next_parts(dispatcher, slot, arguments.parts, arguments.timeout_s, run.go_on) as parts:
        while (count := len(run.parts())) < arguments.parts:
            seen = parts.next_by_now(count)
            run.add(ScoredPart(seen.seq, *score_and_peak(seen)))


def _from_shots(dispatcher: Dispatcher, slot: RecipeSlot, arguments: Calibrate) -> tuple[list[ScoredPart], str]:
    """The shots, each against the others, and what there is to do where they are too few."""
    shots, enrolment = slot.ready.bank.shots, dispatcher.enrolment
    if shots > 1:  # of one or none there is nothing to leave out
        _suffice(promise(shots, arguments.rate), arguments)
    pairs = enrolment.leave_one_out(slot)
    numbers = enrolment.shots_left_out(slot.ready)
    parts = [ScoredPart(number, score, peak) for number, (score, peak) in zip(numbers, pairs, strict=True)]
    if len(parts) == shots:
        return parts, ""
    return parts, f"no more of the {shots} shots are compared; calibrate on its parts (--parts)"


def _from_history(
    dispatcher: Dispatcher, slot: RecipeSlot, arguments: Calibrate, since: datetime
) -> tuple[list[ScoredPart], dict[int, str], str]:
    """What parts of the history scored that were judged as the recipe judges now; which are left out, and why.

    Raises:
        CommandError: there is none, or not one that is to be left out.
    """
    until = arguments.until or utc_now()
    parts = scored_as_now(dispatcher, slot, since, until)
    stretch = f"from {iso_ms(since)} to {iso_ms(until)}"
    if not parts:
        message = f"line {arguments.line} judged no part {stretch} with the recipe, model, pack and shots of now"
        raise CommandError(message)
    seqs = {part.number for part in parts}
    if strangers := [str(seq) for seq in arguments.without if seq not in seqs]:
        raise CommandError(
            f"verdict {', '.join(strangers)} of line {arguments.line} is none of those {stretch} that were judged "
            "with the recipe, model, pack and shots of now"
        )
    defective = dispatcher.database.read(lambda tables: tables.defective(arguments.line))
    left_out = dict.fromkeys(sorted(seqs & defective), "feedback calls it defective")
    left_out |= dict.fromkeys(arguments.without, "as asked")
    source = f"parts of the history {stretch}, declared good"
    if left_out:
        source += f", without {len(left_out)} of {len(parts)}"
    return [part for part in parts if part.number not in left_out], left_out, source


def scored_as_now(
    dispatcher: Dispatcher, slot: RecipeSlot, since: datetime | None, until: datetime | None, after: int = 0
) -> list[ScoredPart]:
    """The parts of a stretch of the history that were judged as the recipe judges now, the oldest first; only those
    with a number above `after`.
    """
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
        after=after,
    )


def _suffice(found: Promise, arguments: Calibrate, remedy: str = "") -> None:
    """Raises CommandError: good parts cannot promise the rate, and nobody has accepted what they can."""
    if found.met or (arguments.accept is not None and found.rate <= arguments.accept):
        return
    can, more = f"{100 * found.rate:.3g} %", f"show it {found.needed - found.count} more ({found.takes} in all)"
    raise CommandError(
        f"{found.subject} {can}, not the {100 * found.requested:.3g} % asked for: {remedy or more}, "
        f"or accept {can} with --accept {acceptable(found.rate)}"
    )


def acceptable(rate: float) -> str:
    """A rate that is no lower, as a person would type it."""
    return f"{math.ceil(round(rate * 1e4, 6)) / 1e4:g}"


def _outliers(parts: Sequence[ScoredPart], kind: str) -> dict[str, Any] | None:
    """The parts that stand out, and by which rule; None where there are too few to tell."""
    found = find_outliers([part.score for part in parts])
    if found is None:
        return None
    standing_out = [{kind: parts[place].number, "score": parts[place].score} for place in found.places]
    return {"rule": RULE, "above": found.fence, "parts": standing_out}


def _stretch(dispatcher: Dispatcher, arguments: Calibrate, parts: Sequence[ScoredPart]) -> dict[str, str] | None:
    """Where in the history the parts are, so that they can be taken again; None where it does not have them."""
    if arguments.since is not None:
        return {"since": iso_ms(arguments.since), "until": iso_ms(arguments.until or utc_now())}
    try:
        first, last = (dispatcher.history.entry(arguments.line, parts[place].number).issued_at for place in (0, -1))
    except UnknownVerdictError:
        return None
    return {"since": iso_ms(first), "until": iso_ms(last + timedelta(milliseconds=1))}


def _state(dispatcher: Dispatcher, arguments: CalibrationState, _caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    run = dispatcher.calibrations.of_line(arguments.line)
    if run is None:
        return {"running": False}, ()
    parts = [{"seq": part.number, "score": part.score} for part in run.parts(arguments.after)]
    began = iso_ms(run.began_at)
    return {"running": True, "who": run.who, "began_at": began, "wanted": run.wanted, "parts": parts}, ()


def _cancel(dispatcher: Dispatcher, arguments: OfLine, caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    run = dispatcher.calibrations.of_line(arguments.line)
    if run is None:
        raise CommandError(f"no calibration of line {arguments.line} is under way")
    run.cancel(caller.who)
    return {"parts": len(run.parts()), "wanted": run.wanted}, ()


def review_ended(slot: RecipeSlot) -> list[str]:
    """What there is to say where another threshold ends the recipe's review."""
    line = slot.stored.line
    if slot.ready.review_below is None:
        return []
    return [
        f"the review of line {line} has ended with the calibration that its borders came from; set them again: "
        f"`alfa-edge review set --line {line} --recipe {slot.stored.number}`"
    ]


def shots_changed(slot: RecipeSlot, ended: Sequence[str]) -> list[str]:
    """What there is to say where other shots end the recipe's calibration.

    Args:
        slot: The recipe, as its shots are now.
        ended: What `review_ended` said before they changed.
    """
    loaded, stored = slot.loaded, slot.stored
    if loaded is None or loaded.uncalibrated or not loaded.provisional:
        return []
    return [
        f"recipe {stored.name} of line {stored.line} keeps its threshold, which promises nothing any more: its shots "
        f"have changed; calibrate anew: `alfa-edge calibrate --line {stored.line} --recipe {stored.number}`",
        *ended,
    ]


def _running(dispatcher: Dispatcher, arguments: OfLine) -> State:
    """The `state` of a calibration: whose it is."""
    run = dispatcher.calibrations.of_line(arguments.line)
    return {"calibration_of": None if run is None else run.who}


def calibration_part(kept: LineCalibration) -> dict[str, Any]:
    """A calibration as a reply says it."""
    return {name: value for name, value in asdict(kept).items() if name != "scores"}


def score_and_peak(seen: Seen) -> tuple[float, float]:
    """S of a part, and the peak of its heatmap."""
    return seen.inspection.score, float(seen.inspection.patch_map.max())


CALIBRATE_COMMANDS: dict[str, Command] = {
    "calibrate": Command(Calibrate, _calibrate, changes=True, state=of_recipe, limit_s=WORK_S),
    "calibration_state": Command(CalibrationState, _state, quick=True),
    "calibration_cancel": Command(OfLine, _cancel, changes=True, state=_running, quick=True),
}
