"""A file that one process at a time holds; the kernel lets go of it when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import IO

STATE_LOCK = "state.lock"
"""The name of the lock file in a state folder."""
CONSOLE_LOCK = "console.lock"
"""The name of that beside the console's socket."""

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
_LOOK_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class LockError(RuntimeError):
    """Another process holds the file, or it cannot be made; the message names it and the remedy."""


class HeldError(LockError):
    """Another process holds the file."""


def hold(path: Path) -> IO[bytes]:
    """The lock file at `path`, held for as long as it is open.

    Raises:
        HeldError: another process holds it.
        LockError: it cannot be made.
    """
    while True:
        try:  # a pipe in its place must not keep whoever opens it
            file = os.fdopen(os.open(path, _FLAGS, 0o666), "ab")
        except OSError as error:
            raise LockError(f"{path}: {error.strerror or error}") from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            found = "something else than a file is in its place; check who put it there, and remove it"
            raise LockError(f"{path}: {found}")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            message = f"{path}: another alfa-edge uses this folder; stop it, or give this one a folder of its own"
            raise HeldError(message) from None
        if _is_at(path, file):
            return file
        file.close()  # somebody has removed it meanwhile, and the next process would make it anew


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file at `path`. It is only read: its disk may take nothing, as that of a backup.

    One that this user may not read belongs to somebody else, and counts as held.
    """
    try:
        descriptor = os.open(path, _LOOK_FLAGS)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def hold_state(folder: Path) -> IO[bytes]:
    """The lock of a state folder, which is made where there is none.

    Raises:
        LockError: another service, or command, uses it; or it cannot be made.
    """
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise LockError(f"{folder}: {error.strerror or error}; set service.state_dir") from error
    return hold(folder / STATE_LOCK)


def hold_console(folder: Path) -> IO[bytes]:
    """The lock of the folder of the console's socket, which is there.

    Raises:
        LockError: another service uses it; or it cannot be made.
    """
    return hold(folder / CONSOLE_LOCK)
