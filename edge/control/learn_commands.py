"""Commands of a line's first days: it learns from good parts, and proposes shots from parts that nobody has sorted."""

from __future__ import annotations

import queue
from dataclasses import asdict
from typing import Any

from pydantic import Field

from core.image import Rgb, decode, encode_png
from edge.clock import monotonic
from edge.control.dispatcher import Asked, Command, Desk, OfLine, Result
from edge.control.enrolment import Enrolled
from edge.control.shot_commands import refuse_without_shots
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


class Learn(OfLine):
    """Good parts: pictures sent along, or the next ones of the line."""

    parts: int = Field(default=PARTS, ge=1, le=1000)
    """How many of the line's next parts, all of which are declared good."""
    rate: float = Field(default=RATE, gt=0, lt=1)
    """The false-alarm rate that the threshold is to promise."""
    names: tuple[str, ...] = ()
    """Of the pictures sent along."""
    sure: bool = False
    """Accept the rate that the parts can promise, where they are too few for the one asked for."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


class Suggest(OfLine):
    """Parts that would make good shots."""

    count: int = Field(default=SHOTS, ge=1, le=64)
    """How many are proposed."""
    parts: int = Field(default=PARTS, ge=2, le=200)
    """Of how many of the line's next parts."""
    enrol: bool = False
    """Enrol them, but for those that are flagged."""
    timeout_s: float = Field(default=600.0, gt=0, le=86_400)
    """How long to wait for the line's parts."""


def _learn(desk: Desk, arguments: Learn, asked: Asked) -> Result:
    refuse_taught(desk, arguments.line)
    line = desk.line(arguments.line)
    sent = len(asked.blobs)
    check_count(sent or arguments.parts, arguments.rate, arguments.sure, "good parts")
    guide = Guide(sent or arguments.parts)
    try:
        if sent:
            names = (*arguments.names, *(f"picture {place + 1}" for place in range(len(arguments.names), sent)))
            for name, blob in zip(names, asked.blobs, strict=False):
                guide.show(name, decode(blob, name))
            check_count(len(guide.kept), arguments.rate, arguments.sure, "good parts without empty scenes")
        else:
            _watch(desk, arguments, guide)
        found = learn(desk, arguments.line, guide, rate=arguments.rate, who=asked.who, progress=line.say)
    finally:
        line.say(None)
    kept = found.calibration
    return {
        "pictures": [_enrolled(one) for one in found.pictures],
        "calibration": {name: value for name, value in asdict(kept).items() if name != "scores"},
        "notes": found.notes,
        "bank": line.recipe.bank.model_dump(),
    }, ()


def _watch(desk: Desk, arguments: Learn, guide: Guide) -> None:
    """Shows the guide the line's next parts."""
    refuse_without_shots(desk, arguments.line)
    line, end = desk.line(arguments.line), monotonic() + arguments.timeout_s
    with line.watch() as seen:
        line.say(guide.words())
        while not guide.full:
            line.say(guide.show(f"line {arguments.line}", _next(seen, arguments, len(guide.kept), end)[1]))


def _suggest(desk: Desk, arguments: Suggest, asked: Asked) -> Result:
    line, end = desk.line(arguments.line), monotonic() + arguments.timeout_s
    if arguments.count > (arguments.parts + 1) // 2:
        raise FirstRunError(
            f"{arguments.count} of {arguments.parts} parts: only the half that is most typical is proposed; "
            f"ask for {2 * arguments.count} parts, or for fewer proposals"
        )
    refuse_without_shots(desk, arguments.line)
    with line.watch() as seen:
        shown: list[tuple[int, Rgb, float]] = []
        while len(shown) < arguments.parts:
            shown.append(_next(seen, arguments, len(shown), end))
    images = [image for _, image, _ in shown]
    ranked = rank(desk, images)
    chosen = choose(images, ranked.order, arguments.count)
    found: list[Enrolled] = []
    if arguments.enrol:
        pictures = [(f"line {arguments.line}, verdict {shown[one][0]}", images[one]) for one in chosen]
        found = desk.state.run(
            lambda state: desk.enrolment.enrol(
                state, arguments.line, pictures, who=asked.who, note="suggested", sure=False, accepted={"anomalous"}
            )
        )
    suggested = [{"seq": shown[one][0], "score": shown[one][2], "unlike": ranked.unlike[one]} for one in chosen]
    return {
        "suggested": suggested,
        "parts": len(shown),
        "pictures": [_enrolled(one) for one in found],
        "bank": line.recipe.bank.model_dump(),
    }, [encode_png(images[one], {}) for one in chosen]


def _next(seen: queue.SimpleQueue[Any], arguments: Learn | Suggest, count: int, end: float) -> tuple[int, Rgb, float]:
    """Sequence number, picture and score of the line's next part."""
    try:
        one = seen.get(timeout=max(0.0, end - monotonic()))
    except queue.Empty:
        raise FirstRunError(
            f"line {arguments.line} has shown {count} of {arguments.parts} parts within {arguments.timeout_s:g} s; "
            "is it running, with parts under its camera?"
        ) from None
    if one is None:
        raise FirstRunError(f"line {arguments.line} has ended after {count} of {arguments.parts} parts")
    return one.seq, one.image, one.inspection.score


def _enrolled(one: Enrolled) -> dict[str, Any]:
    return {"name": one.name, "shot": one.shot.id if one.shot else None, "flags": [asdict(flag) for flag in one.flags]}


LEARN_COMMANDS: dict[str, Command] = {
    "learn": Command(Learn, _learn, changes=True),
    "suggest": Command(Suggest, _suggest, changes=True),
}
