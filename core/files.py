"""Files that are there only when they are whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A draft beside `path`, which takes the place of `path` at the end; after an exception it is removed.

    Args:
        path: The file to be; its folder is there.
        sync: Whether the draft is on disk before it takes the place, so that a power cut leaves the old file or the
            new one. Without it a power cut may leave an empty file.

    Raises:
        OSError: the folder takes no file.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o666 & ~_umask())
        if sync:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Writes a file whole or not at all, as `replacing`."""
    with replacing(path, sync=sync) as draft:
        draft.write_bytes(data)


def _umask() -> int:
    """The process's mask, which can only be read by setting it; Linux tells it without that."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077
