"""Commands about what people say of verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from core.image import Rgb, encode_png
from edge.control.arguments import Number, OfLine
from edge.control.dispatcher import WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.control.enrolment import Enrolled
from edge.control.shot_commands import enrolled_part
from edge.storage.retention import ArchiveError

if TYPE_CHECKING:
    from edge.storage.history import Entry


class Feedback(OfLine):
    """What a verdict was really about."""

    seq: Number
    """The verdict's number."""
    kind: Literal["false_alarm", "missed"]
    """`false_alarm`: the part was good, its picture is enrolled; `missed`: it was defective, evidence is kept."""
    note: str = Field(default="", max_length=500)
    """What there is to say of it."""
    sure: bool = False
    """Enrol the picture even if it is flagged as blurred, badly exposed or a near-duplicate."""


def _feedback(dispatcher: Dispatcher, arguments: Feedback, caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    entry = dispatcher.history.entry(arguments.line, arguments.seq)
    if entry.score is None:
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is an error: nothing was judged")
    if arguments.kind == "false_alarm" and entry.verdict != "anomaly":
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is {entry.verdict}, no alarm")
    if arguments.kind == "missed" and entry.verdict != "normal":
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} is {entry.verdict}: it missed nothing")
    picture, missing = _archived(dispatcher, entry)
    if arguments.kind == "false_alarm" and picture is None:
        raise CommandError(f"verdict {arguments.seq} of line {arguments.line} has no picture to enrol: {missing}")
    name = f"verdict {arguments.seq}"

    found: list[Enrolled] = []
    with dispatcher.enrolment.changing(arguments.line):
        if arguments.kind == "false_alarm" and picture is not None:
            found = dispatcher.enrolment.enrol(
                arguments.line,
                [(name, picture)],
                who=caller.who,
                note=arguments.note,
                sure=arguments.sure,
                accepted={"anomalous"},  # that it looks so is what the feedback is about
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
    return {
        "feedback": kept,
        "score": entry.score,
        "threshold": entry.threshold,
        "threshold_now": dispatcher.line(arguments.line).recipe.threshold,
        "picture": picture is not None,
        "missing": missing,
        "pictures": [enrolled_part(enrolled) for enrolled in found],
        "bank": dispatcher.line(arguments.line).recipe.bank.model_dump(),
    }, ()


def _archived(dispatcher: Dispatcher, entry: Entry) -> tuple[Rgb | None, str | None]:
    """A verdict's picture; or none, and why."""
    if entry.archive is None:
        return None, "it was not archived; archive.dir and archive.ok_every say what is"
    try:
        return dispatcher.archive.picture(entry.archive), None
    except ArchiveError as error:
        return None, str(error)


FEEDBACK_COMMANDS: dict[str, Command] = {
    "feedback": Command(Feedback, _feedback, changes=True, limit_s=WORK_S),
}
