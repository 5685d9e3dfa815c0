"""Files that somebody names: read when they are regular ones, not too large, and not for too long."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

READ_S = 10.0
"""So long a file may take to be read, seconds: a share of a server that is gone answers nothing."""
SMALL = 1 << 20
"""The most bytes of a file that people write: a configuration, a pack, a certificate."""
PICTURE = 256 << 20
"""The most bytes of a picture's file."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}
_CHUNK = 1 << 20


def read_regular(path: Path, limit: int, timeout_s: float = READ_S) -> bytes:
    """The bytes of a regular file, or of one that a symbolic link leads to.

    A pipe, a device, a socket and a folder are not opened: that alone may wait for ever, or do something.

    Args:
        path: As somebody has named it.
        limit: The most bytes that it may have.
        timeout_s: How long it may take. What hangs after that is left behind in a thread.

    Raises:
        OSError: it is not such a file, or it cannot be read; `strerror` says why, in words.
    """
    found: list[bytes | OSError] = []

    def read() -> None:
        try:
            found.append(_read(path, limit))
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


def _read(path: Path, limit: int) -> bytes:
    _check(path, path.stat(), limit)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        _check(path, os.fstat(descriptor), limit)  # it may be another one by now
        pieces, size = [], 0
        while piece := file.read(min(_CHUNK, limit + 1 - size)):  # it may grow meanwhile
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise _too_large(path, limit)
    return b"".join(pieces)


def _check(path: Path, status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise _refused(number, f"is {kind}, not a regular file", path)
    if status.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path: Path, limit: int) -> OSError:
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"
    return _refused(errno.EFBIG, f"is larger than {size}", path)


def _refused(number: int, why: str, path: Path) -> OSError:
    return OSError(number, why, str(path))
