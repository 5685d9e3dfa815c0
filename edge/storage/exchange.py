"""A restored state takes the place of the one that is there: all of it or nothing, whenever the process is killed.

The new files are written to a draft, which gets its final name when all of them are on disk. That decides it: from then
on whoever opens the state first moves the files to their places. What they replace is kept in a folder of its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.database.database import DatabaseError
from core.database.files import SIDE_FILES, side_file
from core.files import sync_to_disk
from edge.clock import utc_now

KEPT = "replaced-"
"""Begins the names of the folders with what was replaced."""

_DRAFT = ".restore.part"
_WHOLE = ".restore-"


@contextmanager
def exchange_draft(folder: Path) -> Iterator[Path]:
    """An empty folder for the new databases, which `finish_exchange` then puts in the places of those in `folder`.

    The state's lock is held. After an exception the draft is gone, and nothing has changed.

    Raises:
        OSError: it cannot be written.
    """
    draft = folder / _DRAFT
    _remove_draft(folder)
    draft.mkdir(mode=0o700)
    try:
        yield draft
        for file in draft.iterdir():
            _give_to_owner(file, folder)
            sync_to_disk(file)
        sync_to_disk(draft)
        draft.rename(folder / f"{_WHOLE}{_now()}")
    finally:
        _remove_draft(folder)
    sync_to_disk(folder)


def finish_exchange(folder: Path) -> list[Path]:
    """Ends an exchange, also one that an earlier process has begun and did not live to end; the state's lock is held.

    Returns:
        The folders with what was replaced; of a new state there are none.

    Raises:
        DatabaseError: the files cannot be moved.
    """
    kept = []
    with _moving(folder):
        _remove_draft(folder)
        for former in sorted(folder.glob(f"{_WHOLE}*")):
            aside = folder / former.name.replace(_WHOLE, KEPT)
            aside.mkdir(mode=0o700, exist_ok=True)
            for file in sorted(former.iterdir()):
                _move_away(folder / file.name, aside)
                file.rename(folder / file.name)
            kept.append(aside)
            _close(aside, folder)
            former.rmdir()
    return [aside for aside in kept if aside.exists()]


def set_aside(folder: Path, name: str) -> Path | None:
    """Moves what is in the place of a database out of the way; the state's lock is held.

    Returns:
        The folder where it is; None: there was nothing.

    Raises:
        DatabaseError: it cannot be moved.
    """
    aside = folder / f"{KEPT}{_now()}"
    with _moving(folder):
        aside.mkdir(mode=0o700)
        _move_away(folder / name, aside)
        _close(aside, folder)
    return aside if aside.exists() else None


def _move_away(place: Path, aside: Path) -> None:
    """Whatever is in the place of a database, and the files beside it."""
    for old in (place, *(side_file(place, end) for end in SIDE_FILES)):
        if os.path.lexists(old):
            old.rename(aside / old.name)


def _close(aside: Path, folder: Path) -> None:
    """All moves are on disk; a folder that nothing was moved to is not kept."""
    _give_to_owner(aside, folder)
    if any(aside.iterdir()):
        sync_to_disk(aside)
    else:
        aside.rmdir()
    sync_to_disk(folder)


@contextmanager
def _moving(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"{folder}: files of the state cannot be moved ({error}); check the folder, its owner and its disk"
        raise DatabaseError(text) from error


def _now() -> str:
    return f"{utc_now():%Y%m%dT%H%M%S%fZ}"


def _remove_draft(folder: Path) -> None:
    if (folder / _DRAFT).exists():
        shutil.rmtree(folder / _DRAFT)


def _give_to_owner(path: Path, folder: Path) -> None:
    """What root restores belongs to the user of the service all the same."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)  # a link of that user's may lead anywhere
