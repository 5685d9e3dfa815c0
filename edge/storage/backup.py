"""Backups of a state: made beside a running service, checked, and read before they are brought back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.database.database import Database
from edge.clock import iso_ms, utc_now
from edge.storage.installation import SETTINGS, VERDICTS
from edge.storage.line_number import LineNumber

if TYPE_CHECKING:
    from edge.storage.history import History
    from edge.storage.settings_database import SettingsDatabase

_FOLDER_MODE = 0o700  # shots and verdicts are nobody else's business


class BackupError(ValueError):
    """A backup cannot be made there, or what is there is none; the message says what helps."""


@dataclass(frozen=True)
class BackupContents:
    """What a backup brings.

    Attributes:
        installation: The id of what was copied; None: it had none yet.
        copied_at: When, ISO 8601; None: it was copied by hand.
        lines: The last number of each line.
        verdicts: How many verdicts are in the history.
        waiting: How many of them wait for the broker.
        shots: How many shots there are, those that were put aside included.
        sizes: The bytes of its files, by name.
    """

    installation: str | None
    copied_at: str | None
    lines: Mapping[str, LineNumber]
    verdicts: int
    waiting: int
    shots: int
    sizes: Mapping[str, int]


def write_backup(folder: Path, settings: SettingsDatabase, history: History) -> BackupContents:
    """Copies both databases into `folder`, beside what goes on, and checks the copies.

    Args:
        folder: A new or empty one; others are not touched.
        settings: The database of the running service.
        history: The verdicts beside it.

    Returns:
        What has been copied.

    Raises:
        BackupError: it is no such folder, or it cannot be written.
        DatabaseError: the databases cannot be copied. Nothing of it is left.
    """
    made = _make_folder(folder, settings.folder)
    at, copies = utc_now(), []
    try:
        copies.append(settings.backup(folder, at))
        copies.append(history.backup(folder, at))
        contents = read_backup(folder, pages=False)  # the pages were read before the files got their names
        if contents.copied_at != iso_ms(at):
            raise BackupError(f"{folder}: what was written is not what is there; who else writes to it?")
        return contents
    except BaseException:
        for copy in copies:
            copy.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):  # somebody else has put something there
                folder.rmdir()
        raise


def read_backup(folder: Path, *, pages: bool = True) -> BackupContents:
    """What a backup brings.

    Args:
        folder: With both databases.
        pages: Whether all of the files is checked.

    Raises:
        BackupError: it is none; half of one; or its halves do not belong together.
        DatabaseError: a file of it is damaged, or of a newer version.
    """
    if missing := [kind.file for kind in (SETTINGS, VERDICTS) if not (folder / kind.file).exists()]:
        what = "no backup" if len(missing) == 2 else "half a backup"
        raise BackupError(f"{folder} is {what}: {' and '.join(missing)} is not there")
    with SETTINGS.opened(folder, pages=pages) as database:
        settings, shots = SETTINGS.read(database), _count(database, "shots")
    with VERDICTS.opened(folder, pages=pages) as database:
        verdicts, kept, waiting = VERDICTS.read(database), _count(database, "verdicts"), _count(database, "outbox")
    if settings.installation != verdicts.installation or (
        settings.copied_at != verdicts.copied_at and settings.installation is not None
    ):
        raise BackupError(f"{folder}: {SETTINGS.file} and {VERDICTS.file} are not of one backup")
    sizes = {kind.file: (folder / kind.file).stat().st_size for kind in (SETTINGS, VERDICTS)}
    lines = dict(verdicts.numbers)
    return BackupContents(verdicts.installation, verdicts.copied_at, lines, kept, waiting, shots, sizes)


def _count(database: Database, table: str) -> int:
    return int(database.tables.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _make_folder(folder: Path, state: Path) -> bool:
    """A new or empty folder for a backup, apart from the state; whether it was made."""
    place, home = Path(os.path.realpath(folder)), Path(os.path.realpath(state))
    if place == home or home in place.parents:
        raise BackupError(f"{folder} is in the folder of the state; name one elsewhere, best on another disk")
    try:
        if not folder.exists():
            folder.mkdir(mode=_FOLDER_MODE, parents=True)
            return True
        if not folder.is_dir():
            raise BackupError(f"{folder} is no folder; name a new or empty one")
        if held := sorted(file.name for file in folder.iterdir()):
            raise BackupError(
                f"{folder} is not empty ({', '.join(held[:3])}), and nothing there is overwritten; "
                "name a new or empty folder"
            )
        with contextlib.suppress(PermissionError):  # of somebody else, as a mounted disk is; the files are private
            folder.chmod(_FOLDER_MODE)
    except OSError as error:
        raise BackupError(f"{folder}: {error.strerror or error}; name a folder that the service can write") from error
    return False
