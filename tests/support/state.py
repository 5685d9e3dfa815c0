"""A state's folder as services leave it, without the service."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Migrations

from edge.ops.alarms import Alarms
from edge.settings import HistorySettings
from edge.storage.history import History
from edge.storage.installation import check_installation, join_databases
from edge.storage.outbox import Outbox
from edge.storage.settings_database import SettingsDatabase
from tests.support.verdicts import verdict

STATE, VERDICTS = "state.db", "verdicts.db"


class OpenState:
    """Both databases, opened as the service does it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alarms = Alarms()
        folder.mkdir(parents=True, exist_ok=True)
        installation = check_installation(folder)
        self.outbox = Outbox(folder, HistorySettings(), alarms=self.alarms, known=installation.numbers)
        self.settings = SettingsDatabase(folder, alarms=self.alarms)
        try:
            self.outbox.start()
            self.settings.start()
            join_databases(installation, self.settings, self.outbox)
            self.outbox.keep_numbers(self.settings)
        except BaseException:
            self.stop()
            raise

    def issue(self, count: int, line: str = "one") -> list[tuple[int, int]]:
        """Issues verdicts; generation and number of each."""
        given = []
        for _ in range(count):
            number = (self.outbox.generation(line), self.outbox.last_seq(line) + 1)
            one = verdict(line, number[1]).model_copy(update={"generation": number[0]})
            self.outbox.issue(one).result()
            given.append(number)
        return given

    @property
    def history(self) -> History:
        """The verdicts."""
        return History(self.folder)

    def stop(self) -> None:
        """As the service does it."""
        self.outbox.tell_numbers()
        self.settings.stop()
        self.outbox.stop()


def until(tables: Migrations, count: int) -> Migrations:
    """The first `count` changes of a database's tables: those of an earlier version."""
    earlier = Migrations(tables.name)
    earlier._migrations = tables._migrations[:count]
    return earlier


@contextmanager
def open_state(folder: Path) -> Iterator[OpenState]:
    """As `OpenState`, for as long as the context is open."""
    state = OpenState(folder)
    try:
        yield state
    finally:
        state.stop()


def killed_copy(folder: Path, target: Path) -> None:
    """Copies an open state as a kill would leave it."""
    shutil.copytree(folder, target)


def rows(path: Path, query: str) -> list[Any]:
    """What a query of a database file finds."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def change(path: Path, script: str) -> None:
    """Does something to a database that is not open."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
