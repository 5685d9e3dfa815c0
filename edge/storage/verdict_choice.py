"""Which verdicts of a line are wanted, in SQL."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.clock import iso_ms

RECIPE = "coalesce(json_extract(payload, '$.recipe.name'), json_extract(payload, '$.recipe.pack'))"
"""The name of a verdict's recipe, as of `edge.storage.history.Entry`."""


@dataclass(frozen=True)
class Choice:
    """Which verdicts of a line are wanted.

    Attributes:
        since: Issued then or later.
        until: Issued before.
        kinds: Some of `normal`, `anomaly`, `error`; none: all of them.
        part_id: Of this part.
        recipe: Judged by the recipe of this name, as of `Entry`.
        min_score, max_score: With a score from the one to the other, both included.
        before: With a lower number.
    """

    since: datetime | None = None
    until: datetime | None = None
    kinds: Collection[str] = ()
    part_id: str | None = None
    recipe: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    before: int | None = None

    def condition(self, line: str) -> tuple[str, list[Any]]:
        """In SQL, and its values."""
        where, values = in_stretch(line, self.since, self.until, self.kinds)
        for condition, value in (
            ("part_id = ?", self.part_id),
            (f"{RECIPE} = ?", self.recipe),
            ("score >= ?", self.min_score),
            ("score <= ?", self.max_score),
            ("seq < ?", self.before),
        ):
            if value is not None:
                where, values = f"{where} AND {condition}", [*values, value]
        return where, values


def in_stretch(
    line: str, since: datetime | None, until: datetime | None, kinds: Collection[str] = ()
) -> tuple[str, list[Any]]:
    """The condition of a line's verdicts, issued since and until, of some kinds or of all; and its values."""
    where, values = "line = ?", [line]
    for sign, when in ((">=", since), ("<", until)):
        if when is not None:
            where, values = f"{where} AND issued_at {sign} ?", [*values, iso_ms(when)]
    if kinds:
        where, values = f"{where} AND verdict IN ({', '.join('?' * len(kinds))})", [*values, *kinds]
    return where, values
