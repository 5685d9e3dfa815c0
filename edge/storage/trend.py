"""How a line has done: its parts counted and their scores summed up, by stretches of time."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from core.database.database import DatabaseError
from edge.clock import iso_ms, monotonic
from edge.storage.reader import DatabaseReader
from edge.storage.verdict_tables import FILE

KINDS = ("normal", "anomaly", "error")

_STRETCH = "FROM verdicts INDEXED BY verdicts_by_time WHERE line = ? AND issued_at >= ? AND issued_at < ?"
_COUNTS = f"SELECT verdict, count(*) {_STRETCH} GROUP BY verdict"  # the index has all that it needs
_SUM = f"""
    WITH parts AS MATERIALIZED (SELECT seq, verdict, score, threshold {_STRETCH})
    SELECT
        coalesce(sum(verdict = 'normal'), 0), coalesce(sum(verdict = 'anomaly'), 0),
        coalesce(sum(verdict = 'error'), 0),
        (SELECT score FROM parts WHERE score IS NOT NULL ORDER BY score
            LIMIT 1 OFFSET (SELECT max(0, count(score) - 1) / 2 FROM parts)),
        max(score),
        (SELECT threshold FROM parts WHERE score IS NOT NULL ORDER BY seq DESC LIMIT 1)
    FROM parts
"""


class Bucket(NamedTuple):
    """A stretch of time: parts of each kind, the middle and the highest of their scores (of two in the middle the
    lower one), and the threshold that the last of them was held to; None where there was none with a score.
    """

    normal: int
    anomaly: int
    error: int
    score_median: float | None
    score_max: float | None
    threshold: float | None


class Trends:
    """Sums up the verdicts in a state's folder. Any thread and any process may read them, beside the one that writes.

    Every method raises DatabaseError where the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: where it has no `verdicts.db` yet, there are no verdicts."""
        self._reader = DatabaseReader(folder / FILE)

    def counts(self, line: str, since: datetime, until: datetime) -> dict[str, int]:
        """The parts of each kind whose verdict was issued from `since` on, and before `until`."""
        found = dict(self._reader.rows(_COUNTS, line, iso_ms(since), iso_ms(until)))
        return {kind: found.get(kind, 0) for kind in KINDS}

    def buckets(self, line: str, borders: Sequence[datetime], within_s: float) -> list[Bucket | None]:
        """One for each stretch between two of `borders`, which rise.

        The last stretch is looked at first. Those for which `within_s` seconds did not suffice are None. Each is a
        read of its own, as a long one would keep the writer's log from being emptied.
        """
        stretches = list(itertools.pairwise(borders))
        found: list[Bucket | None] = [None] * len(stretches)
        if not self._reader.path.exists():
            return [Bucket(0, 0, 0, None, None, None)] * len(stretches)
        end = monotonic() + within_s
        try:
            with self._reader.open() as database:
                for place in reversed(range(len(stretches))):
                    since, until = map(iso_ms, stretches[place])
                    row = database.tables.conn.execute(_SUM, (line, since, until)).fetchone()
                    found[place] = Bucket(*row)
                    if monotonic() >= end:
                        break
        except sqlite3.Error as error:
            raise DatabaseError(f"database {self._reader.path}: {error}; is it of this program?") from error
        return found
