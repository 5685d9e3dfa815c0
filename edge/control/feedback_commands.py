"""Commands about what people say of verdicts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from core.image import Rgb, decode, encode_png
from core.proposal import propose
from edge.control.arguments import Flags, Moment, Number, OfLine, OfRecipe
from edge.control.calibrate_commands import review_ended, scored_as_now, shots_changed
from edge.control.candidate_commands import enrolled_part
from edge.control.changes import State, recipe_state
from edge.control.dispatcher import WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.enrolment import Enrolled
from edge.control.review_queue import count_waiting
from edge.storage.feedback import FeedbackLog, Kind
from edge.storage.history import recipe_number
from edge.storage.retention import ArchiveError
from edge.tools.quality import recipes_of

if TYPE_CHECKING:
    from edge.inspection.line_recipes import RecipeSlot
    from edge.storage.history import Entry


class GiveFeedback(OfLine):
    """What a part really was."""

    seq: Number
    """The verdict's number."""
    kind: Literal["false_alarm", "missed", "right"]
    """`false_alarm`: the part was good, its picture is enrolled; `missed`: it was defective; `right`: the verdict was
    right. Of what is not enrolled the picture is kept as evidence."""
    note: str = Field(default="", max_length=500)
    """What there is to say of it."""
    enrol: bool = True
    """Whether the picture of a false alarm becomes a shot."""
    yes: Flags = ()
    """The flags in spite of which the picture is enrolled; that it is anomalous is what the feedback is about."""


class ProposeThreshold(OfRecipe):
    """A threshold that the feedback speaks for. It is not set."""

    rate: float = Field(default=0.05, gt=0, lt=1)
    """The false-alarm rate that it is to promise."""
    escapes: float | None = Field(default=None, gt=0, lt=1)
    """The share of defects like the known ones that may escape; without it that is only said."""
    since: Moment | None = None
    """From the parts of the history since then; without it, from all."""
    until: Moment | None = None
    """And until then; without it, until now."""


def _said(dispatcher: Dispatcher, arguments: GiveFeedback) -> State:
    """The `state` of feedback: what was said of the part, and the recipe that judged it."""
    slot = _judged_by(dispatcher, arguments)
    kind = dispatcher.database.run(lambda tables: tables.feedback_kind(arguments.line, arguments.seq))
    return {"feedback": kind} | recipe_state(dispatcher, slot)


def _judged_by(dispatcher: Dispatcher, arguments: GiveFeedback) -> RecipeSlot:
    name, seq = arguments.line, arguments.seq
    recipes = dispatcher.line(name).recipes
    return recipes.slot(recipe_number(dispatcher.history.payload(name, seq)["recipe"]))


def _feedback(dispatcher: Dispatcher, arguments: GiveFeedback, caller: Caller) -> Result:
    name, seq = arguments.line, arguments.seq
    slot, entry = _judged_by(dispatcher, arguments), dispatcher.history.entry(name, seq)
    kind = _kind(entry, arguments)
    enrols = kind == "false_alarm" and arguments.enrol
    picture, missing = archived(dispatcher, entry)
    if enrols and picture is None:
        raise CommandError(
            f"verdict {seq} of line {name} has no picture to enrol: {missing}; it can be said without (--no-enrol)"
        )
    if enrols:
        dispatcher.recipes.load(slot)
    ended = review_ended(slot) if enrols else []
    enrolled: list[Enrolled] = []
    with dispatcher.enrolment.changing(slot):
        if enrols and picture is not None:
            enrolled = dispatcher.enrolment.enrol(
                slot,
                [(f"verdict {seq}", picture)],
                who=caller.who,
                note=arguments.note,
                accepted={"anomalous", *arguments.yes},
            )
        shot = next((one.shot.id for one in enrolled if one.shot is not None), None)
        png = encode_png(picture, {}) if shot is None and picture is not None else None
        kept = dispatcher.database.run(
            lambda tables: tables.feed_back(
                name,
                seq,
                kind,
                who=caller.who,
                note=arguments.note,
                shot=shot,
                picture=png,
                recipe=slot.stored.number,
            )
        )
    count_waiting(dispatcher, name)  # which it may have been one of
    judged_by = dispatcher.line(name).recipes.judged_by(slot)
    return {
        "feedback": kept,
        "kind": kind,
        "score": entry.score,
        "threshold": entry.threshold,
        "threshold_now": judged_by.threshold,
        "picture": picture is not None,
        "missing": missing,
        "pictures": [enrolled_part(one) for one in enrolled],
        "bank": judged_by.bank.model_dump(),
        "notes": [] if shot is None else shots_changed(slot, ended),
    }, ()


def _kind(entry: Entry, arguments: GiveFeedback) -> Kind:
    """What is said of the part.

    Raises:
        CommandError: that cannot be said of its verdict.
    """
    verdict = f"verdict {entry.seq} of line {entry.line}"
    if entry.score is None:
        raise CommandError(f"{verdict} is an error: nothing was judged")
    if arguments.kind == "right":
        return "confirmed" if entry.verdict == "anomaly" else "confirmed_normal"
    if arguments.kind == "false_alarm" and entry.verdict != "anomaly":
        raise CommandError(f"{verdict} is {entry.verdict}, no alarm")
    if arguments.kind == "missed" and entry.verdict != "normal":
        raise CommandError(f"{verdict} is {entry.verdict}: it missed nothing")
    return arguments.kind


def archived(dispatcher: Dispatcher, entry: Entry) -> tuple[Rgb | None, str | None]:
    """A verdict's picture; or none, and why."""
    if entry.archive is None:
        return None, "it was not archived; archive.dir and archive.ok_every say what is"
    try:
        return dispatcher.archive.picture(entry.archive), None
    except ArchiveError as error:
        return None, str(error)


def _propose(dispatcher: Dispatcher, arguments: ProposeThreshold, _caller: Caller) -> Result:
    name, slot = arguments.line, dispatcher.ready(arguments.line, arguments.recipe)
    recipe, log = slot.ready, FeedbackLog(dispatcher.database.folder)
    judged_by = recipes_of(dispatcher.history, log.of(name))
    known = [entry for entry, number in judged_by.items() if entry.defective and number == slot.stored.number]
    scored = {part.number: part.score for part in scored_as_now(dispatcher, slot, arguments.since, arguments.until)}
    not_good = {entry.seq for entry in known}
    good = [score for seq, score in scored.items() if seq not in not_good]
    if not good:
        message = f"line {name} judged no part with the recipe, model, pack and shots of now; let it judge some"
        raise CommandError(message)
    defective, again = [], 0
    for entry in known:
        if entry.seq in scored:
            defective.append(scored[entry.seq])
        elif (png := log.picture(name, entry.seq)) is not None:  # other shots or another pack gave another score
            defective.append(dispatcher.enrolment.score(decode(png, f"verdict {entry.seq}"), recipe)[0])
            again += 1
    proposal = propose(good, defective, recipe.threshold, arguments.rate, arguments.escapes)
    return asdict(proposal) | {
        "agrees": proposal.agrees,
        "parts": len(good),
        "defective": len(defective),
        "scored_again": again,
        "without_picture": len(known) - len(defective),
    }, ()


FEEDBACK_COMMANDS: dict[str, Command] = {
    "feedback": Command(GiveFeedback, _feedback, changes=True, state=_said, limit_s=WORK_S),
    "threshold_propose": Command(ProposeThreshold, _propose, limit_s=WORK_S),
}
