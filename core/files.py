"""Files that are there only when they are whole."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_DRAFT = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.part", re.DOTALL)
_LEFT_OVER_S = 3600.0  # a draft that nobody has written to for so long is of a process that was killed


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False, mode: int | None = None) -> Iterator[Path]:
    """A draft beside `path`, which takes the place of `path` at the end; after an exception it is removed.

    The draft's name is new each time, so that two processes may make the same file; the last one's stays.

    Args:
        path: The file to be; its folder is there.
        sync: Whether the draft is on disk before it takes the place, and its name after that, so that a power cut
            leaves the old file or the new one. Without it a power cut may leave an empty file.
        mode: The file's permissions; None: as the process's mask gives them.

    Raises:
        OSError: the folder takes no file.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask() if mode is None else mode)
        if sync:
            sync_to_disk(draft)
        draft.replace(path)
        if sync:
            sync_to_disk(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def write(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Writes a file whole or not at all, as `replacing`."""
    with replacing(path, sync=sync) as draft:
        draft.write_bytes(data)


def sync_to_disk(path: Path) -> None:
    """Waits until the file, or the names in the folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finished_name(name: str) -> str | None:
    """The name of the file that a draft called `name` was to become; None: no draft of `replacing` is called that."""
    found = _DRAFT.fullmatch(name)
    return found[1] if found else None


def remove_drafts(folder: Path, name: str | None = None) -> None:
    """Removes what processes that were killed have left in `folder`: drafts that have not changed for an hour.

    Args:
        folder: May be missing.
        name: Only drafts of the file that is called so.

    Raises:
        OSError: one cannot be removed.
    """
    for draft in folder.glob(".*.part"):
        finished = finished_name(draft.name)
        if finished is None or (name is not None and finished != name):
            continue
        with contextlib.suppress(FileNotFoundError):  # its process has finished it meanwhile
            if time.time() - draft.lstat().st_mtime > _LEFT_OVER_S:
                draft.unlink()


def _umask() -> int:
    """The process's mask, which can only be read by setting it; Linux tells it without that."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077
