"""The durable queue between the lines and the broker: a verdict is on disk before it counts as issued."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from core.database import DatabaseError
from edge.clock import iso_ms, monotonic
from edge.messages import Verdict
from edge.settings import HistorySettings
from edge.storage.verdict_database import FILE, Ledger, Standing, row_of, stamp

T = TypeVar("T")

log = logging.getLogger(__name__)

_TOGETHER = 64  # jobs in one transaction, at most
_LINGER_S = 0.05  # how long what nobody waits for may wait for a transaction to go with
_RETRY_S = 1.0  # after the disk did not take it
_LOOK_S = 10.0  # between two looks at what is too old or too much
_LOOK_JOBS = 32  # after so many jobs there is one anyway; fewer than a batch, so that removal keeps up with arrival
_PAUSE_S = 0.02  # between two batches


@dataclass(frozen=True)
class Accepted:
    """A trigger that is on disk. `known`: this line had or has a part of that part_id."""

    trigger: int
    known: bool


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


class OutboxError(RuntimeError):
    """The disk does not take it, or the outbox does not run; the message names the file and the remedy."""


@dataclass(frozen=True)
class _Job:
    """What somebody asked of the writer, and where they wait for it."""

    work: Callable[[Ledger], Any]
    answer: Future[Any]


class Outbox:
    """Verdicts of all lines from their issue to the broker's acknowledgement, in `verdicts.db`.

    One thread writes; what is asked of it while it writes goes together in its next transaction. Any thread may call
    the methods. Callbacks of the futures run in the writer's thread and must not wait for the outbox.
    """

    def __init__(self, folder: Path, settings: HistorySettings) -> None:
        """`folder`: the state's, whose lock keeps other processes away."""
        self.path = folder / FILE
        self._settings = settings
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # None: there are notes, or it is to end
        self._lock = threading.Lock()  # guards the notes and `_open`
        self._delivered: dict[tuple[str, str], None] = {}  # notes: line and id, in order
        self._forgotten: dict[int, None] = {}  # notes: triggers
        self._passed: dict[str, int] = {}  # by line, the last number that the disk refused
        self._open = self._ending = self._refused = False
        self._thread: threading.Thread | None = None
        self._ledger: Ledger | None = None

    def start(self) -> None:
        """Opens the database, and makes it where there is none.

        Raises:
            DatabaseError: it is damaged, or the disk does not take it.
        """
        opened: Future[Ledger] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="outbox", daemon=True)
        self._thread.start()
        self._ledger = opened.result()
        self._open = True

    def stop(self) -> None:
        """Finishes what was asked for, and closes the database. May be called twice."""
        with self._lock:
            self._open, self._ending = False, True
            self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def last_seq(self, line: str) -> int:
        """The sequence number of the line's last verdict; 0 for a new line."""
        return self._standing(line).seq

    def depth(self, line: str) -> Depth:
        """How much of the line waits, as it is on disk; from memory."""
        standing = self._standing(line)
        return Depth(standing.count, standing.oldest_at, standing.dropped)

    def unanswered(self, line: str) -> list[Unanswered]:
        """The line's triggers that an earlier process accepted, and that have no answer yet, in order.

        Raises:
            OutboxError: they cannot be read.
        """
        with self._lock:
            gone = set(self._forgotten)
        query = "SELECT id, part_id, received_at FROM triggers WHERE line = ? AND id <= ? ORDER BY id"
        with self._reader() as sql:
            rows = sql(query, (line, self._opened.last_trigger)).fetchall()
        return [Unanswered(trigger, part, stamp(at)) for trigger, part, at in rows if trigger not in gone]

    def accept(self, line: str, part_id: str, received_at: datetime) -> Future[Accepted]:
        """Takes a trigger; returns at once. The future is done when it is on disk, or has an OutboxError."""
        at = iso_ms(received_at)
        return self._ask(lambda ledger: Accepted(*ledger.accept(line, part_id, at)))

    def forget(self, trigger: int) -> None:
        """A trigger that gets no answer after all, being the repetition of another; returns at once."""
        with self._lock:
            self._forgotten[trigger] = None
            self._jobs.put(None)

    def issue(self, verdict: Verdict, trigger: int | None = None) -> None:
        """Writes the verdict to history and queue, and that the trigger is answered; returns when it is on disk.

        A sequence number that the disk has refused may be used again or passed over.

        Raises:
            ValueError: its sequence number is not the line's next one.
            OutboxError: the disk does not take it; nothing of it is kept.
        """
        assert threading.current_thread() is not self._thread, "a callback of the writer's waits for the writer"
        row, passed = row_of(verdict), self._passed.get(verdict.line, 0)
        try:
            self._ask(lambda ledger: ledger.issue(row, trigger, passed)).result()
        except OutboxError:
            if verdict.seq == max(self.last_seq(verdict.line), passed) + 1:
                self._passed[verdict.line] = verdict.seq
            raise

    def waiting(self, line: str, limit: int, besides: Collection[str] = ()) -> list[Waiting]:
        """The line's oldest verdicts that wait, at most `limit`, without those whose ids are in `besides`.

        Raises:
            OutboxError: they cannot be read.
        """
        with self._lock:  # before it reads: what has left the notes has left the table
            gone = {*besides, *(verdict for of, verdict in self._delivered if of == line)}
        verdict = "SELECT issued_at, CAST(payload AS BLOB) FROM verdicts WHERE line = ? AND seq = ?"
        found: list[Waiting] = []
        with self._reader() as sql:
            rows = sql("SELECT id, seq FROM outbox WHERE line = ? ORDER BY seq", (line,))
            for identity, seq in islice((row for row in rows if row[0] not in gone), limit):
                issued_at, payload = sql(verdict, (line, seq)).fetchone()
                found.append(Waiting(identity, seq, stamp(issued_at), payload))
        return found

    def delivered(self, line: str, verdict_id: str) -> None:
        """The broker has it: it waits no more. Returns at once and never fails; what the disk does not take yet is
        kept in mind, and a process that dies meanwhile has it sent again.
        """
        with self._lock:
            self._delivered[line, verdict_id] = None
            self._jobs.put(None)

    @property
    def _opened(self) -> Ledger:
        if self._ledger is None:
            raise OutboxError(f"database {self.path}: the outbox was not started")
        return self._ledger

    def _standing(self, line: str) -> Standing:
        return self._opened.standings.get(line, Standing())

    @contextmanager
    def _reader(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Asks the tables beside the writer."""
        try:
            with self._opened.database.reader() as reader, reader.snapshot():
                yield reader.tables.conn.execute
        except (DatabaseError, sqlite3.Error) as error:
            raise self._error(error) from error

    def _ask(self, work: Callable[[Ledger], T]) -> Future[T]:
        answer: Future[T] = Future()
        with self._lock:
            if self._open:
                self._jobs.put(_Job(work, answer))
            else:
                answer.set_exception(OutboxError(f"database {self.path}: the outbox does not run"))
        return answer

    def _run(self, opened: Future[Ledger]) -> None:
        try:
            ledger = Ledger(self.path, self._settings)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(ledger)
        look, done, wait = monotonic(), 0, 0.0
        while True:
            jobs = self._collect(wait)
            taken = self._write(ledger, jobs)
            done += len(jobs)
            if self._ending and self._jobs.empty():
                break
            if taken and (done >= _LOOK_JOBS or monotonic() >= look):
                look, done = monotonic() + (_PAUSE_S if self._prune(ledger) else _LOOK_S), 0
            wait = max(0.0, look - monotonic()) if taken else _RETRY_S
        ledger.database.close()

    def _collect(self, wait: float) -> list[_Job]:
        """The jobs of the next transaction; none when there were none for `wait` seconds, or only notes."""
        jobs: list[_Job] = []
        until = monotonic() + wait
        while len(jobs) < _TOGETHER:
            try:
                job = self._jobs.get(timeout=max(0.0, until - monotonic()))
            except Empty:
                break
            if job is not None:
                jobs.append(job)
            until = 0.0 if jobs or self._ending else min(until, monotonic() + _LINGER_S)
        return [job for job in jobs if job.answer.set_running_or_notify_cancel()]

    def _write(self, ledger: Ledger, jobs: list[_Job]) -> bool:
        """Does all of it in one transaction, then tells those who wait; whether the disk took it."""
        with self._lock:
            delivered, forgotten = list(self._delivered), list(self._forgotten)
        if not (jobs or delivered or forgotten):
            return True
        tell: list[Callable[[], None]] = []
        try:
            with ledger.transaction():
                for line, verdict in delivered:
                    ledger.delivered(line, verdict)
                for trigger in forgotten:
                    ledger.forget(trigger)
                for job in jobs:
                    try:
                        tell.append(partial(job.answer.set_result, ledger.attempt(job.work)))
                    except Exception as error:
                        if _of_disk(error) or not ledger.whole:
                            raise
                        tell.append(partial(job.answer.set_exception, error))
        except Exception as error:
            self._refuse(error)
            for job in jobs:
                job.answer.set_exception(self._error(error))
            return False
        self._refused = False
        with self._lock:
            for note in delivered:
                del self._delivered[note]
            for trigger in forgotten:
                del self._forgotten[trigger]
        for one in tell:
            one()
        return True

    def _prune(self, ledger: Ledger) -> bool:
        try:
            return ledger.prune()
        except Exception as error:
            self._refuse(error)
            return False

    def _refuse(self, error: Exception) -> None:
        """Says it once, for what nobody waits for; who waits is told each time."""
        if not self._refused:
            log.error("the outbox cannot write: %s", self._error(error))
        self._refused = True

    def _error(self, error: Exception) -> OutboxError:
        known = isinstance(error, DatabaseError)
        made = OutboxError(str(error) if known else f"database {self.path}: {type(error).__name__}: {error}")
        made.__cause__ = error
        return made


def _of_disk(error: Exception) -> bool:
    """Whether it is no fault of the one job."""
    return isinstance(error, (DatabaseError, sqlite3.OperationalError)) or type(error) is sqlite3.DatabaseError
