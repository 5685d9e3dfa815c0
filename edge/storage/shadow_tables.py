"""The shadows of all lines in `state.db`: which recipe judged beside which, from when to when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from core.database.database import Database
from edge.clock import iso_ms, utc_now


class NoShadowError(LookupError, ValueError):
    """The line has no such shadow; the message says how to start one."""


@dataclass(frozen=True)
class StoredShadow:
    """A recipe that judges the parts of a line a second time.

    Attributes:
        id: Its number, which no other shadow ever has.
        line: Whose parts.
        recipe: The number of the recipe that judges them a second time.
        beside: The number of the recipe that the line judges them by. Parts that it judges by another are not compared.
        first_seq: Of the first verdict that may be compared.
        started_at, started_by: When, as ISO 8601, and who.
        ended_at, ended_by: The same of its end; None while it runs.
        last_seq: Of the last verdict that may be compared; None while it runs.
    """

    id: int
    line: str
    recipe: int
    beside: int
    first_seq: int
    started_at: str
    started_by: str
    ended_at: str | None
    ended_by: str | None
    last_seq: int | None

    @property
    def runs(self) -> bool:
        """Whether nobody has ended it."""
        return self.ended_at is None


class ShadowTables:
    """The table; for the thread of the connection. Whatever changes it is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def running(self, line: str) -> StoredShadow | None:
        """The line's shadow; None: it has none."""
        found = self._shadows("WHERE line = ? AND ended_at IS NULL", line)
        return found[0] if found else None

    def last(self, line: str) -> StoredShadow:
        """The line's last shadow, which may have ended.

        Raises:
            NoShadowError: it never had one.
        """
        found = self._shadows("WHERE line = ? ORDER BY id DESC LIMIT 1", line)
        if not found:
            raise NoShadowError(f"line {line} never had a shadow; `alfa-edge shadow start RECIPE` starts one")
        return found[0]

    def start(self, line: str, recipe: int, beside: int, *, seq: int, who: str) -> StoredShadow:
        """Begins a shadow with the verdict after `seq`, and ends the one that runs."""
        row = {"line": line, "recipe": recipe, "beside": beside, "first_seq": seq + 1}
        row |= {"started_at": iso_ms(utc_now()), "started_by": who}
        with self._database.transaction():
            self.end(line, seq=seq, who=who)
            cast(Any, self._database.tables["shadows"]).insert(row)
            return self.last(line)

    def end(self, line: str, *, seq: int, who: str) -> StoredShadow | None:
        """Ends the line's shadow with the verdict `seq`; as it is now, or None where none runs."""
        running = self.running(line)
        if running is None:
            return None
        row = [iso_ms(utc_now()), who, seq, running.id]
        with self._database.transaction():
            query = "UPDATE shadows SET ended_at = ?, ended_by = ?, last_seq = ? WHERE id = ?"
            self._database.tables.execute(query, row)
            return self.last(line)

    def _shadows(self, which: str, *values: Any) -> list[StoredShadow]:
        rows = self._database.tables.query(f"SELECT * FROM shadows {which}", values)
        return [StoredShadow(**cast("Mapping[str, Any]", row)) for row in rows]
