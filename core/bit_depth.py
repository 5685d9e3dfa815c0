"""Eight bits of the pictures of files that hold more, whatever range of them a camera or program has used."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_GAP = rb"(?:\s|#[^\n]*\n)+"  # blanks and comments
_NETPBM = re.compile(rb"P[2356]" + 2 * (_GAP + rb"\d+") + _GAP + rb"(\d+)")
_PAM = re.compile(rb"P7\s[^\0]{0,4096}?\nMAXVAL\s+(\d+)")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}
_MOST_TAGS = 4096


def to_eight_bits(frame: NDArray[Any], data: bytes) -> NDArray[Any]:
    """The decoded frame with its range mapped to 0..255, as `uint8`.

    A Netpbm file (PGM, PPM) names its largest value. PNG and TIFF do not: values that end within 10 or 12 bits are
    taken to be of so many, as industrial cameras save them in 16. A TIFF whose 0 is white is inverted, as OpenCV does
    it up to 8 bits.

    Args:
        frame: What OpenCV has decoded, of any shape; of another type than `uint8` and `uint16` it is returned as it is.
        data: The file.
    """
    named = _largest_named(data, frame.dtype)
    if frame.dtype == np.uint8:
        return frame if named is None or named == 255 else _scaled(frame, named)
    if frame.dtype != np.uint16:
        return frame
    largest = named or _largest_likely(int(frame.max(initial=0)))
    if data.startswith(_TIFF) and _white_is_zero(data):
        frame = largest - np.minimum(frame, largest)
    return _scaled(frame, largest)


def _scaled(frame: NDArray[Any], largest: int) -> NDArray[np.uint8]:
    bits = largest.bit_length()
    if bits > 8 and largest == (1 << bits) - 1:
        return np.asarray(np.minimum(frame, largest) >> (bits - 8), np.uint8)
    steps = np.arange(largest + 1) * 255 // largest
    return np.asarray(steps.astype(np.uint8)[np.minimum(frame, largest)])


def _largest_named(data: bytes, dtype: np.dtype[Any]) -> int | None:
    """What a Netpbm file names; None for other files, and for text of 8 bits, which OpenCV scales itself."""
    found = _NETPBM.match(data) or _PAM.match(data)
    if found is None or (dtype == np.uint8 and data[1:2] in b"23"):
        return None
    largest = int(found[1])
    return largest if 0 < largest < 1 << 16 else None


def _largest_likely(found: int) -> int:
    """Of 10 bits only where the tenth is used: a dark picture of 12 bits is likelier than a darker one of 10."""
    if 512 <= found < 1024:
        return 1023
    return 4095 if found < 4096 else 65535


def _white_is_zero(data: bytes) -> bool:
    """Whether the first directory of a TIFF or BigTIFF says so; a short look into a file that may be hostile."""
    order = "<" if data[:1] == b"I" else ">"
    offset, count, step, value = ("Q", "Q", 20, 12) if b"+" in data[2:4] else ("I", "H", 12, 8)
    try:
        (start,) = struct.unpack_from(order + offset, data, struct.calcsize(offset))
        (entries,) = struct.unpack_from(order + count, data, start)
        first = start + struct.calcsize(count)
        for entry in range(first, first + step * min(entries, _MOST_TAGS), step):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            if tag == _PHOTOMETRIC and kind in _WHOLE_NUMBERS:
                return bool(struct.unpack_from(order + _WHOLE_NUMBERS[kind], data, entry + value)[0] == _WHITE_IS_ZERO)
    except (struct.error, OverflowError):  # it ends before; OpenCV has made something of it
        pass
    return False
