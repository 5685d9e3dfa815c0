"""What somebody may put where a file is expected, and how long reading it may take."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 5.0
HOSTILE = ("pipe", "zero", "folder", "socket", "link to a pipe", "link to zero", "loop", "huge")


def hostile(kind: str, path: Path) -> Path:
    """Puts something at `path` that is no file to be read whole."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        return Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(path))
    elif kind == "link to a pipe":
        os.mkfifo(path.with_name("pipe"))
        path.symlink_to(path.with_name("pipe"))
    elif kind == "link to zero":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)  # of which nothing is on disk
    return path


def in_time(work: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """What `work` returns or raises; fails where it hangs."""
    found: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    assert found, f"it hangs for more than {seconds:g} s"
    return found[0]
