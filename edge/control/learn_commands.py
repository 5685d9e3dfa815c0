"""Commands of a line's first days: it learns from good parts, and proposes shots from parts that nobody has sorted."""

from __future__ import annotations

from pydantic import Field

from edge.control.arguments import Names, OfRecipe
from edge.control.calibrate_commands import calibration_part
from edge.control.candidate_commands import (
    candidate_part,
    enrolled_part,
    hold,
    require_room,
    sent_pictures,
)
from edge.control.changes import of_recipe
from edge.control.dispatcher import WORK_S, Caller, Command, Dispatcher, Result
from edge.control.kept_pictures import KeptPictures
from edge.control.next_parts import NextParts, next_parts
from edge.inspection.line_recipes import RecipeSlot
from edge.storage.candidates import MOST
from edge.tools.first_run import (
    PARTS,
    RATE,
    SHOTS,
    FirstRunError,
    Guide,
    check_count,
    choose,
    learn,
    rank,
    refuse_taught,
)


class Learn(OfRecipe):
    """Good parts: pictures sent along, or the next ones of the line."""

    parts: int = Field(default=PARTS, ge=1, le=1000)
    """How many of the line's next parts, all of which are declared good."""
    rate: float = Field(default=RATE, gt=0, lt=1)
    """The false-alarm rate that the threshold is to promise."""
    names: Names = ()
    """Of the pictures sent along."""
    accept: float | None = Field(default=None, gt=0, le=1)
    """The highest rate that may be set, where the parts are too few for the one asked for."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


class Suggest(OfRecipe):
    """Parts that would make good shots."""

    count: int = Field(default=SHOTS, ge=1, le=MOST)
    """How many are proposed, and held."""
    parts: int = Field(default=PARTS, ge=2, le=200)
    """Of how many of the line's next parts."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


def _learn(dispatcher: Dispatcher, arguments: Learn, caller: Caller) -> Result:
    line, slot = dispatcher.line(arguments.line), dispatcher.ready(arguments.line, arguments.recipe)
    refuse_taught(slot)
    sent = len(caller.blobs)
    check_count(sent or arguments.parts, arguments.rate, arguments.accept, "good parts")
    guide, check = Guide(sent or arguments.parts), lambda: None
    try:
        if sent:
            for name, image in sent_pictures(caller.blobs, arguments.names):
                guide.show(name, image)
            check_count(len(guide.kept), arguments.rate, arguments.accept, "good parts without empty scenes")
        else:
            check = _watch(dispatcher, slot, arguments, guide).check
        found = learn(dispatcher, slot, guide, rate=arguments.rate, who=caller.who, progress=line.say, check=check)
    finally:
        line.say(None)
    return {
        "pictures": [enrolled_part(enrolled) for enrolled in found.pictures],
        "calibration": calibration_part(found.calibration),
        "notes": found.notes,
        "bank": slot.ready.bank.model_dump(),
        "smallest_defect": slot.ready.smallest_defect(),
    }, ()


def _watch(dispatcher: Dispatcher, slot: RecipeSlot, arguments: Learn, guide: Guide) -> NextParts:
    """Shows the guide the line's next parts, which it returns."""
    line = dispatcher.line(arguments.line)
    with next_parts(dispatcher, slot, arguments.parts, arguments.timeout_s) as parts:
        line.say(guide.words())
        while not guide.full:
            line.say(guide.show(f"line {arguments.line}", parts.next(len(guide.kept)).image))
    return parts


def _suggest(dispatcher: Dispatcher, arguments: Suggest, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    if arguments.count > (arguments.parts + 1) // 2:
        raise FirstRunError(
            f"{arguments.count} of {arguments.parts} parts: only the half that is most typical is proposed; "
            f"ask for {2 * arguments.count} parts, or for fewer proposals"
        )
    require_room(dispatcher, slot, arguments.count)  # before anybody waits for the parts
    kept, seqs, scores = KeptPictures(), list[int](), list[float]()
    with next_parts(dispatcher, slot, arguments.parts, arguments.timeout_s) as parts:
        while len(kept) < arguments.parts:
            seen = parts.next(len(kept))
            kept.append(f"line {arguments.line}, verdict {seen.seq}", seen.image)
            seqs.append(seen.seq)
            scores.append(seen.inspection.score)
    ranked = rank(dispatcher, slot, kept.images())
    chosen = choose(kept.images(), ranked.order, arguments.count)
    with dispatcher.enrolment.changing(slot):
        parts.check()
        held = hold(dispatcher, slot, (kept[place] for place in chosen), caller, "suggested")
    suggested = [
        {"seq": seqs[place], "score": scores[place], "unlike": ranked.unlike[place], "candidate": candidate.id}
        for place, candidate in zip(chosen, held, strict=True)
    ]
    pictures = [candidate_part(candidate) for candidate in held]
    return {"suggested": suggested, "parts": len(kept), "pictures": pictures}, ()


LEARN_COMMANDS: dict[str, Command] = {
    "learn": Command(Learn, _learn, changes=True, state=of_recipe, limit_s=WORK_S),
    "suggest": Command(Suggest, _suggest, changes=True, state=of_recipe, limit_s=WORK_S),
}
