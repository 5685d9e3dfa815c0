"""Folders that the service makes for itself."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.settings_file import ConfigError, Problem


@contextmanager
def runtime_dir(configured: Path | None) -> Iterator[Path]:
    """The directory of the service's sockets: as configured, else systemd's, else a private temporary one.

    Raises:
        ConfigError: it cannot be made.
    """
    given = configured or (Path(os.environ["RUNTIME_DIRECTORY"]) if "RUNTIME_DIRECTORY" in os.environ else None)
    if given is None:
        with tempfile.TemporaryDirectory(prefix="alfa-edge-") as private:
            yield Path(private)
        return
    try:
        given.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        remedy = f"cannot be made: {error.strerror or error}; name a directory that the service can write"
        raise ConfigError([Problem("service", "runtime_dir", str(given), remedy)]) from error
    yield given


@contextmanager
def not_left(path: Path) -> Iterator[None]:
    """Removes at the end the file or folder `path` and the folders above it, if they were made inside and hold nothing.

    For who only looks, perhaps as another user: what is left would not be the service's.
    """
    missing = [made for made in (path, *path.parents) if not made.exists()]
    try:
        yield
    finally:
        for made in missing:
            with contextlib.suppress(OSError):  # it was not made, or holds something by now
                made.rmdir() if made.is_dir() else made.unlink()
