"""The one thread that writes a database: what is asked of it while it writes goes together in its next transaction."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from core.database.database import Database, DatabaseError
from edge.clock import monotonic
from edge.ops.alarms import Alarms
from edge.ops.worker import Worker, Workers

log = logging.getLogger(__name__)

_TOGETHER = 64  # jobs in one transaction, at most
_NOTES = 256  # notes in one transaction, at most, so that jobs do not wait for thousands of them
_LINGER_S = 0.05  # how long a note waits for a transaction to go with
_RETRY_S = 1.0  # after the disk did not take it; jobs that come meanwhile are tried at once
_LOOK_S = 10.0  # between two looks at what is too old or too much
_LOOK_JOBS = 32  # after so many jobs there is one anyway; fewer than a batch, so that removal keeps up with arrival
_WATCH_S = 1.0  # between two looks whether the file is still in its place
_PAUSE_S = 0.02  # between two batches of removal


class WriterError(DatabaseError):
    """The disk does not take it, or the database is not open; the message names the file and the remedy."""


class Tables(Protocol):
    """What the thread writes."""

    @property
    def database(self) -> Database:
        """The connection, of the thread's own."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All that is written inside is on disk at its end, or nothing of it."""
        ...

    def attempt(self, job: Callable[[Any], Any]) -> Any:
        """What `job` returns; a part of the transaction that leaves nothing behind when it fails."""
        ...

    def prune(self) -> bool:
        """Removes a batch of what is too old or too much, in a transaction of its own; False when there was none."""
        ...


T = TypeVar("T", bound=Tables)
R = TypeVar("R")


class DatabaseWriter(Generic[T]):
    """Any thread may call it; only `run`, and who waits for a future, waits for the disk.

    Somebody waits for a *job*: it is done or refused at once. Nobody waits for a *note*: it is kept in memory until the
    disk takes it. Notes go before the jobs of the same transaction. Callbacks of the futures run in the writer's thread
    and must not wait for it.
    """

    def __init__(
        self,
        path: Path,
        open_tables: Callable[[], T],
        workers: Workers | None = None,
        alarms: Alarms | None = None,
        *,
        vital: bool = True,
    ) -> None:
        """Starts nothing yet.

        Args:
            path: The database.
            open_tables: Opens it, in the thread.
            workers: Who watches the thread.
            alarms: Where it is told that the file is lost; None: only who waits is told.
            vital: Whether parts wait for it, so that a disk that takes nothing is an alarm `state_disk`, too.
        """
        self.path = path
        self._alarms = alarms
        self._vital = vital
        self._lost: str | None = None  # what has become of the file, in words
        self._open_tables = open_tables
        self._lock = threading.Lock()
        self._jobs: deque[tuple[Callable[[T], Any], Future[Any]]] = deque()
        self._notes: dict[Hashable, Callable[[T], None]] = {}
        self._groups: dict[Hashable, dict[Hashable, None]] = {}  # the keys of the notes, in order
        self._group_of: dict[Hashable, Hashable] = {}
        self._notes_at = 0.0  # when they are written at the latest, or tried again
        self._refused = False  # whether the disk has refused those that there are
        self._accepting = self._closed = False
        self._opened: Future[T] = Future()
        self._tables: T | None = None
        self._look_at, self._done = monotonic(), 0
        self._watch_at = monotonic()
        self._worker = Worker(workers, f"writer of {path.name}", self._work)

    def start(self) -> T:
        """Opens the database, and makes it where there is none.

        Raises:
            DatabaseError: it is damaged, or the disk does not take it.
        """
        self.begin()
        return self._opened.result()

    def begin(self) -> Future[T]:
        """As `start`, but does not wait: the future is done when the database is open."""
        self._accepting = True
        self._worker.start()
        return self._opened

    @property
    def opened(self) -> T:
        """The tables of the open database, for what may be asked of them in any thread.

        Raises:
            WriterError: it is not open.
        """
        if self._tables is None or self._closed:
            raise WriterError(f"database {self.path}: it is not open")
        return self._tables

    def stop(self) -> None:
        """Finishes what was asked for, and closes the database. May be called twice."""
        with self._lock:
            self._accepting = False
        self._worker.stop()

    def submit(self, job: Callable[[T], R]) -> Future[R]:
        """What `job` will return, once it is on disk; or a WriterError, or what `job` itself raised."""
        answer: Future[R] = Future()
        with self._lock:
            if self._accepting:
                self._jobs.append((job, answer))
            else:
                answer.set_exception(WriterError(f"database {self.path}: it is not open"))
        self._worker.wake()
        return answer

    def run(self, job: Callable[[T], R]) -> R:
        """What `job` returns; waits for it."""
        assert not self._worker.is_current, "a callback of the writer's thread waits for the writer"
        return self.submit(job).result()

    def note(self, key: Hashable, job: Callable[[T], None], group: Hashable = None) -> None:
        """Has `job` done as soon as the disk takes it; in place of a note of the same key. Never fails."""
        with self._lock:
            if not self._notes:
                self._notes_at = monotonic() + _LINGER_S
            self._drop(key)
            self._notes[key] = job
            self._group_of[key] = group
            self._groups.setdefault(group, {})[key] = None
        self._worker.wake()

    def also(self, key: Hashable, job: Callable[[T], None]) -> bool:
        """Has `job` done right after the note of `key`, as a part of it; False: there is none any more."""
        with self._lock:
            note = self._notes.get(key)
            if note is None:
                return False

            def both(tables: T) -> None:
                note(tables)
                job(tables)

            self._notes[key] = both
            return True

    def noted(self, group: Hashable = None) -> list[Hashable]:
        """The keys of the notes of a group, None: of all, that are not on disk yet, in order."""
        with self._lock:
            return list(self._notes if group is None else self._groups.get(group, ()))

    def count(self, group: Hashable) -> int:
        """How many notes of a group are not on disk yet."""
        with self._lock:
            return len(self._groups.get(group, ()))

    def _drop(self, key: Hashable) -> None:
        """Forgets a note; `_lock` is held."""
        if self._notes.pop(key, None) is not None:
            group = self._group_of.pop(key)
            keys = self._groups[group]
            del keys[key]
            if not keys:
                del self._groups[group]

    def error(self, error: BaseException) -> WriterError:
        """`error` in words, with the file's name."""
        known = isinstance(error, DatabaseError)
        made = WriterError(str(error) if known else f"database {self.path}: {type(error).__name__}: {error}")
        made.__cause__ = error
        return made

    def _work(self) -> float | None:
        """Writes what there is; the seconds until there is more to do."""
        if self._closed:
            return None
        if self._tables is None:
            try:
                self._tables = self._open_tables()
            except BaseException as error:
                self._closed = True
                self._accepting = False
                self._worker.halt()
                self._opened.set_exception(error)
                return None
            self._opened.set_result(self._tables)
        stopping = self._worker.stopping
        self._watch(self._tables, stopping)
        jobs, notes, more = self._collect(stopping)
        taken = self._write(self._tables, jobs, notes)
        if more and (taken or jobs):
            return 0.0
        if stopping:
            self._closed = True
            self._close(self._tables)
            return None
        if not taken:
            return _RETRY_S
        self._done += len(jobs)
        if self._done >= _LOOK_JOBS or monotonic() >= self._look_at:
            self._look_at, self._done = monotonic() + (_PAUSE_S if self._prune(self._tables) else _LOOK_S), 0
        pause = min(self._look_at, self._watch_at) - monotonic()
        with self._lock:
            if self._notes:
                pause = min(pause, self._notes_at - monotonic())
        return max(0.0, pause)

    def _watch(self, tables: T, stopping: bool) -> None:
        """Finds out whether the file is still in its place: what is written to one that is not is gone at the end,
        unless it is the end, and all of it is written back.
        """
        if monotonic() < self._watch_at and not stopping:
            return
        self._watch_at = monotonic() + _WATCH_S
        self._lost = tables.database.displaced()
        if self._alarms is not None:
            self._alarms.set("state_lost", self._lost, about=self.path.name)
        if stopping and tables.database.is_deleted:
            self._lost = None

    def _close(self, tables: T) -> None:
        """What somebody has deleted meanwhile is written back, so that the next start finds it."""
        try:
            if tables.database.write_back():
                log.warning("%s was deleted while the service ran; it was written back", self.path)
        except DatabaseError as error:
            log.error("%s; what it had is lost", error)
        finally:
            tables.database.close()

    def _collect(self, stopping: bool) -> tuple[list[tuple[Callable[[T], Any], Future[Any]]], list[Hashable], bool]:
        """The jobs and the keys of the notes that go in the next transaction, and whether there are more of them."""
        with self._lock:
            count = min(len(self._jobs), _TOGETHER)
            jobs = [self._jobs.popleft() for _ in range(count)]
            due = (bool(jobs) and not self._refused) or stopping or monotonic() >= self._notes_at
            notes = list(self._notes if stopping else islice(self._notes, _NOTES)) if due else []
            more = bool(self._jobs) or (due and len(notes) < len(self._notes))
        return [job for job in jobs if job[1].set_running_or_notify_cancel()], notes, more

    def _write(self, tables: T, jobs: list[tuple[Callable[[T], Any], Future[Any]]], notes: list[Hashable]) -> bool:
        """Does all of it in one transaction, then tells those who wait; whether the disk took all of it."""
        if not jobs and not notes:
            return True
        with self._lock:
            noted = {key: self._notes[key] for key in notes if key in self._notes}
        try:
            tell = self._transact(tables, jobs, noted)
        except Exception as error:
            if noted:
                with self._lock:
                    self._refused, self._notes_at = True, monotonic() + _RETRY_S
            self._say(self.error(error))
            if noted and jobs:  # what nobody waits for may be too much for a disk that takes the rest
                self._write(tables, jobs, [])
            else:
                for _, answer in jobs:
                    answer.set_exception(self.error(error))
            return False
        with self._lock:
            for key, note in noted.items():
                if self._notes.get(key) is note:
                    self._drop(key)
            self._refused = self._refused and not noted
            well = not self._refused
        for answer_now in tell:
            answer_now()
        if well:
            self._say(None)
        return True

    def _transact(
        self,
        tables: T,
        jobs: list[tuple[Callable[[T], Any], Future[Any]]],
        noted: dict[Hashable, Callable[[T], None]],
    ) -> list[Callable[[], None]]:
        """What is to be called when the transaction, which is at its end now, is on disk."""
        tell: list[Callable[[], None]] = []
        if self._lost is not None:
            raise WriterError(self._lost)
        with tables.transaction():
            for key, note in noted.items():
                try:
                    tables.attempt(note)
                except Exception as error:
                    if _is_of_disk(error) or not tables.database.tables.conn.in_transaction:
                        raise
                    log.exception("%s: the note %s cannot be written and is dropped; please report it", self.path, key)
            for job, answer in jobs:
                try:
                    tell.append(partial(answer.set_result, tables.attempt(job)))
                except Exception as error:
                    # SQLite gives up the whole transaction when the disk is full.
                    if _is_of_disk(error) or not tables.database.tables.conn.in_transaction:
                        raise
                    tell.append(partial(answer.set_exception, error))
        return tell

    def _prune(self, tables: T) -> bool:
        if self._lost is not None:
            return False
        try:
            found = tables.prune()
        except Exception as error:
            self._say(self.error(error))
            return False
        if not self._refused:
            self._say(None)
        return found

    def _say(self, trouble: WriterError | None) -> None:
        if self._alarms is not None and self._vital and self._lost is None:
            self._alarms.set("state_disk", None if trouble is None else str(trouble), about="write")


def _is_of_disk(error: Exception) -> bool:
    """Whether it is no fault of the one job."""
    return isinstance(error, (DatabaseError, sqlite3.OperationalError)) or type(error) is sqlite3.DatabaseError
