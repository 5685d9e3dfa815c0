"""What people said of verdicts, read beside the running service or without one."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

from core.bank.memory_bank import Bank
from core.database.database import DatabaseError
from edge.clock import iso_ms
from edge.storage.reader import DatabaseReader
from edge.storage.state_tables import FILE
from edge.storage.verdict_tables import stamp

Kind: TypeAlias = Literal["false_alarm", "confirmed", "missed", "confirmed_normal"]

DEFECTIVE: dict[Kind, bool] = {"false_alarm": False, "confirmed": True, "missed": True, "confirmed_normal": False}
"""The kinds of feedback, and whether the part was defective. `false_alarm` and `confirmed` are of a part that was
called anomalous, `missed` and `confirmed_normal` of one that was called normal."""


class NoFeedbackError(LookupError, ValueError):
    """Nobody has said anything of this verdict."""


@dataclass(frozen=True)
class Feedback:
    """What was said of a verdict, the last time that anybody did.

    Attributes:
        at: When it was said, UTC.
        who: Who said it, by the kernel.
        kind: One of `DEFECTIVE`.
        recipe: The number of the recipe that judged the part; None where only the history knows it.
        shot: The number of the shot that its picture became; None: it became none.
        pictured: Whether its picture is kept, as that shot or beside the feedback.
    """

    at: datetime
    who: str
    line: str
    seq: int
    kind: Kind
    note: str
    recipe: int | None
    shot: int | None
    pictured: bool

    @property
    def defective(self) -> bool:
        """Whether the part was."""
        return DEFECTIVE[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return vars(self) | {"at": iso_ms(self.at), "defective": self.defective}


# Of each verdict the last that was said; the picture may have come with what was said before.
_QUERY = """
    SELECT at, who, line, seq, kind, note, recipe, shot, pictured FROM (
        SELECT at, who, line, seq, kind, note, recipe, id = max(id) OVER verdict AS last,
            max(shot) OVER verdict AS shot, max(shot IS NOT NULL OR picture IS NOT NULL) OVER verdict AS pictured
        FROM feedback WHERE line = ?{} WINDOW verdict AS (PARTITION BY seq)
    ) WHERE last ORDER BY seq
"""


class FeedbackLog:
    """The feedback in a state's folder. Any thread and any process may read it, beside the one that writes.

    Every method raises DatabaseError where the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: where it has no `state.db` yet, there is no feedback."""
        self._reader = DatabaseReader(folder / FILE)

    def of(self, line: str) -> dict[int, Feedback]:
        """What was said of the line's verdicts, by their numbers, which rise."""
        return {row[3]: _feedback(row) for row in self._reader.rows(_QUERY.format(""), line)}

    def some(self, line: str, seqs: Collection[int]) -> dict[int, Feedback]:
        """What was said of some verdicts, by their numbers; those that nobody has said a thing of are left out."""
        query = _QUERY.format(" AND seq IN (SELECT value FROM json_each(?))")
        return {row[3]: _feedback(row) for row in self._reader.rows(query, line, json.dumps([*seqs]))}

    def recipe_names(self, line: str) -> dict[int, str]:
        """What the line's recipes are called, by their numbers."""
        return dict(self._reader.rows("SELECT number, name FROM recipes WHERE line = ? ORDER BY number", line))

    def entry(self, line: str, seq: int) -> Feedback:
        """What was said of one verdict.

        Raises:
            NoFeedbackError: nothing.
        """
        found = self.some(line, [seq]).get(seq)
        if found is None:
            raise NoFeedbackError(f"nobody has said anything of verdict {seq} of line {line}")
        return found

    def picture(self, line: str, seq: int) -> bytes | None:
        """The picture of a verdict that something was said of, PNG; None: none was kept."""
        query = "SELECT shot, picture FROM feedback WHERE line = ? AND seq = ? ORDER BY id DESC"
        for shot, picture in self._reader.rows(query, line, seq):
            if picture is not None:
                return bytes(picture)
            if shot is not None:
                with self._bank() as bank:
                    return bank.png(shot)
        return None

    @contextmanager
    def _bank(self) -> Iterator[Bank]:
        with self._reader.open() as database, database.snapshot():
            yield Bank(database)


def _feedback(row: Any) -> Feedback:
    at, who, line, seq, kind, note, recipe, shot, pictured = row
    if kind not in DEFECTIVE:
        raise DatabaseError(f"feedback on verdict {seq} of line {line} is of kind {kind!r}, of a newer version; update")
    return Feedback(stamp(at), who, line, seq, kind, note, recipe, shot, bool(pictured))
