"""Commands about what a line has judged: verdicts by what they are, and how it went over time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from edge.clock import iso_ms, utc_now
from edge.control.arguments import Moment, Number, OfLine, OfRecipe
from edge.control.calibrate_commands import scored_as_now
from edge.control.dispatcher import WORK_S, Caller, Command, CommandError, Dispatcher, Result
from edge.storage.feedback import FeedbackLog
from edge.storage.trend import Trends
from edge.storage.verdict_choice import Choice
from edge.zone import Shifts, zone_of

_SEARCHED_S = 10.0  # for which verdicts are looked for; the reply says where to go on
_SUMMED_S = 20.0
_LAST_NUMBERS = 100_000  # among which the last parts of a recipe are looked for
_RATE_S = 60.0

Score = Field(default=None, ge=0, le=1)


class ReadHistory(OfLine):
    """Verdicts of a line."""

    since: Moment | None = None
    """Issued then or later."""
    until: Moment | None = None
    """Issued before."""
    kinds: tuple[Literal["normal", "anomaly", "error"], ...] = Field(default=(), max_length=3)
    """Of these kinds; none: of all."""
    part_id: str | None = Field(default=None, max_length=200)
    """Of this part."""
    recipe: str | None = Field(default=None, max_length=255)
    """Judged by the recipe of this name."""
    min_score: float | None = Score
    """With this score or a higher one."""
    max_score: float | None = Score
    """With this score or a lower one."""
    before_seq: Number | None = None
    """With a lower number than this."""
    count: int = Field(default=100, ge=1, le=10_000)
    """The last so many."""


class SumUp(OfLine):
    """How a stretch of time was."""

    since: Moment
    """Its beginning."""
    until: Moment | None = None
    """Its end; without it, now."""
    buckets: int = Field(default=100, ge=1, le=500)
    """In so many parts of equal length."""

    @model_validator(mode="after")
    def _has_a_length(self) -> SumUp:
        if self.until is not None and self.until <= self.since:
            raise ValueError("until is not after since")
        return self


class PreviewThreshold(OfRecipe):
    """A threshold that is not set."""

    threshold: float = Field(ge=0, le=1)
    """A part whose score is at or above it would be anomalous."""
    parts: int = Field(default=1000, ge=1, le=10_000)
    """Of the last so many."""


def _history(dispatcher: Dispatcher, arguments: ReadHistory, _caller: Caller) -> Result:
    name = arguments.line
    dispatcher.line(name)
    choice = Choice(
        arguments.since,
        arguments.until,
        arguments.kinds,
        arguments.part_id,
        arguments.recipe,
        arguments.min_score,
        arguments.max_score,
        arguments.before_seq,
    )
    page = dispatcher.history.page(name, choice, arguments.count, _SEARCHED_S)
    said = FeedbackLog(dispatcher.database.folder).some(name, [entry.seq for entry in page.entries])
    verdicts = []
    for entry in page.entries:
        feedback = said.get(entry.seq)
        verdicts.append(entry.to_dict() | {"feedback": None if feedback is None else feedback.to_dict()})
    return {"verdicts": verdicts, "before_seq": page.before}, ()


def _trend(dispatcher: Dispatcher, arguments: SumUp, _caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    since, until = arguments.since, arguments.until or utc_now()
    if until <= since:
        raise CommandError("since has not come yet")
    borders = [since + (until - since) * (place / arguments.buckets) for place in range(arguments.buckets + 1)]
    found = Trends(dispatcher.database.folder).buckets(arguments.line, borders, _SUMMED_S)
    buckets = [
        {"since": iso_ms(begin)} | (bucket._asdict() if bucket is not None else {})
        for begin, bucket in zip(borders, found, strict=False)
    ]
    return {"until": iso_ms(until), "buckets": buckets, "complete": None not in found}, ()


def _shift_counts(dispatcher: Dispatcher, arguments: OfLine, _caller: Caller) -> Result:
    name, now, trends = arguments.line, utc_now(), Trends(dispatcher.database.folder)
    dispatcher.line(name)
    shifts, zone = Shifts(dispatcher.service.shifts), zone_of(dispatcher.service.zone)
    began, until = shifts.began(now, zone), now + timedelta(milliseconds=1)
    last_minute = trends.counts(name, now - timedelta(seconds=_RATE_S), until)
    return {
        "shift": shifts.of(now.astimezone(zone)),
        "since": iso_ms(began),
        "counts": trends.counts(name, began, until),
        "per_minute": sum(last_minute.values()),
    }, ()


def _threshold_preview(dispatcher: Dispatcher, arguments: PreviewThreshold, _caller: Caller) -> Result:
    slot = dispatcher.ready(arguments.line, arguments.recipe)
    after = max(0, dispatcher.line(arguments.line).seq - _LAST_NUMBERS)
    scores = [part.score for part in scored_as_now(dispatcher, slot, None, None, after)][-arguments.parts :]
    now = slot.ready.threshold

    def above(threshold: float) -> dict[str, Any]:
        count = sum(score >= threshold for score in scores)
        return {"threshold": threshold, "anomalies": count, "share": count / len(scores) if scores else None}

    return {"parts": len(scores), "then": above(arguments.threshold), "now": above(now)}, ()


HISTORY_COMMANDS: dict[str, Command] = {
    "history": Command(ReadHistory, _history),
    "trend": Command(SumUp, _trend),
    "shift_counts": Command(OfLine, _shift_counts),
    "threshold_preview": Command(PreviewThreshold, _threshold_preview, limit_s=WORK_S),
}
