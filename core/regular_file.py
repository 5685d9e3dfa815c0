"""Files from strangers: what is no regular file, or has no end, is not waited for."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UnfitFileError(OSError):
    """It is no regular file, or is larger than asked for; `strerror` says which."""


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file; a FIFO, device, socket or folder is refused at once, unread.

    Args:
        path: The file; links are followed.
        most: Bytes that it may have.

    Raises:
        OSError: there is no such file, it cannot be read, or UnfitFileError; `strerror` says why.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL, or half a surrogate pair
        raise UnfitFileError(0, "no path has such characters") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnfitFileError(0, "it is no regular file")
        data = bytearray()
        while len(data) <= most and (more := os.read(descriptor, most + 1 - len(data))):
            data += more
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise UnfitFileError(0, f"it is larger than {most >> 10} KiB")
    return bytes(data)
