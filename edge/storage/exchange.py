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

from core.database import DatabaseError
from core.database_files import SIDE_FILES, side_file
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
        draft.rename(folder / f"{_WHOLE}{utc_now():%Y%m%dT%H%M%S%fZ}")
    finally:
        _remove_draft(folder)
    sync_to_disk(folder)


def finish_exchange(folder: Path) -> list[Path]:
    """Ends an exchange, also one that an earlier process has begun and did not live to end; the state's lock is held.

    Returns:
        The folders with what was replaced.

    Raises:
        DatabaseError: the files cannot be moved.
    """
    kept = []
    try:
        _remove_draft(folder)
        for whole in sorted(folder.glob(f"{_WHOLE}*")):
            kept.append(folder / whole.name.replace(_WHOLE, KEPT))
            _exchange(folder, whole, kept[-1])
    except OSError as error:
        raise DatabaseError(
            f"the restored state in {folder}: {error}; check the folder, its owner and its disk"
        ) from error
    return kept


def _exchange(folder: Path, whole: Path, kept: Path) -> None:
    kept.mkdir(mode=0o700, exist_ok=True)
    _give_to_owner(kept, folder)
    for file in sorted(whole.iterdir()):
        place = folder / file.name
        for old in (place, *(side_file(place, end) for end in SIDE_FILES)):
            if os.path.lexists(old):
                old.rename(kept / old.name)
        file.rename(place)
    sync_to_disk(kept)
    sync_to_disk(folder)
    whole.rmdir()
    sync_to_disk(folder)


def _remove_draft(folder: Path) -> None:
    if (folder / _DRAFT).exists():
        shutil.rmtree(folder / _DRAFT)


def _give_to_owner(path: Path, folder: Path) -> None:
    """What root restores belongs to the user of the service all the same."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
