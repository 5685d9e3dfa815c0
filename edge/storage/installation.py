"""The two databases of a state belong together: both carry the id of the installation and each line's last number.

`verdicts.db` has the last numbers as they are; `state.db` has them as they were some seconds ago. So one that is lost,
of another installation, or older than the other knows is found out at the start.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlite_utils import Migrations

from core.database.database import Database, DatabaseError, read_database
from core.database.error import restore_remedy
from core.database.files import is_there
from edge.storage.exchange import finish_exchange
from edge.storage.facts import ALONE, COPIED_AT, INSTALLATION, read_facts
from edge.storage.line_number import LineNumber
from edge.storage.state_tables import ALL_TABLES
from edge.storage.state_tables import FILE as STATE_FILE
from edge.storage.verdict_tables import FILE as VERDICTS_FILE
from edge.storage.verdict_tables import VERDICT_TABLES

if TYPE_CHECKING:
    from edge.storage.outbox import Outbox
    from edge.storage.settings_database import SettingsDatabase


@dataclass(frozen=True)
class Half:
    """What one of the two databases says.

    Attributes:
        installation: Its id; None: it has none yet.
        copied_at: When the backup was made, ISO 8601; None: it is none.
        alone: Whether somebody has said that it goes on without the other one.
        numbers: The last number of each line, as far as it knows.
    """

    installation: str | None
    copied_at: str | None
    alone: bool
    numbers: Mapping[str, LineNumber]


@dataclass(frozen=True)
class HalfKind:
    """Which of the two databases.

    Attributes:
        file: Its name.
        migrations: All of its migrations.
        numbers: Its table of last numbers.
    """

    file: str
    migrations: Sequence[Migrations]
    numbers: str

    def read(self, database: Database) -> Half:
        """What an open one says; of an earlier version, too.

        Raises:
            DatabaseError: the program does not write what it says.
        """
        facts, numbers = read_facts(database.tables.conn), {}
        if facts or self is VERDICTS:
            generation = "generation" if facts else "1"
            rows = database.tables.conn.execute(f"SELECT line, seq, {generation} FROM {self.numbers}").fetchall()
            try:
                numbers = {line: LineNumber(generation, seq) for line, seq, generation in rows}
            except (TypeError, ValueError) as error:
                text = f"holds what the program does not write ({error}), and was left as it is"
                raise DatabaseError(f"database {database.path} {text}: {restore_remedy(database.path)}") from error
        return Half(facts.get(INSTALLATION), facts.get(COPIED_AT), ALONE in facts, numbers)

    def opened(self, folder: Path, *, pages: bool) -> AbstractContextManager[Database]:
        """That of a state's or a backup's folder, to be read; see `read_database`."""
        return read_database(folder / self.file, self.migrations, pages=pages)

    def look(self, folder: Path) -> Half | None:
        """What that of a state's folder says; None: there is none.

        Raises:
            DatabaseError: what is there cannot be read.
        """
        path = folder / self.file
        try:
            if not is_there(path):
                return None
        except OSError as error:
            raise DatabaseError(f"database {path}: {error}; check the folder, its owner and its disk") from error
        with self.opened(folder, pages=False) as database:
            return self.read(database)


VERDICTS = HalfKind(VERDICTS_FILE, [VERDICT_TABLES], "lines")
SETTINGS = HalfKind(STATE_FILE, ALL_TABLES, "last_numbers")


@dataclass(frozen=True)
class Installation:
    """A state whose databases belong together.

    Attributes:
        id: What they carry; None: they have none yet.
        numbers: The last number of each line, as `state.db` knows it.
    """

    id: str | None = None
    numbers: Mapping[str, LineNumber] = field(default_factory=dict)


def check_installation(folder: Path) -> Installation:
    """What is in a state's folder; of a new one, nothing. A restore that was cut short is finished first.

    The state's lock is held, and its databases are not open in this process.

    Raises:
        DatabaseError: one of the databases is lost, of another installation, or cannot be read; the message says what
            helps.
    """
    finish_exchange(folder)
    return compare_databases(folder)


def compare_databases(folder: Path) -> Installation:
    """As `check_installation`, which changes nothing."""
    verdicts, settings = VERDICTS.look(folder), SETTINGS.look(folder)
    if settings is None:
        # Without an id it has never had the other; but verdicts are not given without it.
        if verdicts is not None and not verdicts.alone and (verdicts.installation is not None or verdicts.numbers):
            raise _lost(folder, STATE_FILE, VERDICTS_FILE)
        return Installation(None if verdicts is None else verdicts.installation)
    if verdicts is None:
        if settings.installation is not None and not settings.alone:
            raise _lost(folder, VERDICTS_FILE, STATE_FILE)
    elif verdicts.installation not in (None, settings.installation):
        raise DatabaseError(
            f"{folder}: {VERDICTS_FILE} and {STATE_FILE} are of different installations, and are not mixed: bring back "
            f"the one that was there, or both with `alfa-edge restore FOLDER`"
        )
    return Installation(settings.installation, settings.numbers)


def join_databases(installation: Installation, settings: SettingsDatabase, outbox: Outbox) -> None:
    """Has both databases, which are open, carry one id.

    Raises:
        DatabaseError: the disk does not take it.
    """
    identity = installation.id or uuid.uuid4().hex
    settings.join(identity)  # first: a verdict database without an id belongs to the settings that have one
    outbox.join(identity)


def _lost(folder: Path, lost: str, left: str) -> DatabaseError:
    return DatabaseError(
        f"database {folder / lost} is lost: {left} of the same installation is there, and a state has both. Put it "
        f"back, or bring a backup of both back with `alfa-edge restore FOLDER`. Where there is none, "
        f"`alfa-edge restore --without {lost}` goes on with what is left"
    )
