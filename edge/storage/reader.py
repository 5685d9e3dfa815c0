"""A database that is read beside the process that writes it, or without one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from core.database.database import Database, DatabaseError
from core.database.files import is_there

_BUSY = 10.0  # seconds that a read waits for who opens the database


class DatabaseReader:
    """Reads a database file. Any thread and any process may have one; each read opens the file, and sees one moment.

    Every method raises DatabaseError where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        """`path`: a file that is not there yet holds no rows."""
        self.path = path

    def rows(self, query: str, *values: Any) -> list[Any]:
        """What a query finds."""
        if not os.path.lexists(self.path):
            return []
        try:
            with self.open() as database, database.snapshot():
                return database.tables.conn.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:  # the latter of a message that quotes the file
            raise DatabaseError(
                f"database {self.path}: {error}; is it of this program, and of this version?"
            ) from error

    def open(self) -> Database:
        """The database, which cannot be written; to be closed, or used as a context."""
        try:
            is_there(self.path)
            name = f"{self.path.absolute().as_uri()}?mode=ro"
            return Database(self.path, sqlite3.connect(name, uri=True, timeout=_BUSY))
        except (OSError, sqlite3.OperationalError) as error:
            remedy = "check that it exists, and that this user may read it and write to its folder"
            raise DatabaseError(f"database {self.path}: {error}; {remedy}") from error
