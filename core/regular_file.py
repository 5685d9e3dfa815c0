"""Files from strangers: what is no regular file, has no end, or lies on a server that is gone, is not waited for."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from pathlib import Path

READ_S = 10.0
"""So long a file may take to be read, seconds: a share of a server that is gone answers nothing."""
SMALL = 1 << 20
"""The most bytes of a file that people write: a configuration, a pack, a certificate."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}
_CHUNK = 1 << 20


def read_regular(path: Path, most: int, timeout_s: float = READ_S) -> bytes:
    """The bytes of a regular file, or of one that a symbolic link leads to.

    A pipe, a device, a socket and a folder are not opened: that alone may wait for ever, or do something.

    Args:
        path: As somebody has named it.
        most: Bytes that it may have.
        timeout_s: How long it may take. What hangs after that is left behind in a thread.

    Raises:
        OSError: it is not such a file, or it cannot be read; `strerror` says why, in words.
    """
    found: list[bytes | OSError] = []

    def read() -> None:
        try:
            found.append(_read(path, most))
        except OSError as error:
            found.append(error)
        except ValueError as error:  # NUL, or half a surrogate pair
            found.append(_refused(errno.EINVAL, f"no path: {error}", path))

    reading = threading.Thread(target=read, name="reading", daemon=True)
    reading.start()
    reading.join(timeout_s)
    if not found:
        raise _refused(errno.ETIMEDOUT, f"not read within {timeout_s:g} s; is its disk or server there?", path)
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def check_regular(path: Path) -> None:
    """Looks whether a file is a regular one, or a symbolic link to one; does not open it.

    Raises:
        OSError: it is not, or there is none; `strerror` says why, in words.
    """
    _check(path, path.stat(), sys.maxsize)


def _read(path: Path, most: int) -> bytes:
    _check(path, path.stat(), most)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        _check(path, os.fstat(descriptor), most)  # it may be another one by now
        pieces, size = [], 0
        while piece := file.read(min(_CHUNK, most + 1 - size)):  # it may grow meanwhile
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise _too_large(path, most)
    return b"".join(pieces)


def _check(path: Path, status: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise _refused(number, f"is {kind}, not a regular file", path)
    if status.st_size > most:
        raise _too_large(path, most)


def _too_large(path: Path, most: int) -> OSError:
    size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most} bytes"
    return _refused(errno.EFBIG, f"is larger than {size}", path)


def _refused(number: int, why: str, path: Path) -> OSError:
    return OSError(number, why, str(path))
