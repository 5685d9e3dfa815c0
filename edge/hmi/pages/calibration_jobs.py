"""Calibrations that this console has asked for: they take longer than a page waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from edge.clock import iso_ms, utc_now
from edge.hmi.formats import parsed
from edge.hmi.person import Person
from edge.hmi.refusals import Refused
from edge.hmi.service_link import ServiceLink

_SPARE_S = 60.0
_MOST_LINES = 256


@dataclass(frozen=True)
class Begun:
    """One under way.

    Attributes:
        who: Who has asked for it.
        recipe: Number of the recipe that it is of.
        wanted: Good parts that it waits for; 0 where it takes those of the history.
        rate: The false-alarm rate asked for.
    """

    who: str
    recipe: str
    wanted: int
    rate: float


@dataclass(frozen=True)
class Ended:
    """One that has ended.

    Attributes:
        recipe: Number of the recipe that it was of.
        rate: The false-alarm rate asked for.
        result: Of the command; empty where it was refused.
        refusal: Why nothing was set.
        scores: Of the parts of one that was refused after its last part.
        again: The arguments that take the same parts once more, from the history; empty where there are none.
    """

    recipe: str
    rate: float
    result: dict[str, Any]
    refusal: str | None = None
    scores: tuple[float, ...] = ()
    again: dict[str, Any] | None = None


class CalibrationJobs:
    """The last one of each line. Used in the event loop only."""

    def __init__(self) -> None:
        self._jobs: dict[str, Begun | Ended] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, link: ServiceLink, line: str, asked: dict[str, Any], person: Person) -> None:
        """Has the service calibrate; what comes of it is kept for the line's page."""
        if isinstance(self._jobs.get(line), Begun):
            return
        if len(self._jobs) >= _MOST_LINES:
            self._jobs = {name: job for name, job in self._jobs.items() if isinstance(job, Begun)}
        self._jobs[line] = Begun(person.name, asked["recipe"], asked.get("parts", 0), asked["rate"])
        task = asyncio.create_task(self._run(link, asked, person))
        self._tasks.add(task)  # the loop itself would forget it
        task.add_done_callback(self._tasks.discard)

    def of_line(self, line: str) -> Begun | Ended | None:
        """The last one that this console has asked for."""
        return self._jobs.get(line)

    async def _run(self, link: ServiceLink, asked: dict[str, Any], person: Person) -> None:
        line, began = asked["line"], utc_now()
        ended = Ended(asked["recipe"], asked["rate"], {}, "the console has failed at this; its log says how")
        try:
            patience = asked.get("timeout_s", 600.0) + _SPARE_S
            answer = await link.ask("calibrate", asked, person=person, timeout_s=patience)
            ended = Ended(asked["recipe"], asked["rate"], answer.result)
        except Refused as refused:
            ended = Ended(asked["recipe"], asked["rate"], {}, refused.message)
            if asked.get("parts"):
                ended = await self._with_parts(link, asked, iso_ms(began), ended, person)
        finally:
            self._jobs[line] = ended

    async def _with_parts(
        self, link: ServiceLink, asked: dict[str, Any], since: str, ended: Ended, person: Person
    ) -> Ended:
        """What was refused, with the parts that it was refused for, if all of them came."""
        line, wanted = asked["line"], asked["parts"]
        try:
            answer = await link.ask("history", {"line": line, "since": since, "count": 10_000}, person=person)
        except Refused:
            return ended
        parts = [part for part in reversed(answer.result["verdicts"]) if part["score"] is not None][:wanted]
        if len(parts) < wanted:
            return ended
        until = iso_ms(parsed(parts[-1]["issued_at"]) + timedelta(milliseconds=1))
        again = {"line": line, "recipe": ended.recipe, "rate": ended.rate, "since": since, "until": until}
        return Ended(ended.recipe, ended.rate, {}, ended.refusal, tuple(part["score"] for part in parts), again)
