"""Pictures that wait in `state.db` for a person to take them as shots, or to drop them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from core.bank.shot_checks import Flag
from core.database.database import Database
from edge.clock import iso_ms
from edge.storage.verdict_tables import stamp

MOST = 64
"""Candidates that a recipe holds at a time."""
LIFE = timedelta(days=7)
"""After which nobody takes a candidate any more."""


class CandidateError(ValueError):
    """There is no such candidate, or no room for one more; the message says what to do."""


@dataclass(frozen=True)
class Candidate:
    """A picture that may become a shot.

    Attributes:
        id: Its number, which no other candidate ever has.
        line: Key of the recipe whose shot it would be, as `edge.storage.recipe_tables.recipe_key` makes it.
        held_at: UTC.
        who: Who has shown it.
        source: Where the picture came from.
        note: What was said of it; may be empty.
        width, height: Pixels.
        score: What the line's scoring said of it, in [0, 1]; None where there was no shot to compare it with.
        flags: What speaks against it.
    """

    id: int
    line: str
    held_at: datetime
    who: str
    source: str
    note: str
    width: int
    height: int
    score: float | None
    flags: tuple[Flag, ...]


_COLUMNS = ", ".join(Candidate.__dataclass_fields__)


class Candidates:
    """The candidates of all recipes, each under the recipe's key; for the thread of the database's connection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold(
        self,
        line: str,
        png: bytes,
        *,
        size: tuple[int, int],
        at: datetime,
        who: str,
        source: str,
        note: str,
        score: float | None,
        flags: Sequence[Flag],
    ) -> Candidate:
        """Holds a picture (PNG, `size` is its height and width); one that is held already is held anew.

        Raises:
            CandidateError: The recipe has no room for one more.
        """
        row: dict[str, Any] = {"line": line, "held_at": iso_ms(at), "who": who, "source": source, "note": note}
        row |= {"height": size[0], "width": size[1], "score": score, "flags": _json(flags), "picture": png}
        digest = hashlib.sha256(png).hexdigest()
        with self._database.transaction():
            tables = self._database.tables
            tables.execute("DELETE FROM candidates WHERE held_at < ?", [iso_ms(at - LIFE)])
            tables.execute("DELETE FROM candidates WHERE line = ? AND sha256 = ?", [line, digest])
            if self.room(line, at) == 0:
                raise CandidateError(
                    f"{MOST} candidates are held already: take or drop some (`alfa-edge shots take`, `shots drop`)"
                )
            number = cast(Any, tables["candidates"]).insert(row | {"sha256": digest}).last_pk
            return self.get(int(number))

    def room(self, line: str, now: datetime) -> int:
        """How many more the recipe may hold; those that are too old take none."""
        return max(0, MOST - len(self.numbers(line, now)))

    def numbers(self, line: str, now: datetime) -> list[int]:
        """Those of a recipe that are not too old, the oldest first."""
        query = "SELECT id FROM candidates WHERE line = ? AND held_at >= ? ORDER BY id"
        return [int(row["id"]) for row in self._database.tables.query(query, [line, iso_ms(now - LIFE)])]

    def get(self, candidate: int) -> Candidate:
        """The candidate of a number.

        Raises:
            CandidateError: There is none.
        """
        return _candidate(self._row(_COLUMNS, candidate))

    def png(self, candidate: int) -> bytes:
        """Its picture as a PNG file.

        Raises:
            CandidateError: There is no such candidate.
        """
        return bytes(self._row("picture", candidate)["picture"])

    def flag(self, candidate: int, flags: Sequence[Flag]) -> None:
        """Keeps what speaks against it now."""
        with self._database.transaction():
            self._database.tables.execute("UPDATE candidates SET flags = ? WHERE id = ?", [_json(flags), candidate])

    def drop(self, candidates: Sequence[int]) -> None:
        """Takes candidates away."""
        with self._database.transaction():
            for candidate in candidates:
                self._database.tables.execute("DELETE FROM candidates WHERE id = ?", [candidate])

    def _row(self, columns: str, candidate: int) -> dict[str, Any]:
        found = list(self._database.tables.query(f"SELECT {columns} FROM candidates WHERE id = ?", [candidate]))
        if not found:
            raise CandidateError(
                f"there is no candidate {candidate}: it was taken, dropped, or held for more than {LIFE.days} days; "
                "`alfa-edge shots candidates` lists those that there are"
            )
        return found[0]


def _json(flags: Sequence[Flag]) -> str:
    return json.dumps([asdict(flag) for flag in flags])


def _candidate(row: dict[str, Any]) -> Candidate:
    try:
        flags = tuple(Flag(**flag) for flag in json.loads(row["flags"]))
        return Candidate(**row | {"held_at": stamp(row["held_at"]), "flags": flags})
    except (ValueError, TypeError, RecursionError) as error:
        message = (
            f"candidate {row['id']}: what is kept of it is damaged ({error}); `alfa-edge shots drop` takes it away"
        )
        raise CandidateError(message) from error
