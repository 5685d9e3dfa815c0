"""What an encoded picture says of itself, before it is decoded: its size, and how it is to be turned."""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

from PIL import Image

from core import MOST_PIXELS

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"

_JPEG_HEADER = 1 << 20  # bytes in which it says its size, behind what a camera says of itself
_PNG_CHUNKS = 64  # in which it says how it is turned, before its pixels
_FORMATS = ("JPEG", "BMP", "TIFF", "WEBP", "PPM")
_ORIENTATION, _SHORT = 274, 3  # a tag, and how its value is written


class Header(NamedTuple):
    """What an encoded picture says of itself; 0 x 0 where that is nothing, and the decoder has to."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    """EXIF's number of how it is to be turned."""


def header_of(data: bytes) -> Header:
    """The header of an encoded picture.

    It takes no longer for what a stranger made: chunks of a PNG and segments of a JPEG can be without number.
    """
    if data.startswith(PNG):
        return _png_header(data)
    start = data[:_JPEG_HEADER] if data.startswith(JPEG) else data
    try:
        with Image.open(io.BytesIO(start), formats=_FORMATS) as header:
            return Header(header.width, header.height, orientation_of(header.info.get("exif", b"")))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return Header(MOST_PIXELS, 2)
    except Exception:  # whatever the readers of five formats have against it
        return Header()


def _png_header(data: bytes) -> Header:
    if len(data) < 24:
        return Header()
    width, height = struct.unpack(">II", data[16:24])
    at = len(PNG)
    for _ in range(_PNG_CHUNKS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"eXIf":
            return Header(width, height, orientation_of(data[at + 8 : at + 8 + length]))
        if kind in (b"IDAT", b""):
            break
        at += 12 + length
    return Header(width, height)


def orientation_of(exif: bytes) -> int:
    """EXIF's number of how a picture is to be turned; 1, as it is, where nothing is said that can be read.

    Of a TIFF there is no such piece: those who read it turn it themselves.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (begin,) = struct.unpack_from(f"{order}I", exif, 4)
    count = int.from_bytes(exif[begin : begin + 2], "little" if order == "<" else "big")
    for at in range(begin + 2, min(begin + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, at)
        if (tag, kind) == (_ORIENTATION, _SHORT):
            return int(value)
    return 1
