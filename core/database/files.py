"""The files of a database: what lies in their places before it is opened, and whether that is so while it is open."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.database.error import DatabaseError, restore_remedy

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database: the ends of the names."""

_SHARED = ("-wal", "-shm")  # those that are there as long as it is open
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_HEADER = 20
_MAGIC = b"SQLite format 3\0"
_WAL_MODE = b"\2\2"  # in the last two bytes of the header read here, as of every database that was opened once


def side_file(path: Path, end: str) -> Path:
    """A file beside the database `path`, by the end of its name."""
    return path.with_name(path.name + end)


def is_there(path: Path) -> bool:
    """Whether there is a file in the place of a database, which may be opened without waiting.

    A pipe is not opened: that alone may wait for ever. Nor is an empty file: SQLite would delete the WAL beside it.

    Raises:
        DatabaseError: something else is in its place, or in that of a file beside it; or it is empty.
        OSError: the place cannot be looked at.
    """
    for file in (path, *(side_file(path, end) for end in SIDE_FILES)):
        try:
            kind = stat.S_IFMT(file.stat().st_mode)
        except FileNotFoundError:
            if file.is_symlink():
                text = f"is a link to {file.readlink()}, which is not there: mount its disk, or {restore_remedy(path)}"
                raise DatabaseError(f"database {file}: {text}") from None
            continue
        if kind != stat.S_IFREG:
            text = f"{_KINDS.get(kind, 'something else')} is in its place, and no file: check who put it there"
            raise DatabaseError(f"database {file}: {text}, move it elsewhere, and {restore_remedy(path)}")
    if not path.exists():
        return False
    if not path.stat().st_size:
        raise DatabaseError(
            f"database {path} is none of ours: it is empty; name another file. If it was: {restore_remedy(path)}"
        )
    return True


class OpenFiles:
    """The files of a database as they were when it was opened.

    The file itself is held open, and closed after the connection: closing it before that would take SQLite's locks of
    it away from the whole process.
    """

    def __init__(self, path: Path) -> None:
        """Before the process opens the database.

        Raises:
            DatabaseError: it is no database, or the changes beside it are not its own.
            OSError: it cannot be read.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._size = 0
        self._shared: dict[Path, tuple[int, int]] = {}
        try:
            self._check_header()
        except BaseException:
            self.close()
            raise

    def _check_header(self) -> None:
        """A database has its mode in its first page before it has a WAL, and in that mode it has no journal. A file
        beside it that cannot be its own is of another one that was there: SQLite would mix it into this one.
        """
        header = os.pread(self._descriptor, _HEADER, 0)
        if not header.startswith(_MAGIC):
            text = f"file is not a database; it was left as it is: {restore_remedy(self._path)}"
            raise DatabaseError(f"database {self._path}: {text}")
        for end in ("-journal",) if header.endswith(_WAL_MODE) else ("-journal", "-wal"):
            file = side_file(self._path, end)
            if file.exists() and file.stat().st_size:
                text = f"{file.name} beside it is of another file, and would be mixed into it: move {file} elsewhere"
                raise DatabaseError(f"database {self._path}: {text}, or {restore_remedy(self._path)}")

    def opened(self) -> None:
        """The connection is there: from now on the files stay what they are."""
        self._size = os.fstat(self._descriptor).st_size
        for file in (side_file(self._path, end) for end in _SHARED):
            self._shared[file] = _identity(file.stat())

    def displaced(self) -> str | None:
        """What has become of the files, in words with the remedy; None: all are what they were.

        What is written to a file that has lost its name is gone with the process.
        """
        try:
            found = self._displaced()
        except OSError as error:
            found = f"{self._path} cannot be read ({error.strerror})"
        return None if found is None else f"database {found}"

    def _displaced(self) -> str | None:
        remedy = f"stop the service, and {restore_remedy(self._path)}"
        if (lost := _lost(self._path, _identity(os.fstat(self._descriptor)))) is not None:
            return (
                f"{lost}: put it back, and the service goes on; or leave nothing in its place and start the service "
                f"anew, which writes back what it has; or {remedy}"
            )
        size, header = os.fstat(self._descriptor).st_size, os.pread(self._descriptor, _HEADER, 0)
        if size < self._size or not header.startswith(_MAGIC) or not header.endswith(_WAL_MODE):
            return f"{self._path} was overwritten or cut short while it was open: {remedy}"
        self._size = size
        for file, identity in self._shared.items():
            if (lost := _lost(file, identity)) is not None:
                return f"{lost}: stop the service, which saves what it has, and start it again"
        return None

    def is_deleted(self) -> bool:
        """Whether there is nothing any more where the file was, in a folder that is still on the same disk."""
        if os.path.lexists(self._path) or not self._path.parent.exists():
            return False
        return self._path.parent.stat().st_dev == os.fstat(self._descriptor).st_dev

    def close(self) -> None:
        """After the connection."""
        os.close(self._descriptor)


def _lost(file: Path, identity: tuple[int, int]) -> str | None:
    """What has become of an open file; None: it is where it was."""
    try:
        found = _identity(file.stat())
    except FileNotFoundError:
        return f"{file} was deleted or moved away while it was open"
    return None if found == identity else f"{file} was replaced by another file while it was open"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
