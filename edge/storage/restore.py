"""A backup takes the place of a state; or what is left of a state goes on without its other half."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from core.database.database import DatabaseError, open_database
from edge.clock import iso_ms
from edge.ops.lock import STATE_LOCK, is_held
from edge.storage.backup import BackupContents, BackupError, read_backup
from edge.storage.exchange import exchange_draft, finish_exchange, set_aside
from edge.storage.facts import ALONE, COPIED_AT, read_facts, set_fact
from edge.storage.installation import SETTINGS, VERDICTS, HalfKind, check_installation
from edge.storage.line_number import LineNumber, latest

_MODE = 0o640  # as the service makes its files
_COMMAND = "restore"


@dataclass(frozen=True)
class PresentState:
    """What is in the place that a backup is to take, as far as it can be read.

    Attributes:
        installations: The ids.
        lines: The last number of each line.
        waiting: Verdicts that the broker does not have.
        unreadable: What cannot be read, in words.
    """

    installations: frozenset[str]
    lines: Mapping[str, LineNumber]
    waiting: int
    unreadable: tuple[str, ...]


def look_at_state(state: Path) -> PresentState:
    """What is in a state's folder; its lock is held.

    Raises:
        DatabaseError: a restore that was cut short cannot be finished.
    """
    finish_exchange(state)
    ids, numbers, waiting, unreadable = set(), [], 0, []
    for kind in (VERDICTS, SETTINGS):
        try:
            with kind.opened(state, pages=False) as database:
                half = kind.read(database)
                if kind is VERDICTS:
                    (waiting,) = database.tables.conn.execute("SELECT count(*) FROM outbox").fetchone()
        except DatabaseError as error:
            unreadable.append(str(error))
            continue
        numbers.append(half.numbers)
        ids |= {half.installation} - {None}
    return PresentState(frozenset(map(str, ids)), latest(numbers), waiting, tuple(unreadable))


def check_backup(folder: Path, state: Path) -> BackupContents:
    """What a backup brings; all of it is read.

    Raises:
        BackupError: it is none, or not one to be brought back.
        DatabaseError: it is damaged, or of a newer version.
    """
    if os.path.realpath(folder) == os.path.realpath(state):
        raise BackupError(f"{folder} is the folder of the state itself; name that of a backup")
    if is_held(folder / STATE_LOCK):
        raise BackupError(f"{folder} is the state of a running service; make a backup of it with `alfa-edge backup`")
    return read_backup(folder)


def restore_state(
    folder: Path, state: Path, brought: BackupContents, present: PresentState, who: str, *, other: bool = False
) -> Path | None:
    """Puts a backup in the place of the state: all of it or, where that fails or is killed, nothing of it.

    The numbers go on in a new generation, above all that the backup or what it replaces knows.

    Args:
        folder: The backup.
        state: The state's folder, whose lock is held.
        brought: What the backup brings.
        present: What is in its place.
        who: Does it, for the audit.
        other: Whether it may be of another installation.

    Returns:
        The folder with what was replaced; None: there was nothing.

    Raises:
        BackupError: it is of another installation, and not `other`.
        DatabaseError: it cannot be read or written.
    """
    if not other and brought.installation is not None and present.installations - {brought.installation}:
        raise BackupError(
            f"{folder} is of another installation than {state}; with --yes it takes its place all the same"
        )
    try:
        with exchange_draft(state) as draft:
            for kind in (SETTINGS, VERDICTS):
                with kind.opened(folder, pages=False) as source:
                    source.backup(draft / kind.file, mode=_MODE)
            _go_on(draft, folder, present, who)
    except OSError as error:
        raise DatabaseError(f"{state}: {error}; check the folder, its owner and its disk") from error
    kept = finish_exchange(state)
    return kept[-1] if kept else None


def _go_on(draft: Path, folder: Path, present: PresentState, who: str) -> None:
    """Marks the copies as a backup, and has them know the numbers of what they replace."""
    from edge.storage.settings_database import SettingsTables  # brings the bank along, which takes a second

    with open_database(draft / VERDICTS.file, VERDICTS.migrations) as database, database.transaction():
        copied_at = read_facts(database.tables.conn).get(COPIED_AT)
        if copied_at is None:  # it was copied by hand
            written = (folder / VERDICTS.file).stat().st_mtime
            copied_at = iso_ms(datetime.fromtimestamp(written, timezone.utc))
            set_fact(database.tables.conn, COPIED_AT, copied_at)
    with open_database(draft / SETTINGS.file, SETTINGS.migrations) as database, database.transaction():
        tables = SettingsTables(database)
        for line, number in latest([SETTINGS.read(database).numbers, present.lines]).items():
            tables.set_number(line, number)
        tables.note(who, _COMMAND, {"folder": str(folder.absolute()), "copied_at": copied_at}, "done")


def go_on_without(state: Path, lost: HalfKind, who: str) -> Path | None:
    """Has the other database go on without one that is lost or damaged.

    Without `verdicts.db` the numbers go on in a new generation; without `state.db` nothing is left that people set.

    Args:
        state: The state's folder, whose lock is held.
        lost: Which of the two.
        who: Does it, for the audit.

    Returns:
        The folder with what was in the place of the lost one; None: there was nothing.

    Raises:
        BackupError: nothing is lost.
        DatabaseError: the other one cannot be used either.
    """
    from edge.storage.settings_database import SettingsTables

    try:
        check_installation(state)
        with lost.opened(state, pages=True):
            raise BackupError(f"{state / lost.file} is there, and is not damaged; nothing was done")
    except DatabaseError:
        pass
    left = SETTINGS if lost is VERDICTS else VERDICTS
    with left.opened(state, pages=True):
        pass
    with open_database(state / left.file, left.migrations) as database, database.transaction():
        set_fact(database.tables.conn, ALONE, "1")
        if left is SETTINGS:
            SettingsTables(database).note(who, _COMMAND, {"without": lost.file}, "done")
    return set_aside(state, lost.file)
