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
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I"}
_MOST_TAGS = 4096
_FULL = 65535


class BitDepth:
    """How many bits of 16 the pictures of one source use: as somebody says, else as their values do.

    A source keeps to what it has used: a dark picture of 12 bits is not taken for one of 10 once another one was seen.

    Attributes:
        bits: As configured; None where nothing is.
        recognised: The most that were recognised by values; None where no picture left that open.
    """

    def __init__(self, bits: int | None = None) -> None:
        """`bits`: 9 to 16."""
        if bits is not None and not 9 <= bits <= 16:
            raise ValueError(f"bits {bits} is not from 9 to 16; pictures of 8 bits need none")
        self.bits = bits
        self.recognised: int | None = None

    def __str__(self) -> str:
        """What is known of it, in words."""
        if self.bits is not None:
            return f"pictures of 16 bits use {self.bits}, as configured"
        if self.recognised is None:
            return "no picture has left open how many bits it uses"
        return f"pictures of 16 bits are taken to use {self.recognised}, as their values do; bits says otherwise"

    def largest(self, found: int) -> int:
        """The value that means white, where the largest one of a picture is `found`.

        Raises:
            ValueError: it is beyond the configured bits.
        """
        if self.bits is None:
            self.recognised = max(self.recognised or 0, _likely_bits(found))
            return int((1 << self.recognised) - 1)
        if found >> self.bits:
            raise ValueError(f"has values up to {found}, and {self.bits} bits end at {(1 << self.bits) - 1}")
        return (1 << self.bits) - 1


def to_eight_bits(frame: NDArray[Any], data: bytes, depth: BitDepth | None = None) -> NDArray[Any]:
    """The decoded frame with its range mapped to 0..255, as `uint8`.

    A Netpbm file (PGM, PPM) names its largest value, and a TIFF whose samples are packed their bits. Other PNG and TIFF
    files do not: values that end within 10 or 12 bits are taken to be of so many, as industrial cameras save them in
    16. A TIFF whose 0 is white is inverted, as OpenCV does it up to 8 bits.

    Args:
        frame: What OpenCV has decoded, of any shape; of another type than `uint8` and `uint16` it is returned as it is.
        data: The file.
        depth: Of its source, for values of 16 bits. Default: it is of none.

    Raises:
        ValueError: values are beyond the configured bits.
    """
    named = _largest_named(data, frame.dtype)
    if frame.dtype == np.uint8:
        return frame if named is None or named == 255 else _scaled(frame, named)
    if frame.dtype != np.uint16:
        return frame
    colours = frame[..., :3] if frame.ndim == 3 else frame  # opacity has all its bits, however many the colours use
    depth = depth or BitDepth()
    found = int(colours.max(initial=0))
    largest = depth.largest(found) if named is None or (depth.bits is not None and named == _FULL) else named
    if data.startswith(_TIFF) and _tag(data, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        frame = largest - np.minimum(frame, largest)
    return _scaled(frame, largest)


def _scaled(frame: NDArray[Any], largest: int) -> NDArray[np.uint8]:
    bits = largest.bit_length()
    if bits > 8 and largest == (1 << bits) - 1:
        return np.asarray(np.minimum(frame, largest) >> (bits - 8), np.uint8)
    steps = np.arange(largest + 1) * 255 // largest
    return np.asarray(steps.astype(np.uint8)[np.minimum(frame, largest)])


def _largest_named(data: bytes, dtype: np.dtype[Any]) -> int | None:
    """What a Netpbm file names; of packed TIFFs what OpenCV makes of them. None for others, and for text of 8 bits,
    which OpenCV scales itself."""
    if data.startswith(_TIFF):
        return _FULL if dtype == np.uint16 and (_tag(data, _BITS) or 16) < 16 else None
    found = _NETPBM.match(data) or _PAM.match(data)
    if found is None or (dtype == np.uint8 and data[1:2] in b"23"):
        return None
    largest = int(found[1])
    return largest if 0 < largest < 1 << 16 else None


def _likely_bits(found: int) -> int:
    """Of 10 bits only where the tenth is used: a dark picture of 12 bits is likelier than a darker one of 10."""
    if 512 <= found < 1024:
        return 10
    return 12 if found < 4096 else 16


def _tag(data: bytes, wanted: int) -> int | None:
    """The first whole number of a tag in the first directory of a TIFF or BigTIFF; None where it is not found.

    It is a short look into a file that may be hostile.
    """
    order = "<" if data[:1] == b"I" else ">"
    offset, count, step, inline = ("Q", "Q", 20, 8) if b"+" in data[2:4] else ("I", "H", 12, 4)
    try:
        (start,) = struct.unpack_from(order + offset, data, 8 if offset == "Q" else 4)
        (entries,) = struct.unpack_from(order + count, data, start)
        first = start + struct.calcsize(count)
        for entry in range(first, first + step * min(entries, _MOST_TAGS), step):
            tag, kind, values = struct.unpack_from(f"{order}HH{offset}", data, entry)
            if tag == wanted and kind in _WHOLE_NUMBERS:
                place = entry + step - inline
                if values * struct.calcsize(_WHOLE_NUMBERS[kind]) > inline:
                    (place,) = struct.unpack_from(order + offset, data, place)
                return int(struct.unpack_from(order + _WHOLE_NUMBERS[kind], data, place)[0])
    except (struct.error, OverflowError):  # it ends before; OpenCV has made something of it
        pass
    return None
