"""What shadows made of parts: written beside the verdicts, and compared with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from edge.settings_recipe import FIRST
from edge.storage.reader import DatabaseReader
from edge.storage.verdict_tables import FILE, stamp
from edge.storage.writer import DatabaseWriter

if TYPE_CHECKING:
    from edge.storage.verdict_database import VerdictDatabase

Answer: TypeAlias = Literal["normal", "anomaly", "review"]
ANSWERS: tuple[Answer, ...] = ("normal", "anomaly", "review")
"""What a recipe says of a part; `review` is an anomaly that a person is to look at."""

_WAITING = 256  # rows of a line that may wait for the disk


@dataclass(frozen=True)
class ShadowVerdict:
    """What a shadow says of a part.

    Attributes:
        shadow: The number of the shadow, see `edge.storage.shadow_tables`.
        line, seq: Whose part, and the number of its verdict.
        revision: Of the shadow's recipe.
        score: S, in [0, 1].
        threshold: Of the shadow's recipe; an answer is normal below it.
        answer: One of `ANSWERS`.
    """

    shadow: int
    line: str
    seq: int
    revision: int
    score: float
    threshold: float
    answer: Answer


class ShadowVerdictWriter:
    """Writes what shadows say, through the thread that writes the verdicts. Any thread may call it; it never waits."""

    def __init__(self, writer: DatabaseWriter[VerdictDatabase]) -> None:
        """`writer`: of `verdicts.db`."""
        self._writer = writer

    def keep(self, verdict: ShadowVerdict) -> bool:
        """Has it written with one of the next verdicts; False: too many wait for the disk, and it is dropped.

        A part whose verdict is not in the history has no place for it.
        """
        group = ("shadow", verdict.line)
        if self._writer.count(group) >= _WAITING:
            return False
        row = vars(verdict)
        names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
        insert = (
            f"INSERT OR REPLACE INTO shadow_verdicts ({names}) SELECT {marks}"
            " WHERE EXISTS (SELECT 1 FROM verdicts WHERE line = :line AND seq = :seq)"
        )

        def write(database: VerdictDatabase) -> None:
            database.database.tables.conn.execute(insert, row)

        self._writer.note(("shadow", verdict.line, verdict.seq), write, group)
        return True


@dataclass(frozen=True)
class ComparedPart:
    """A part that a line's recipe and its shadow have judged.

    Attributes:
        part_id, issued_at, archive: Of the verdict, as of `edge.storage.history.Entry`.
        live_score, live_threshold, live_answer, live_revision: What the line's recipe said, and which revision of it.
        shadow_score, shadow_threshold, shadow_answer, shadow_revision: The same of the shadow's.
    """

    seq: int
    part_id: str | None
    issued_at: datetime
    archive: str | None
    live_score: float
    live_threshold: float
    live_answer: Answer
    live_revision: int
    shadow_score: float
    shadow_threshold: float
    shadow_answer: Answer
    shadow_revision: int


_LIVE = "CASE WHEN v.review THEN 'review' ELSE v.verdict END"
_BOTH = "shadow_verdicts AS s JOIN verdicts AS v USING (line, seq)"


class ShadowVerdicts:
    """The shadows' verdicts in a state's folder. Any thread and any process may read them, beside the one that writes.

    Every method raises DatabaseError where the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: where it has no `verdicts.db` yet, there are none."""
        self._reader = DatabaseReader(folder / FILE)

    def agreement(self, shadow: int, line: str) -> Mapping[tuple[Answer, Answer], int]:
        """How many parts had which answers, of the line's recipe and of the shadow's."""
        query = f"SELECT {_LIVE}, answer, count(*) FROM {_BOTH} WHERE line = ? AND shadow = ? GROUP BY 1, 2"
        return Counter({(live, answer): count for live, answer, count in self._reader.rows(query, line, shadow)})

    def changed(self, shadow: int, line: str, count: int) -> list[ComparedPart]:
        """The last parts on which the two differ, at most `count`, the newest first."""
        return list(self._compared(shadow, line, f"AND {_LIVE} <> answer ORDER BY seq DESC LIMIT ?", count))

    def of(self, shadow: int, line: str, numbers: Collection[int]) -> list[ComparedPart]:
        """Those of the parts with these numbers that both have judged, in order."""
        among = "AND seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
        return list(self._compared(shadow, line, among, json.dumps([*numbers])))

    def judged(self, line: str, recipe: int, first: int, last: int | None) -> int:
        """How many parts the line has judged by a recipe.

        Args:
            line: Its name.
            recipe: The recipe's number.
            first, last: Of the verdicts' numbers; None: until now.
        """
        query = (
            "SELECT count(*) FROM verdicts WHERE line = ? AND seq >= ? AND seq <= ? AND score IS NOT NULL"
            " AND coalesce(json_extract(payload, '$.recipe.number'), ?) = ?"
        )
        ((count,),) = self._reader.rows(query, line, first, 2**63 - 1 if last is None else last, FIRST, recipe) or (
            (0,),
        )
        return int(count)

    def _compared(self, shadow: int, line: str, which: str, *values: Any) -> Iterator[ComparedPart]:
        query = (
            "SELECT seq, part_id, issued_at, archive, v.score, v.threshold,"
            f" {_LIVE}, coalesce(json_extract(payload, '$.recipe.revision'), 1),"
            f" s.score, s.threshold, answer, revision FROM {_BOTH} WHERE line = ? AND shadow = ? {which}"
        )
        for seq, part_id, at, *rest in self._reader.rows(query, line, shadow, *values):
            yield ComparedPart(seq, part_id, stamp(at), *cast(Any, rest))
