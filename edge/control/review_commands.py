"""Commands about a line's review: its two borders, the parts that wait for a person, and what they say of them."""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import Field

from core.image import encode_png, read
from core.picture_files import pictures_of
from core.review import Borders, borders_by_escape_rate, borders_by_review_rate, review_share
from edge.control.arguments import Folder, Number, OfLine, OfRecipe
from edge.control.calibrate_commands import calibration_part
from edge.control.candidate_commands import candidate_part, hold, require_room
from edge.control.changes import State, of_recipe
from edge.control.dispatcher import ALL_S, WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.feedback_commands import archived
from edge.control.review_queue import count_waiting, waiting
from edge.inspection.line_recipes import RecipeSlot
from edge.settings_recipe import FIRST
from edge.storage.history import Entry

_PACE = 200  # verdicts that a line's rate is measured on


class SetReview(OfRecipe):
    """Two rates that the borders are to keep."""

    false_alarm_rate: float = Field(gt=0, lt=1)
    """The share of good parts that may be rejected without a person's look."""
    review_rate: float | None = Field(default=None, gt=0, lt=1)
    """The share of good parts that people may have to look at; or `escape_rate`."""
    escape_rate: float | None = Field(default=None, gt=0, lt=1)
    """The share of bad parts that may pass; takes `bad`."""
    bad: Folder | None = None
    """A folder with pictures of bad parts, as different as those to come, which the service reads."""
    sure: bool = False
    """Set them; without it, only what they would be is said."""


class ListReview(OfLine):
    """Parts that wait for a person."""

    count: int = Field(default=100, ge=1, le=1000)
    """The first so many, the oldest first."""


class OfVerdict(OfLine):
    """A part that waits for a person."""

    seq: Number
    """Its verdict's number."""


class Answer(OfVerdict):
    """What a person says of a part."""

    good: bool
    """Whether it is."""
    note: str = Field(default="", max_length=500)
    """What there is to say of it."""
    hold: bool = False
    """Hold the picture of a good part as a candidate for the shots."""


def _set(dispatcher: Dispatcher, arguments: SetReview, caller: Caller) -> Result:
    slot, enrolment = dispatcher.ready(arguments.line, arguments.recipe), dispatcher.enrolment
    if (arguments.review_rate is None) == (arguments.escape_rate is None):
        raise CommandError("review_set takes a review_rate, or an escape_rate with bad parts; one of the two")
    if (arguments.escape_rate is None) != (arguments.bad is None):
        raise CommandError("an escape_rate takes a folder of bad parts (bad), and a review_rate none")
    with enrolment.changing(slot):
        kept = enrolment.calibration(slot.ready)
        if kept is None:
            raise CommandError(
                f"line {arguments.line} has no calibration on good parts that holds; `alfa-edge calibrate` makes one"
            )
        bad: list[float] = []
        if arguments.review_rate is not None:
            borders = borders_by_review_rate(kept.scores, arguments.false_alarm_rate, arguments.review_rate)
        else:
            assert arguments.escape_rate is not None
            assert arguments.bad is not None
            bad = _scores_of(dispatcher, slot, arguments.bad)
            borders = borders_by_escape_rate(kept.scores, bad, arguments.false_alarm_rate, arguments.escape_rate)
        source = _in_words(borders)
        if borders.upper > 1:
            raise CommandError("good parts score 1, the most that any part can: no border is above them")
        if borders.stopped_rate >= 1:
            raise CommandError(
                "all good parts score at or above the lower border, so that none would pass: ask for a higher "
                "escape_rate, or enrol more good parts that differ"
            )
        if arguments.sure:
            changed = replace(
                kept,
                threshold=borders.lower,
                rate=borders.stopped_rate,
                review_below=borders.upper,
                rejected_rate=borders.false_alarm_rate,
                escape_rate=borders.escape_rate,
                source=source,
            )
            enrolment.keep(slot, changed, caller.who)
    share_of_good, pace = review_share(borders, kept.scores), _parts_per_hour(dispatcher, arguments.line)
    return {
        "set": arguments.sure,
        "borders": asdict(borders),
        "source": source,
        "share_of_good": share_of_good,
        "share_of_bad": review_share(borders, bad) if bad else None,
        "parts_per_hour": pace,
        "reviews_per_hour": None if pace is None else pace * share_of_good,
        "threshold": slot.ready.threshold,
        "archive": dispatcher.archive.keeps,
    }, ()


def _scores_of(dispatcher: Dispatcher, slot: RecipeSlot, folder: Path) -> list[float]:
    """What the line says of the pictures of bad parts.

    Raises:
        CommandError: the folder has none, or one shows another region than the line inspects.
    """
    recipe, scores = slot.ready, list[float]()
    try:
        paths = pictures_of([folder])
    except OSError as error:
        raise CommandError(f"{error.strerror or error}; name a folder that the service can read: {folder}") from error
    for path in paths:
        image = read(path)
        flags, score = dispatcher.enrolment.check(recipe, image)
        if (size := next((flag for flag in flags if flag.code == "size"), None)) is not None:
            raise CommandError(f"{path}: {size.message}")
        scores.append(dispatcher.enrolment.score(image, recipe)[0] if score is None else score)
    return scores


def _in_words(borders: Borders) -> str:
    """What the borders promise, as every verdict says it."""
    stopped, rejected = f"{100 * borders.stopped_rate:.3g} %", f"{100 * borders.false_alarm_rate:.3g} %"
    if borders.escape_rate is None:
        promised = f"of good parts at most {stopped} stopped, {rejected} without review"
        return f"review: {promised}, from {borders.good} good parts"
    promised = f"of good parts at most {rejected} stopped without review, of bad parts at most "
    promised += f"{100 * borders.escape_rate:.3g} % passed"
    return f"review: {promised}, from {borders.good} good and {borders.bad} bad parts"


def _parts_per_hour(dispatcher: Dispatcher, line: str) -> float | None:
    """By the median pause between the last verdicts, so that stops do not count; None where there are too few."""
    issued = [entry.issued_at for entry in dispatcher.history.verdicts(line, count=_PACE)]
    pauses = [(later - earlier).total_seconds() for later, earlier in itertools.pairwise(issued)]
    pause = median(pauses) if pauses else 0.0
    return 3600 / pause if pause > 0 else None


def _off(dispatcher: Dispatcher, arguments: OfRecipe, caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    with dispatcher.enrolment.changing(slot):
        kept = dispatcher.enrolment.calibration(slot.ready)
        if kept is None or kept.rate is None or kept.review_below is None:
            raise CommandError(f"line {arguments.line} has no review that holds now")
        source = f"{100 * kept.rate:.3g} % false alarms, the lower border of the review that {caller.who} has ended"
        kept = replace(kept, review_below=None, rejected_rate=None, escape_rate=None, source=source)
        dispatcher.enrolment.keep(slot, kept, caller.who)
    return {"calibration": calibration_part(kept)}, ()


def _list(dispatcher: Dispatcher, arguments: ListReview, _caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    found = count_waiting(dispatcher, arguments.line)
    listed = [_part(dispatcher, dispatcher.history.entry(arguments.line, seq)) for seq in found[: arguments.count]]
    return {"waiting": len(found), "parts": listed}, ()


def _part(dispatcher: Dispatcher, entry: Entry) -> dict[str, Any]:
    payload = dispatcher.history.payload(entry.line, entry.seq)
    borders = {"threshold": entry.threshold, "review_below": payload.get("review_below")}
    known = {name: value for name, value in entry.to_dict().items() if name in ("seq", "issued_at", "part_id", "score")}
    return known | borders | {"picture": entry.archive is not None}


def _show(dispatcher: Dispatcher, arguments: OfVerdict, _caller: Caller) -> Result:
    entry = _waiting_entry(dispatcher, arguments)
    picture, missing = archived(dispatcher, entry)
    verdict = dispatcher.history.payload(arguments.line, arguments.seq)
    return {"verdict": verdict, "missing": missing}, [] if picture is None else [encode_png(picture, {})]


def _answer(dispatcher: Dispatcher, arguments: Answer, caller: Caller) -> Result:
    entry = _waiting_entry(dispatcher, arguments)
    picture, missing = archived(dispatcher, entry)
    if arguments.hold and not arguments.good:
        raise CommandError("only a good part is held as a candidate for the shots")
    if arguments.hold and picture is None:
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} has no picture to hold: {missing}")
    judged_by = dispatcher.history.payload(arguments.line, arguments.seq)["recipe"].get("number") or FIRST
    slot = dispatcher.line(arguments.line).recipes.slot(judged_by)
    if arguments.hold:
        dispatcher.recipes.load(slot)
        require_room(dispatcher, slot, 1)
    png = None if picture is None else encode_png(picture, {})
    kept = dispatcher.database.run(
        lambda tables: tables.feed_back(
            arguments.line,
            arguments.seq,
            "false_alarm" if arguments.good else "confirmed",
            who=caller.who,
            note=arguments.note,
            shot=None,
            picture=png,
            recipe=judged_by,
        )
    )
    held = []
    if arguments.hold and picture is not None:
        name = f"verdict {arguments.seq}"
        held = hold(dispatcher, slot, [(name, picture)], caller, arguments.note)
    left = count_waiting(dispatcher, arguments.line)
    candidates = [candidate_part(candidate) for candidate in held]
    return {"feedback": kept, "missing": missing, "pictures": candidates, "waiting": len(left)}, ()


def _said(dispatcher: Dispatcher, arguments: Answer) -> State:
    """The `state` of an answer: what was said of the part."""
    return {"feedback": dispatcher.database.run(lambda tables: tables.feedback_kind(arguments.line, arguments.seq))}


def _waiting_entry(dispatcher: Dispatcher, arguments: OfVerdict) -> Entry:
    """Raises CommandError: the part does not wait for a person."""
    dispatcher.line(arguments.line)
    entry = dispatcher.history.entry(arguments.line, arguments.seq)
    if arguments.seq not in (found := waiting(dispatcher, arguments.line)):
        raise CommandError(
            f"verdict {arguments.seq} of line {arguments.line} does not wait for review: it never did, or was answered "
            f"already; {len(found)} wait"
        )
    return entry


REVIEW_COMMANDS: dict[str, Command] = {
    "review_set": Command(SetReview, _set, changes=True, state=of_recipe, limit_s=ALL_S),
    "review_off": Command(OfRecipe, _off, changes=True, state=of_recipe, limit_s=WORK_S),
    "review_list": Command(ListReview, _list),
    "review_show": Command(OfVerdict, _show),
    "review_answer": Command(Answer, _answer, changes=True, state=_said, limit_s=WORK_S),
}
