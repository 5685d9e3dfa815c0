"""The tables of `verdicts.db`: what was judged, what waits for the broker, which triggers have no answer yet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from core.database import migrations, open_database
from edge.clock import iso_ms, monotonic, utc_now
from edge.messages import Verdict
from edge.settings import HistorySettings

T = TypeVar("T")

FILE = "verdicts.db"

# An outbox row refers to its verdict; `filed` is the reading of the clock that rows age by, and grows with seq.
VERDICT_TABLES = migrations(
    "verdicts",
    """
    CREATE TABLE lines (line TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE verdicts (
        line TEXT NOT NULL,
        seq INTEGER NOT NULL,
        id TEXT NOT NULL,
        issued_at TEXT NOT NULL,
        filed REAL NOT NULL,
        mode TEXT NOT NULL,
        part_id TEXT,
        verdict TEXT NOT NULL,
        error_code TEXT,
        score REAL,
        peak REAL,
        threshold REAL NOT NULL,
        pack_sha256 TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        bank_revision INTEGER NOT NULL,
        archive TEXT,
        total_ms REAL,
        simulated INTEGER NOT NULL,
        payload TEXT NOT NULL,
        PRIMARY KEY (line, seq)
    ) STRICT;
    CREATE INDEX verdicts_by_time ON verdicts (line, issued_at, seq, verdict);
    CREATE INDEX verdicts_by_part ON verdicts (line, part_id, seq) WHERE part_id IS NOT NULL;
    CREATE INDEX verdicts_amiss ON verdicts (line, verdict, seq) WHERE verdict <> 'normal';
    CREATE TABLE outbox (
        line TEXT NOT NULL,
        seq INTEGER NOT NULL,
        id TEXT NOT NULL UNIQUE,
        PRIMARY KEY (line, seq),
        FOREIGN KEY (line, seq) REFERENCES verdicts (line, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE triggers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        line TEXT NOT NULL,
        part_id TEXT NOT NULL,
        received_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX triggers_by_part ON triggers (line, part_id);
    """,
)

log = logging.getLogger(__name__)

_BATCH = 50  # rows that go in one transaction, at most, so that a verdict never waits for long
_DAY_S = 86_400.0


class _Clock:
    """Seconds by which rows age. It never steps: while the service runs it goes by the monotonic clock, and from one
    run to the next by what the wall clock says, at most a day and never back. So a wall clock that is set wrong, or
    right, makes nothing too old; at worst something stays a little longer.
    """

    def __init__(self, last: float | None) -> None:
        """`last`: the newest reading that is on file."""
        now = utc_now().timestamp()
        begin = now if last is None else last + min(max(now - last, 0.0), _DAY_S)
        self._offset = begin - monotonic()

    def __call__(self) -> float:
        return monotonic() + self._offset


@dataclass(frozen=True)
class Standing:
    """What is known of a line without asking the disk.

    Attributes:
        seq: Of its last verdict.
        count: Verdicts that wait for the broker.
        dropped: Verdicts that have waited in vain, since the start.
        oldest_seq, oldest_at, oldest_filed: Of the oldest that waits: its number, stamp, and reading of the clock.
    """

    seq: int = 0
    count: int = 0
    dropped: int = 0
    oldest_seq: int = 0
    oldest_at: datetime | None = None
    oldest_filed: float = 0.0


class Ledger:
    """The tables, for the thread that opened them; `standings` is replaced as a whole, so that any thread may read it.

    Methods that write, except `prune`, are called inside `transaction`.
    """

    def __init__(self, path: Path, settings: HistorySettings) -> None:
        """Raises DatabaseError: it is damaged, or the disk does not take it."""
        self.database = open_database(path, [VERDICT_TABLES])
        self.standings: dict[str, Standing] = {}
        self._new: dict[str, Standing] = {}  # as the transaction will leave them
        self._dropping: set[str] = set()
        self._settings = settings
        self._sql = self.database.tables.conn.execute
        try:
            newest = self._read()
        except BaseException:
            self.database.close()
            raise
        self._clock = _Clock(newest)

    def _read(self) -> float | None:
        """What is on file; returns the newest reading of the clock."""
        newest: float | None
        with self.database.snapshot():
            (newest,) = self._sql("SELECT (SELECT filed FROM verdicts ORDER BY rowid DESC LIMIT 1)").fetchone()
            (self.last_trigger,) = self._sql("SELECT coalesce(max(id), 0) FROM triggers").fetchone()
            counts = dict(self._sql("SELECT line, count(*) FROM outbox GROUP BY line").fetchall())
            for line, seq in self._sql("SELECT line, seq FROM lines").fetchall():
                self.standings[line] = self._with_oldest(line, Standing(seq, counts.get(line, 0)))
        return newest

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All on disk at its end, or nothing.

        Raises:
            DatabaseError: the disk does not take it.
        """
        old, self._new = self.standings, dict(self.standings)
        with self.database.transaction():
            yield
            changed = [line for line, standing in self._new.items() if standing is not old.get(line)]
            for line in changed:
                self._new[line] = self._with_oldest(line, self._new[line])
        self.standings = self._new
        for line in changed:
            self._report(line, old.get(line, Standing()), self.standings[line])

    def attempt(self, work: Callable[[Ledger], T]) -> T:
        """What `work` returns; a part of the transaction that leaves nothing behind when it fails."""
        before = dict(self._new)
        try:
            with self.database.transaction():
                return work(self)
        except BaseException:
            self._new = before
            raise

    @property
    def whole(self) -> bool:
        """Whether the transaction still stands: SQLite gives up all of it when the disk is full."""
        return self.database.tables.conn.in_transaction

    def accept(self, line: str, part_id: str, received_at: str) -> tuple[int, bool]:
        """Notes a trigger; its number, and whether the line had or has a part of that name."""
        (known,) = self._sql(
            "SELECT EXISTS (SELECT 1 FROM triggers WHERE line = ?1 AND part_id = ?2)"
            " OR EXISTS (SELECT 1 FROM verdicts WHERE line = ?1 AND part_id = ?2)",
            (line, part_id),
        ).fetchone()
        insert = "INSERT INTO triggers (line, part_id, received_at) VALUES (?, ?, ?) RETURNING id"
        (trigger,) = self._sql(insert, (line, part_id, received_at)).fetchone()
        return trigger, bool(known)

    def forget(self, trigger: int) -> None:
        """Takes a trigger out of those without an answer."""
        self._sql("DELETE FROM triggers WHERE id = ?", (trigger,))

    def issue(self, verdict: dict[str, Any], trigger: int | None, passed: int) -> None:
        """Writes a verdict, by its row, to history and queue; its trigger has an answer.

        Raises:
            ValueError: its number does not follow the line's last one, or `passed`, the last that the disk refused.
        """
        line, seq = verdict["line"], verdict["seq"]
        standing = self._new.get(line, Standing())
        if not standing.seq < seq <= max(standing.seq, passed) + 1:
            raise ValueError(f"line {line}: verdict {seq} cannot follow {max(standing.seq, passed)}")
        row = verdict | {"filed": self._clock()}
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        self._sql(f"INSERT INTO verdicts ({names}) VALUES ({marks})", tuple(row.values()))
        self._sql("INSERT INTO outbox (line, seq, id) VALUES (?, ?, ?)", (line, seq, row["id"]))
        self._sql("INSERT OR REPLACE INTO lines (line, seq) VALUES (?, ?)", (line, seq))
        if trigger is not None:
            self.forget(trigger)
        standing = replace(standing, seq=seq, count=standing.count + 1)
        self._new[line] = self._drop(line, standing, standing.count - self._settings.outbox_limit)

    def delivered(self, line: str, verdict_id: str) -> None:
        """Takes a verdict out of the queue."""
        if self._sql("DELETE FROM outbox WHERE id = ? AND line = ?", (verdict_id, line)).rowcount:
            self._new[line] = replace(self._new[line], count=self._new[line].count - 1)

    def prune(self) -> bool:
        """Removes a batch of what is too old or too much, in a transaction of its own; False when there was none.

        Raises:
            DatabaseError: the disk does not take it.
        """
        now = self._clock()
        lines = tuple(self.standings.items())
        return any(self._expire(*line, now) for line in lines) or any(self._shorten(*line, now) for line in lines)

    def _expire(self, line: str, standing: Standing, now: float) -> bool:
        """Drops what has waited for too long."""
        since = now - self._settings.outbox_days * _DAY_S
        if not standing.count or standing.oldest_filed >= since:
            return False
        oldest = "SELECT filed FROM outbox JOIN verdicts USING (line, seq) WHERE line = ? ORDER BY seq LIMIT ?"
        with self.transaction():
            late = sum(filed < since for (filed,) in self._sql(oldest, (line, _BATCH)))
            self._new[line] = self._drop(line, standing, late)
        return True

    def _shorten(self, line: str, standing: Standing, now: float) -> bool:
        """Removes what history need not keep. What waits stays, and with it what came after."""
        since, first = now - self._settings.days * _DAY_S, standing.seq - self._settings.limit + 1
        end = standing.oldest_seq if standing.count else standing.seq + 1
        oldest = "SELECT seq, filed FROM verdicts WHERE line = ? AND seq < ? ORDER BY seq LIMIT ?"
        due = f"SELECT max(seq) FROM ({oldest}) WHERE seq < ? OR filed < ?"
        if self._sql(due, (line, end, 1, first, since)).fetchone() == (None,):
            return False
        with self.transaction():
            (last,) = self._sql(due, (line, end, _BATCH, first, since)).fetchone()
            self._sql("DELETE FROM verdicts WHERE line = ? AND seq <= ?", (line, last))
        return True

    def _drop(self, line: str, standing: Standing, many: int) -> Standing:
        """The line's standing when the oldest so many, a batch at most, have left the queue."""
        if many <= 0:
            return standing
        oldest = "SELECT seq FROM outbox WHERE line = ?1 ORDER BY seq LIMIT ?2"
        delete = f"DELETE FROM outbox WHERE line = ?1 AND seq IN ({oldest})"
        gone = self._sql(delete, (line, min(many, _BATCH))).rowcount
        return replace(standing, count=standing.count - gone, dropped=standing.dropped + gone)

    def _with_oldest(self, line: str, standing: Standing) -> Standing:
        if not standing.count:
            return replace(standing, oldest_seq=0, oldest_at=None, oldest_filed=0.0)
        waiting = "SELECT seq, issued_at, filed FROM outbox JOIN verdicts USING (line, seq) WHERE line = ?"
        seq, issued_at, filed = self._sql(f"{waiting} ORDER BY seq LIMIT 1", (line,)).fetchone()
        return replace(standing, oldest_seq=seq, oldest_at=stamp(issued_at), oldest_filed=filed)

    def _report(self, line: str, old: Standing, new: Standing) -> None:
        """Says once that verdicts are dropped, until the queue has been empty again."""
        if new.dropped > old.dropped and line not in self._dropping:
            log.error("line %s: of %d verdicts that wait for the broker the oldest are dropped", line, old.count)
            self._dropping.add(line)
        if not new.count:
            self._dropping.discard(line)


def stamp(text: str) -> datetime:
    """A UTC stamp as it was written to the tables, aware."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def row_of(verdict: Verdict) -> dict[str, Any]:
    """A verdict as its row, without `filed`."""
    heatmap = verdict.heatmap
    return {
        "line": verdict.line,
        "seq": verdict.seq,
        "id": verdict.id,
        "issued_at": iso_ms(verdict.issued_at),
        "mode": verdict.mode,
        "part_id": verdict.part_id,
        "verdict": verdict.verdict,
        "error_code": verdict.error.code if verdict.error else None,
        "score": verdict.score,
        "peak": heatmap.max if heatmap else None,
        "threshold": verdict.threshold,
        "pack_sha256": verdict.recipe.pack_sha256,
        "fingerprint": verdict.model.fingerprint,
        "bank_revision": verdict.bank.revision,
        "archive": heatmap.archive if heatmap else None,
        "total_ms": verdict.timing_ms.total if verdict.timing_ms else None,
        "simulated": int(verdict.simulated),
        "payload": verdict.to_json().decode(),
    }
