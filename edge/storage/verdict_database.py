"""The verdict database: verdicts, those that wait for the broker, and triggers that have no answer yet."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from core.database.database import DatabaseError, open_database
from core.database.error import restore_remedy
from edge.clock import monotonic, utc_now
from edge.ops.alarms import Alarms
from edge.settings import HistorySettings
from edge.storage.facts import COPIED_AT, join, read_facts, set_fact
from edge.storage.line_number import LineNumber, latest
from edge.storage.verdict_tables import RECENT_PARTS, VERDICT_TABLES, Accepted, LineRecord, MessageIdentity, stamp

T = TypeVar("T")

log = logging.getLogger(__name__)

_SESSION = "session "  # begins the names of facts
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


class VerdictDatabase:
    """The tables, for the thread that opened them; `records` is replaced as a whole, so that any thread may read it.

    Methods that write, except `prune`, are called inside `transaction`.
    """

    def __init__(
        self, path: Path, settings: HistorySettings, alarms: Alarms, known: Mapping[str, LineNumber] | None = None
    ) -> None:
        """Opens it.

        Args:
            path: The file.
            settings: What is kept.
            alarms: Where it is told that verdicts are dropped, or are not here.
            known: The last number of each line as others know it; where it is not here, the file is an older one.

        Raises:
            DatabaseError: it is damaged, or the disk does not take it.
        """
        self.database = open_database(path, [VERDICT_TABLES])
        self._alarms = alarms
        self.records: dict[str, LineRecord] = {}
        self._new: dict[str, LineRecord] = {}  # as the transaction will leave them
        self._settings = settings
        self._sql = self.database.tables.conn.execute
        self.restored = False
        """Whether this run has begun a generation, as the file is a restored backup, or an older one than it was."""
        try:
            newest = self._read()
            self._go_on(known or {})
        except (KeyError, TypeError, ValueError, sqlite3.Error) as error:
            self.database.close()
            text = f"holds what the program does not write ({error}), and was left as it is"
            raise DatabaseError(f"database {path} {text}: {restore_remedy(path)}") from error
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
            facts = read_facts(self.database.tables.conn)
            self.generation, self._copied_at = int(facts["generation"]), facts.get(COPIED_AT)
            self.client_suffix = facts["client_suffix"]
            names = (name for name in facts if name.startswith(_SESSION))
            self.sessions = {name.removeprefix(_SESSION): facts[name] for name in names}
            for line, seq, generation in self._sql("SELECT line, seq, generation FROM lines").fetchall():
                record = LineRecord(seq, max(generation, self.generation), counts.get(line, 0))
                self.records[line] = self._with_oldest(line, record)
            recent = "SELECT part_id FROM verdicts WHERE line = ? AND part_id IS NOT NULL ORDER BY seq DESC LIMIT ?"
            self.recent_parts = {
                line: [part for (part,) in self._sql(recent, (line, RECENT_PARTS))][::-1] for line in self.records
            }
            issued = dict(self._sql("SELECT line, issued_at FROM verdicts JOIN lines USING (line, seq)").fetchall())
            known = {line: stamp(at) for line, at in issued.items()}
            self.last_contacts = known | {line: r.oldest_at for line, r in self.records.items() if r.oldest_at}
        return newest

    def _go_on(self, known: Mapping[str, LineNumber]) -> None:
        """Begins a generation where numbers may have been given that are not here."""
        here = {line: LineNumber(record.generation, record.seq) for line, record in self.records.items()}
        lacking = [line for line, number in known.items() if number > here.get(line, LineNumber(self.generation))]
        if self._copied_at is None and not lacking:
            return
        self._begin_generation(latest([here, known]))
        if self._copied_at is not None:
            why = f"is a backup of {self._copied_at}"
        else:
            gaps = (f"of line {line} {here.get(line, LineNumber()).seq} of {known[line].seq}" for line in lacking)
            why = f"is older than state.db knows: it has verdicts up to {', '.join(gaps)}"
            message = (
                f"{self.database.path} {why}; the others are not in the history, unless the right file is put back"
            )
            self._alarms.raise_("history", message)
        log.warning(
            "%s %s: numbers go on in generation %d, and triggers of that time are not answered",
            self.database.path,
            why,
            self.generation,
        )

    def _begin_generation(self, numbers: Mapping[str, LineNumber]) -> None:
        """The numbers go on after all these, in a new generation, and no trigger of before is answered again."""
        self.generation = 1 + max([self.generation, *(number.generation for number in numbers.values())])
        with self.transaction():
            self._sql("INSERT OR REPLACE INTO facts (name, value) VALUES ('generation', ?)", (str(self.generation),))
            set_fact(self.database.tables.conn, COPIED_AT, None)
            self._sql("DELETE FROM triggers")
            self._sql("DELETE FROM messages")
            for line, number in numbers.items():
                self.number_on(line, number.seq, self.generation)
        self.restored = True

    def join(self, installation: str) -> None:
        """It belongs to an installation."""
        join(self.database.tables.conn, installation)

    def record(self, line: str) -> LineRecord:
        """Of a line; of a new one, too."""
        return self.records.get(line) or LineRecord(generation=self.generation)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All on disk at its end, or nothing.

        Raises:
            DatabaseError: the disk does not take it.
        """
        old, self._new = self.records, dict(self.records)
        with self.database.transaction():
            yield
            changed = [line for line, record in self._new.items() if record is not old.get(line)]
            for line in changed:
                self._new[line] = self._with_oldest(line, self._new[line])
        self.records = self._new
        for line in changed:
            self._report(line, old.get(line, LineRecord()), self.records[line])

    def attempt(self, work: Callable[[VerdictDatabase], T]) -> T:
        """What `work` returns; a part of the transaction that leaves nothing behind when it fails."""
        before = dict(self._new)
        try:
            with self.database.transaction():
                return work(self)
        except BaseException:
            self._new = before
            raise

    def accept(self, line: str, part_id: str, received_at: str, message: MessageIdentity | None = None) -> Accepted:
        """Notes a trigger, and the message that brought it, if one did."""
        if message is not None and message.repeated:
            found = self._sql(
                "SELECT trigger FROM messages"
                " WHERE client = ? AND packet = ? AND session = ? AND digest = ? AND connection <> ?",
                (message.client, message.packet, message.session, message.digest, message.connection),
            ).fetchone()
            if found is not None:
                moved = "UPDATE messages SET connection = ? WHERE client = ? AND packet = ?"
                self._sql(moved, (message.connection, message.client, message.packet))
                return Accepted(found[0], known=True, repetition=True)
        (known,) = self._sql(
            "SELECT EXISTS (SELECT 1 FROM triggers WHERE line = ?1 AND part_id = ?2)"
            " OR EXISTS (SELECT 1 FROM verdicts WHERE line = ?1 AND part_id = ?2)",
            (line, part_id),
        ).fetchone()
        insert = "INSERT INTO triggers (line, part_id, received_at) VALUES (?, ?, ?) RETURNING id"
        (trigger,) = self._sql(insert, (line, part_id, received_at)).fetchone()
        if message is not None:
            self._sql(
                "INSERT OR REPLACE INTO messages (client, packet, session, connection, digest, trigger)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (message.client, message.packet, message.session, message.connection, message.digest, trigger),
            )
        return Accepted(trigger, bool(known))

    def acknowledged(self, client: str, packet: int, trigger: int) -> None:
        """The broker has had the PUBACK of a trigger's message: it does not come again."""
        self._sql("DELETE FROM messages WHERE client = ? AND packet = ? AND trigger = ?", (client, packet, trigger))

    def forget_messages(self, client: str, connection: str | None) -> None:
        """No message of a client comes again but those of `connection`."""
        self._sql("DELETE FROM messages WHERE client = ? AND connection IS NOT ?", (client, connection))

    def set_session(self, client: str, session: str) -> None:
        """The session that a client has at the broker."""
        self._sql("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (f"{_SESSION}{client}", session))

    def forget(self, trigger: int) -> None:
        """Takes a trigger out of those without an answer."""
        self._sql("DELETE FROM triggers WHERE id = ?", (trigger,))

    def issue(self, verdict: dict[str, Any], trigger: int | None, passed: int) -> None:
        """Writes a verdict, by its row, to history and queue; its trigger has an answer.

        Raises:
            ValueError: its number does not follow the line's last one, or `passed`, the last that was given without
                the disk.
        """
        line, seq = verdict["line"], verdict["seq"]
        record = self._record(line)
        if not record.seq < seq <= max(record.seq, passed) + 1:
            raise ValueError(f"line {line}: verdict {seq} cannot follow {max(record.seq, passed)}")
        self._insert(verdict)
        if trigger is not None:
            self.forget(trigger)
        record = self._record(line)
        self._new[line] = self._drop(line, record, record.count - self._settings.outbox_limit)

    def amend(self, verdict: dict[str, Any], trigger: int | None) -> None:
        """Writes a verdict that was given without the disk, in place of what the disk has of its number."""
        line, seq = verdict["line"], verdict["seq"]
        names = ", ".join(f"{name} = ?" for name in verdict)
        values = (*verdict.values(), line, seq)
        if not self._sql(f"UPDATE verdicts SET {names} WHERE line = ? AND seq = ?", values).rowcount:
            self._insert(verdict)
        if trigger is not None:
            self.forget(trigger)

    def number_on(self, line: str, seq: int, generation: int) -> None:
        """The line's numbers go on above `seq`, in a new generation."""
        record = self._record(line)
        self._new[line] = record = replace(record, seq=max(seq, record.seq), generation=generation)
        self._put(line, record)

    def _record(self, line: str) -> LineRecord:
        """As the transaction will leave it."""
        return self._new.get(line) or LineRecord(generation=self.generation)

    def _insert(self, verdict: dict[str, Any]) -> None:
        line, seq = verdict["line"], verdict["seq"]
        row = verdict | {"filed": self._clock()}
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        self._sql(f"INSERT INTO verdicts ({names}) VALUES ({marks})", tuple(row.values()))
        self._sql("INSERT INTO outbox (line, seq, id) VALUES (?, ?, ?)", (line, seq, row["id"]))
        record = self._record(line)
        self._new[line] = record = replace(record, seq=max(seq, record.seq), count=record.count + 1)
        self._put(line, record)

    def _put(self, line: str, record: LineRecord) -> None:
        self._sql(
            "INSERT OR REPLACE INTO lines (line, seq, generation) VALUES (?, ?, ?)",
            (line, record.seq, record.generation),
        )

    def delivered(self, line: str, verdict_id: str, late: bool) -> None:
        """Takes a verdict out of the queue; `late`: it was sent as a historical one."""
        if late:
            waited = "SELECT seq FROM outbox WHERE id = ?2 AND line = ?1"
            self._sql(f"UPDATE verdicts SET historical = 1 WHERE line = ?1 AND seq = ({waited})", (line, verdict_id))
        if self._sql("DELETE FROM outbox WHERE id = ? AND line = ?", (verdict_id, line)).rowcount:
            self._new[line] = replace(self._new[line], count=self._new[line].count - 1)

    def prune(self) -> bool:
        """Removes a batch of what is too old or too much, in a transaction of its own; False when there was none.

        Raises:
            DatabaseError: the disk does not take it.
        """
        now = self._clock()
        lines = tuple(self.records.items())
        return any(self._expire(*line, now) for line in lines) or any(self._shorten(*line, now) for line in lines)

    def _expire(self, line: str, record: LineRecord, now: float) -> bool:
        """Drops what has waited for too long."""
        since = now - self._settings.outbox_days * _DAY_S
        if not record.count or record.oldest_filed >= since:
            return False
        oldest = "SELECT filed FROM outbox JOIN verdicts USING (line, seq) WHERE line = ? ORDER BY seq LIMIT ?"
        with self.transaction():
            late = sum(filed < since for (filed,) in self._sql(oldest, (line, _BATCH)))
            self._new[line] = self._drop(line, record, late)
        return True

    def _shorten(self, line: str, record: LineRecord, now: float) -> bool:
        """Removes what history need not keep. What waits stays, and with it what came after."""
        since, first = now - self._settings.days * _DAY_S, record.seq - self._settings.limit + 1
        end = record.oldest_seq if record.count else record.seq + 1
        oldest = "SELECT seq, filed FROM verdicts WHERE line = ? AND seq < ? ORDER BY seq LIMIT ?"
        due = f"SELECT max(seq) FROM ({oldest}) WHERE seq < ? OR filed < ?"
        if self._sql(due, (line, end, 1, first, since)).fetchone() == (None,):
            return False
        with self.transaction():
            (last,) = self._sql(due, (line, end, _BATCH, first, since)).fetchone()
            self._sql("DELETE FROM verdicts WHERE line = ? AND seq <= ?", (line, last))
        return True

    def _drop(self, line: str, record: LineRecord, many: int) -> LineRecord:
        """The line's record when the oldest so many, a batch at most, have left the queue."""
        if many <= 0:
            return record
        oldest = "SELECT seq FROM outbox WHERE line = ?1 ORDER BY seq LIMIT ?2"
        delete = f"DELETE FROM outbox WHERE line = ?1 AND seq IN ({oldest})"
        gone = self._sql(delete, (line, min(many, _BATCH))).rowcount
        return replace(record, count=record.count - gone, dropped=record.dropped + gone)

    def _with_oldest(self, line: str, record: LineRecord) -> LineRecord:
        if not record.count:
            return replace(record, oldest_seq=0, oldest_at=None, oldest_filed=0.0)
        waiting = "SELECT seq, issued_at, filed FROM outbox JOIN verdicts USING (line, seq) WHERE line = ?"
        seq, issued_at, filed = self._sql(f"{waiting} ORDER BY seq LIMIT 1", (line,)).fetchone()
        return replace(record, oldest_seq=seq, oldest_at=stamp(issued_at), oldest_filed=filed)

    def _report(self, line: str, old: LineRecord, new: LineRecord) -> None:
        """An alarm while verdicts are dropped, until the queue has been empty again."""
        if new.dropped > old.dropped:
            message = f"of {self._settings.outbox_limit} verdicts that may wait for the broker the oldest are dropped"
            self._alarms.raise_("outbox", message, line, about="dropped")
        elif not new.count:
            self._alarms.clear("outbox", line, about="dropped")
