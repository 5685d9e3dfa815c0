"""What a database that cannot be used says."""

from __future__ import annotations

from pathlib import Path

from core.remedy import remedy


class DatabaseError(RuntimeError):
    """The database cannot be opened, read or written; the message names the file and the remedy."""


def restore_remedy(path: Path) -> str:
    """What helps where a file is lost or is not to be trusted any more."""
    return f"{remedy('restore', 'bring a backup back')}, which keeps what is in {path.parent}"
