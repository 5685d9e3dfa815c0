"""A SQLite file that is whole and ours, or is not opened; what was committed to it outlasts a power cut."""

from __future__ import annotations

import fcntl
import glob
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

import sqlite_utils
from sqlite_utils import Migrations

from core.database.error import DatabaseError as DatabaseError
from core.database.error import restore_remedy
from core.database.files import SIDE_FILES, OpenFiles, is_there, side_file
from core.database.schema import check_schema
from core.files import replacing

_STRICT = (3, 37, 0)  # the first SQLite that has STRICT tables
_SHM_BYTES = 32 << 10  # the least that opening one takes
_WAL_PAGES = 512  # 2 MiB, half of SQLite's: while a full disk takes nothing into the file, they keep its room
_BUSY = 10.0  # seconds that a writer waits for another
_PAUSE = 0.02  # seconds between two looks whether it is done

# By what SQLite's message holds: Python 3.10 does not pass on its codes.
_REMEDIES = {
    "full": "make room on its disk",
    "readonly": "the file or its disk can only be read: check the mount and the file's owner and mode",
    "unable to open": "check that its folder exists, can be written by this user, and is not mounted read-only",
    "locked": "another program writes to it: wait for it, or end it",
    "disk I/O": "check the disk (dmesg names the faulty one)",
}


class Database:
    """One connection to a database file, for the thread that opened it: another thread opens its own.

    Write inside `transaction`, and read inside `snapshot` what must fit together: they turn SQLite's errors into
    `DatabaseError`. Writers take turns, and never wait for readers.

    Attributes:
        path: The file.
        tables: The connection, as sqlite-utils has it.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, files: OpenFiles | None = None) -> None:
        """`files`: those of a connection that writes."""
        self.path = path
        self.tables = _tables(connection)
        self._files = files

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside, on disk at its end, or nothing of it. Inside another one it is a part of that.

        Raises:
            DatabaseError: the disk is full or cannot be written, or another writer did not finish within 10 s.
        """
        with _named(f"database {self.path}", self.path):
            if self.tables.conn.in_transaction:
                with _savepoint(self.tables.conn):
                    yield
                return
            self.tables.execute("BEGIN IMMEDIATE")  # so that what it reads is still so when it writes
            try:
                yield
                self.tables.commit()
            except BaseException:
                self.tables.rollback()
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one moment, whatever others write meanwhile; nothing is to be written inside.

        Raises:
            DatabaseError: the file cannot be read.
        """
        with _named(f"database {self.path}", self.path), self.tables.atomic():
            yield

    def reader(self) -> Database:
        """A connection that cannot write, for the thread that calls this, which may be any.

        Raises:
            DatabaseError: the file cannot be opened, or is not the one that this connection has open.
        """
        self.check_files()
        with _named(f"database {self.path}", self.path):
            return Database(self.path, _connect(self.path, "ro"))

    def displaced(self) -> str | None:
        """What has become of the open file, in words with the remedy; None: it is in its place. Any thread may ask."""
        files = self._files
        return None if files is None else files.displaced()

    def check_files(self) -> None:
        """Raises DatabaseError where the open file is not in its place any more."""
        if (displaced := self.displaced()) is not None:
            raise DatabaseError(displaced)

    def backup(self, target: Path, script: str = "", mode: int = 0o600) -> None:
        """Writes all that is committed now to the new file `target`, which is there only when it is whole.

        Others may go on writing, and any thread may call this. The copy is a single file, checked after it was written.

        Args:
            target: Where there is nothing yet.
            script: SQL that is executed in the copy before it is there.
            mode: The permissions of the copy.

        Raises:
            DatabaseError: `target` cannot be written or is there already, or this database is damaged or displaced.
        """
        what = f"backup of {self.path} to {target}"
        self.check_files()
        with _named(what, self.path), _filed(what), _alone(target.parent):
            if os.path.lexists(target):
                raise DatabaseError(f"{what}: there is such a file already, which is not overwritten; name another")
            with closing(_connect(self.path, "ro")) as source, _in_place(target, mode) as draft:
                _copy(source, draft, script, what)

    @property
    def is_deleted(self) -> bool:
        """Whether somebody has deleted the file, so that `write_back` would write it."""
        return self._files is not None and self._files.is_deleted()

    def write_back(self) -> bool:
        """Writes all that is committed to the place of the file, where somebody has deleted it; for its own thread.

        Whoever opens the file after that finds all of it. This connection is of no use any more but to be closed.

        Returns:
            Whether it was deleted.

        Raises:
            DatabaseError: it cannot be written.
        """
        what = f"database {self.path}, which was deleted and is to be written back"
        with _named(what, self.path), _filed(what):
            if not self.is_deleted:
                return False
            with _alone(self.path.parent), replacing(self.path, sync=True) as draft:
                _copy(self.tables.conn, draft, "", what)
            for end in SIDE_FILES:  # all that they have is in the copy
                side_file(self.path, end).unlink(missing_ok=True)
        return True

    def close(self) -> None:
        """Ends the connection; what is not committed is gone."""
        self.tables.close()
        if self._files is not None:
            self._files.close()
            self._files = None


def migrations(name: str, *scripts: str) -> Migrations:
    """A set of migrations, one for each SQL script, in their order.

    A script that was released is never changed: a change of its tables is one more script after it.

    Args:
        name: Of the set; unlike that of any other in the database.
        scripts: One or more statements each, for STRICT tables, without BEGIN and COMMIT.
    """
    made = Migrations(name)
    for number, script in enumerate(scripts, 1):

        def run(database: sqlite_utils.Database, script: str = script) -> None:
            database.executescript(script)  # which does not commit inside a transaction, unlike sqlite3's

        made(name=f"{number:04}")(run)
    return made


def open_database(path: Path, sets: Sequence[Migrations]) -> Database:
    """The database in the file `path`, made where there is none, brought to the newest schema and checked throughout.

    It is in WAL mode, every commit is synced to the disk, and foreign keys hold. Each pending migration is recorded in
    the transaction that makes it.

    A file that is refused is left as it is. The process has no other connection to it.

    Args:
        path: The file; its folder is made.
        sets: All migrations of the program; each set has its own name.

    Raises:
        DatabaseError: the file is no database, another program's, truncated, damaged, tampered with or of a newer
            schema; something else is in its place; it cannot be written; or this SQLite has no STRICT tables.
    """
    _check_sqlite()
    what = f"database {path}"
    with _named(what, path, of_file=True), _filed(what):
        if not is_there(path):
            with _alone(path.parent):
                if not is_there(path):  # nor made by another process since
                    _create(path, sets)
        files = OpenFiles(path)
        try:
            with closing(_connect(path, "ro")) as connection:  # which cannot alter what is to be refused
                check_schema(connection, sets, what, restore_remedy(path))
                _check_pages(connection, what, path)
        except BaseException:
            files.close()
            raise
    with _named(what, path), _filed(what):
        try:
            database = Database(path, _connect(path, "rw"), files)
        except BaseException:
            files.close()
            raise
        try:
            _ready(database, sets)
            files.opened()
        except BaseException:
            database.close()
            raise
        return database


@contextmanager
def read_database(path: Path, sets: Sequence[Migrations], *, pages: bool) -> Iterator[Database]:
    """The database in the file `path`, to be read as it is: nothing is made, and no migration applied.

    The process has no other connection to it.

    Args:
        path: The file.
        sets: As of `open_database`; an older schema is taken, too.
        pages: Whether all of the file is checked.

    Raises:
        DatabaseError: as of `open_database`; or there is no such file, or what is read is not in it.
    """
    _check_sqlite()
    what = f"database {path}"
    with _named(what, path, of_file=True), _filed(what):
        if not is_there(path):
            raise DatabaseError(f"{what} is not there: {restore_remedy(path)}")
        files = OpenFiles(path)
        try:
            with Database(path, _connect(path, "ro")) as database:
                check_schema(database.tables.conn, sets, what, restore_remedy(path))
                if pages:
                    _check_pages(database.tables.conn, what, path)
                yield database
        finally:
            files.close()


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < _STRICT:
        raise DatabaseError(f"SQLite {sqlite3.sqlite_version} has no STRICT tables; use a Python with 3.37 or later")


def _copy(source: sqlite3.Connection, target: Path, script: str, what: str) -> None:
    """All that is committed, as a single file, checked."""
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.executescript(script)
        copy.execute("PRAGMA journal_mode = DELETE")  # a WAL file would not open from read-only media
        _check_pages(copy, what, target)


def _tables(connection: sqlite3.Connection) -> sqlite_utils.Database:
    return sqlite_utils.Database(connection, strict=True, execute_plugins=False)


def _ready(database: Database, sets: Sequence[Migrations]) -> None:
    database.tables.enable_wal()
    if database.tables.journal_mode != "wal":
        raise DatabaseError(f"database {database.path}: its file system does not take a WAL; move it to a local disk")
    with database.transaction():  # SQLite opens a file that it may only read, and begins, without a word
        database.tables.execute(f"DELETE FROM {Migrations.migrations_table} WHERE 0")
    _migrate(database.tables, sets)


def _migrate(tables: sqlite_utils.Database, sets: Sequence[Migrations]) -> None:
    for migration_set in sets:
        migration_set.apply(tables)


def _create(path: Path, sets: Sequence[Migrations]) -> None:
    """Made beside and moved into place, so that an empty file is never a young database, but always a lost one."""
    with _in_place(path) as draft, closing(sqlite3.connect(draft)) as connection:
        tables = _tables(connection)
        _migrate(tables, sets)
        tables.enable_wal()  # in its place a kill would leave a journal


@contextmanager
def _in_place(path: Path, mode: int | None = None) -> Iterator[Path]:
    """The name of a file to write beside `path`, whose place it takes at the end; `_alone` is held."""
    wal = side_file(path, "-wal")
    if wal.exists() and wal.stat().st_size:  # SQLite would replay it onto whatever bears the name
        raise DatabaseError(f"{wal} holds changes of a database that is not here: bring that back, or move it away")
    for left_over in path.parent.glob(f".{glob.escape(path.name)}.*part*"):  # of a killed process; or its journal
        left_over.unlink()
    with replacing(path, sync=True, mode=mode) as draft:
        yield draft


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time in a folder among all processes; the lock goes with the process that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    end = time.monotonic() + _BUSY
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise DatabaseError(f"another program holds the folder {folder}: wait for it, or end it") from None
        time.sleep(_PAUSE)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    return connection


def _check_pages(connection: sqlite3.Connection, what: str, path: Path) -> None:
    """Reads all of the file; and each row that others refer to is there."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found == "ok":
        missing = connection.execute("PRAGMA foreign_key_check").fetchone()
        if missing is None:
            return
        found = f"a row of {missing[0]} refers to one of {missing[2]} that is not there"
    raise DatabaseError(f"{what} is damaged ({' '.join(found.split())}) and was left as it is: {restore_remedy(path)}")


@contextmanager
def _savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """A part of a transaction. One name for all: with a new name each, as of sqlite-utils, they would drive the
    statements that are used for every part out of sqlite3's cache.
    """
    connection.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # which a full disk ends
            connection.execute("ROLLBACK TO part")
            connection.execute("RELEASE part")
        raise
    connection.execute("RELEASE part")


@contextmanager
def _named(what: str, path: Path, *, of_file: bool = False) -> Iterator[None]:
    """SQLite's errors that come of the file and its disk, as ours; those of wrong use stay what they are.

    Where only the file can be wrong, `of_file`, all of them are.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        remedy = next((words for key, words in _REMEDIES.items() if key in str(error)), None)
        if remedy is None and of_file:
            remedy = f"it was left as it is: {restore_remedy(path)}"
        if remedy is None:
            raise
        if remedy == _REMEDIES["disk I/O"] and _is_full(path):
            raise DatabaseError(f"{what}: its disk is full ({error}); {_REMEDIES['full']}") from error
        raise DatabaseError(f"{what}: {error}; {remedy}") from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise
        raise DatabaseError(f"{what}: {error}; it was left as it is: {restore_remedy(path)}") from error
    except UnicodeDecodeError as error:  # of a message that quotes the file
        if not of_file:
            raise
        raise DatabaseError(f"{what} is damaged ({error}) and was left as it is: {restore_remedy(path)}") from error


def _is_full(path: Path) -> bool:
    """SQLite says 'disk I/O error' where a full disk leaves no room for the file's index of what is committed."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < _SHM_BYTES


@contextmanager
def _filed(what: str) -> Iterator[None]:
    """Errors of the file system as ours."""
    try:
        yield
    except OSError as error:
        raise DatabaseError(f"{what}: {error}; check the folder, its owner and its disk") from error
