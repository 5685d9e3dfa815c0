"""The durable queue between the lines and the broker: a verdict is on disk before it counts as issued."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from core.database.database import DatabaseError
from edge.clock import iso_ms
from edge.messages import Verdict
from edge.ops.alarms import Alarms
from edge.ops.worker import Workers
from edge.settings import HistorySettings
from edge.storage.acceptance import Acceptance as Acceptance
from edge.storage.acceptance import trigger_of
from edge.storage.journal import FILE as JOURNAL
from edge.storage.journal import Journal, JournalAnswer
from edge.storage.line_number import LineNumber, NumberKeeper, NumberTeller
from edge.storage.shadow_verdicts import ShadowVerdictWriter
from edge.storage.verdict_database import VerdictDatabase
from edge.storage.verdict_tables import FILE, Accepted, MessageIdentity, row_of, stamp
from edge.storage.writer import DatabaseWriter, WriterError

_KEPT = 10_000  # verdicts of a line, given without the disk, that are kept in memory for it, at most
_LOST = 4096  # those beyond them that are remembered until the broker has them; more are not on their way at once


@dataclass(frozen=True)
class Unanswered:
    """A trigger that was accepted, and not answered when the process ended."""

    trigger: int
    part_id: str
    received_at: datetime


@dataclass(frozen=True)
class Waiting:
    """A verdict that waits for the broker; `payload` is its JSON as issued."""

    id: str
    seq: int
    issued_at: datetime
    payload: bytes


@dataclass(frozen=True)
class Depth:
    """How much of a line waits: verdicts, when the oldest was issued, and how many were dropped since the start."""

    count: int
    oldest: datetime | None
    dropped: int


class Outbox:
    """Triggers and verdicts of all lines, from their coming to the broker's acknowledgement, in `verdicts.db`.

    Any thread may call the methods; none waits for the disk but `start`, `stop`, and those that say that they read it.
    """

    def __init__(
        self,
        folder: Path,
        settings: HistorySettings,
        workers: Workers | None = None,
        alarms: Alarms | None = None,
        runtime: Path | None = None,
        known: Mapping[str, LineNumber] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            folder: The state's, whose lock keeps other processes away.
            settings: What is kept.
            workers: Who watches the writer's thread.
            alarms: Where a disk that takes nothing is told.
            runtime: Folder of the journal; None: the state's.
            known: The last number of each line, as others know it.
        """
        self.path = folder / FILE
        self._journal = Journal((runtime or folder) / JOURNAL)
        self._sessions: dict[str, str] = {}  # by line, at the broker
        self._answered: dict[str, None] = {}  # names of messages that were answered without the disk
        self._answered_parts: dict[str, list[str]] = {}  # by line, in an earlier process, without the disk
        self._answered_triggers: set[int] = set()  # the same
        self._generations: dict[str, int] = {}  # by line, where the disk may not know it yet
        self._passed: dict[str, int] = {}  # by line, the last number that was given without the disk
        self._keeping = threading.Lock()  # an answer is in the journal as long as it is a note
        self._lock = threading.Lock()  # guards what follows
        self._lost: OrderedDict[str, None] = OrderedDict()
        self._alarms = alarms = alarms or Alarms()
        self._writer = DatabaseWriter(
            self.path, lambda: VerdictDatabase(self.path, settings, alarms, known), workers, alarms
        )
        self.shadows = ShadowVerdictWriter(self._writer)
        """Takes what shadows say of parts."""
        self._teller: NumberTeller | None = None
        self._database: VerdictDatabase | None = None

    def start(self) -> None:
        """Opens the database, and makes it where there is none.

        Raises:
            DatabaseError: it is damaged, or the disk does not take it.
        """
        self._database = self._writer.start()
        left = self._journal.read()
        self._sessions = self._database.sessions | left.sessions
        if self._database.restored:
            self._write_journal(self._journal.clear_answers)  # they are of a time after the backup
            return
        for answer in left.answers:
            verdict = answer.verdict
            self._go_on(verdict.line, verdict.seq, verdict.generation)
            self._keep(verdict, answer.trigger)
            if answer.trigger is not None:
                self._answered_triggers.add(answer.trigger)
            if answer.message is not None:
                self._answered[answer.message] = None
            if verdict.part_id is not None:
                self._answered_parts.setdefault(verdict.line, []).append(verdict.part_id)

    def stop(self) -> None:
        """Finishes what was asked for, and closes the database. May be called twice."""
        self._writer.stop()
        if self._database is not None:
            self.look()

    def join(self, installation: str) -> None:
        """The database belongs to an installation; waits for the disk.

        Raises:
            WriterError: the disk does not take it.
        """
        self._writer.run(lambda database: database.join(installation))

    def keep_numbers(self, keeper: NumberKeeper) -> None:
        """Has `keeper` know the last numbers from now on, those of some seconds ago."""
        self._teller = NumberTeller(keeper)
        self.tell_numbers()

    def tell_numbers(self) -> None:
        """Tells who keeps them the numbers that are on disk now; returns at once."""
        if self._teller is not None:
            records = self._opened.records
            self._teller.tell({line: LineNumber(record.generation, record.seq) for line, record in records.items()})

    def look(self) -> None:
        """Empties the journal once all of it is on disk, and has the numbers kept; to be called now and then."""
        with self._keeping:
            if self._teller is not None and self._teller.due:
                self.tell_numbers()
            if self._journal.answers and not any(map(self.keeps, tuple(self._passed))):
                self._write_journal(self._journal.clear_answers)
                self._answered.clear()

    def answered_parts(self, line: str) -> list[str]:
        """Parts that earlier processes have answered last, in order: first those that are surely on disk."""
        return self._opened.recent_parts.get(line, []) + self._answered_parts.get(line, [])

    @property
    def client_suffix(self) -> str:
        """How the ids of this installation's clients end: random, and the same for ever; empty for an old state."""
        return self._opened.client_suffix

    def last_contact(self, line: str) -> datetime | None:
        """When an earlier process, as far as the disk knows, last had a connection for the line; None: not known."""
        return self._opened.last_contacts.get(line)

    def session(self, line: str) -> str | None:
        """The name of the session that the line had at the broker; None: it is not known."""
        return self._sessions.get(line)

    def set_session(self, line: str, session: str) -> None:
        """The broker has begun a session for the line."""
        self._sessions[line] = session
        self._write_journal(lambda: self._journal.set_session(line, session))
        self._writer.note(("session", line), lambda database: database.set_session(line, session))

    def last_seq(self, line: str) -> int:
        """The sequence number of the line's last verdict; 0 for a new line."""
        return max(self._opened.record(line).seq, self._passed.get(line, 0))

    def generation(self, line: str) -> int:
        """The generation of the line's numbers: 1, and one more with each restored backup."""
        return max(self._opened.record(line).generation, self._generations.get(line, 0))

    def depth(self, line: str) -> Depth:
        """How much of the line waits, as it is on disk; from memory."""
        record = self._opened.record(line)
        return Depth(record.count, record.oldest_at, record.dropped)

    def is_behind(self, line: str, generation: int) -> bool:
        """Whether others know numbers of `generation`, or a later one, that the disk cannot know: a backup of an
        earlier one was restored, perhaps for the second time.
        """
        here = self.generation(line)
        return generation > here or (self._opened.restored and generation == here)

    def number_on(self, line: str, seq: int, known: int = 1) -> int:
        """Has the line's numbers go on above `seq`, which others know, of the generation `known`, though the disk does
        not; their generation.
        """
        database = self._opened
        generation = max(database.record(line).generation + (0 if database.restored else 1), known + 1)
        self._go_on(line, seq, generation)
        return generation

    def _go_on(self, line: str, seq: int, generation: int) -> None:
        """The next number is above `seq`, and of `generation`."""
        self.pass_over(line, seq)
        if generation > self.generation(line):
            self._generations[line] = generation
            self._writer.note(("number_on", line), lambda tables: tables.number_on(line, seq, generation))

    def unanswered(self, line: str) -> list[Unanswered]:
        """The line's triggers that an earlier process accepted, and that have no answer yet, in order. Reads the disk.

        Raises:
            WriterError: they cannot be read.
        """
        gone = {key[1] for key in self._writer.noted("forget") if isinstance(key, tuple)}
        query = "SELECT id, part_id, received_at FROM triggers WHERE line = ? AND id <= ? ORDER BY id"
        with self._reader() as sql:
            rows = sql(query, (line, self._opened.last_trigger)).fetchall()
            gone |= self._answered_triggers
            return [Unanswered(trigger, part, stamp(at)) for trigger, part, at in rows if trigger not in gone]

    def accept(
        self, line: str, part_id: str, received_at: datetime, message: MessageIdentity | None = None
    ) -> Acceptance:
        """Takes a trigger."""
        at, acceptance = iso_ms(received_at), Acceptance()
        if message is not None and message.repeated and message.name in self._answered:
            acceptance.future = Future()
            acceptance.future.set_result(Accepted(0, known=True, repetition=True))
            return acceptance

        def write(database: VerdictDatabase) -> Accepted:
            acceptance.written = database.accept(line, part_id, at, message)
            return acceptance.written

        acceptance.future = self._writer.submit(write)
        return acceptance

    def acknowledged(self, client: str, packet: int, trigger: int) -> None:
        """The broker has surely had the PUBACK of the message that brought a trigger."""
        self._writer.note(
            ("acknowledged", client, packet, trigger),
            lambda database: database.acknowledged(client, packet, trigger),
        )

    def forget_messages(self, client: str, connection: str | None) -> None:
        """The broker sends no message of a client again but those of `connection`."""

        def write(database: VerdictDatabase) -> None:
            database.forget_messages(client, connection)

        def retry(done: Future[None]) -> None:
            if done.exception() is not None:
                self._writer.note(("forget_messages", client), write)

        # No note, as long as the disk takes it: notes go before the triggers that came before.
        self._writer.submit(write).add_done_callback(retry)

    def forget(self, trigger: int) -> None:
        """A trigger that gets no answer of its own."""
        self._writer.note(("forget", trigger), lambda database: database.forget(trigger), "forget")

    def issue(self, verdict: Verdict, accepted: Acceptance | int | None = None) -> Future[Verdict]:
        """Writes the verdict to history and queue, and that its trigger is answered, in one transaction.

        The future has the verdict as it is on disk, `duplicate` included; or a ValueError: its number is not the line's
        next one; or a WriterError: the disk does not take it, nothing of it is kept. Cancelled before it began, nothing
        is written.

        Args:
            verdict: The next of its line.
            accepted: What `accept` has returned for its trigger, or the trigger's number in the database.
        """
        row = row_of(verdict)

        def write(database: VerdictDatabase) -> Verdict:
            trigger, duplicate = trigger_of(accepted)
            passed = self._passed.get(verdict.line, 0)
            if not duplicate:
                database.issue(row, trigger, passed)
                return verdict
            changed = verdict.model_copy(update={"duplicate": True})
            database.issue(row_of(changed), trigger, passed)
            return changed

        return self._writer.submit(write)

    def pass_over(self, line: str, seq: int) -> None:
        """The number is given without the disk: the next one may be written before it."""
        self._passed[line] = max(seq, self._passed.get(line, 0))

    def keep(
        self, verdict: Verdict, accepted: Acceptance | int | None = None, message: MessageIdentity | None = None
    ) -> bool:
        """Takes a verdict that is given without the disk: it goes there as soon as that takes it again.

        Args:
            verdict: The answer.
            accepted: As of `issue`.
            message: What brought its trigger; if it comes again, it has this answer.

        Returns:
            False: too many are kept already; this one will not be in the history.
        """
        name = None if message is None else message.name
        if name is not None:
            self._answered[name] = None
        answer = JournalAnswer(verdict, trigger_of(accepted)[0], name)
        with self._keeping:
            self._write_journal(lambda: self._journal.add_answer(answer))
            return self._keep(verdict, accepted)

    def _keep(self, verdict: Verdict, accepted: Acceptance | int | None) -> bool:
        self.pass_over(verdict.line, verdict.seq)
        if self._writer.count(("keep", verdict.line)) >= _KEPT:
            with self._lock:
                self._lost[verdict.id] = None
                if len(self._lost) > _LOST:
                    self._lost.popitem(last=False)
            return False
        row = row_of(verdict)

        def write(database: VerdictDatabase) -> None:
            database.amend(row, trigger_of(accepted)[0])

        self._writer.note(("keep", verdict.id), write, ("keep", verdict.line))
        return True

    def _write_journal(self, write: Callable[[], None]) -> None:
        """What cannot be written there is forgotten with the process."""
        try:
            write()
        except OSError as error:
            message = (
                f"{self._journal.path}: {error.strerror or error}; answers without the disk are kept in memory only"
            )
            self._alarms.raise_("journal", message)
        else:
            self._alarms.clear("journal")

    def keeps(self, line: str) -> bool:
        """Whether verdicts of the line that were given without the disk are not there yet."""
        return self._writer.count(("keep", line)) > 0

    def waiting(self, line: str, limit: int, besides: Collection[str] = ()) -> list[Waiting]:
        """The line's oldest verdicts that wait, at most `limit`, without those whose ids are in `besides`.

        Reads the disk, but does not wait for who writes.

        Raises:
            WriterError: they cannot be read.
        """
        # Before it reads: what has left the notes has left the table.
        noted = (*self._writer.noted(("delivered", line)), *self._writer.noted(("keep", line)))
        gone = {*besides, *(key[1] for key in noted if isinstance(key, tuple))}
        verdict = "SELECT issued_at, CAST(payload AS BLOB) FROM verdicts WHERE line = ? AND seq = ?"
        found: list[Waiting] = []
        with self._reader() as sql:
            rows = sql("SELECT id, seq FROM outbox WHERE line = ? ORDER BY seq", (line,))
            for identity, seq in islice((row for row in rows if row[0] not in gone), limit):
                issued_at, payload = sql(verdict, (line, seq)).fetchone()
                found.append(Waiting(identity, seq, stamp(issued_at), payload))
        return found

    def delivered(self, line: str, verdict_id: str, late: bool = False) -> None:
        """The broker has it: it waits no more. What the disk does not take yet is kept in mind, and a process that dies
        meanwhile has it sent again. `late`: it was sent as a historical one, which the history then says.
        """

        def write(database: VerdictDatabase) -> None:
            database.delivered(line, verdict_id, late)

        with self._lock:
            lost = verdict_id in self._lost
            self._lost.pop(verdict_id, None)
        if lost:  # it has no place on disk
            return
        if not self._writer.also(("keep", verdict_id), write):
            self._writer.note(("delivered", verdict_id), write, ("delivered", line))

    @property
    def _opened(self) -> VerdictDatabase:
        if self._database is None:
            raise WriterError(f"database {self.path}: the outbox was not started")
        return self._database

    @contextmanager
    def _reader(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Asks the tables beside the writer."""
        try:
            with self._opened.database.reader() as reader, reader.snapshot():
                yield reader.tables.conn.execute
        except (DatabaseError, sqlite3.Error, TypeError, ValueError) as error:  # or what is read is no time, or missing
            raise self._writer.error(error) from error
