"""Pictures in memory and in files: the one place for colour order. Everywhere else an image is RGB.

An image is `uint8`, height x width x 3, RGB, C-contiguous. OpenCV's functions speak BGR, and only this module
calls those of them that care.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from core import MOST_PIXELS
from core.bit_depth import to_eight_bits
from core.regular_file import read_regular

Rgb: TypeAlias = NDArray[np.uint8]
Map: TypeAlias = NDArray[np.float32]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_JPEG_HEADER = 1 << 20  # bytes in which it says its size, behind what a camera says of itself
_HEADERS = ("JPEG", "BMP", "TIFF", "WEBP", "PPM")

_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}

MOST_BYTES = 256 * 1024 * 1024
"""Of a picture's file."""


_TOO_LARGE = f"has more than {MOST_PIXELS // 1_000_000} million pixels; cut the part out, or make the picture smaller"


class ImageError(ValueError):
    """A picture that cannot be read."""


def from_opencv(frame: NDArray[Any]) -> Rgb:
    """RGB of what an OpenCV capture or decoder returned: grey, BGR or BGRA; 16-bit values keep their high byte.

    Raises:
        ImageError: another shape or type.
    """
    if frame.dtype == np.uint16:
        frame = (frame >> 8).astype(np.uint8)
    if frame.dtype != np.uint8:
        raise ImageError(f"pixels of type {frame.dtype}; 8 or 16 bits are read")
    if frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] == 1):
        return np.ascontiguousarray(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    if frame.ndim == 3 and frame.shape[2] in (3, 4):
        code = cv2.COLOR_BGR2RGB if frame.shape[2] == 3 else cv2.COLOR_BGRA2RGB
        return np.ascontiguousarray(cv2.cvtColor(frame, code), dtype=np.uint8)
    raise ImageError(f"an array of shape {frame.shape} is no picture")


def decode(data: bytes, name: str = "picture") -> Rgb:
    """RGB of an encoded picture, its range of values mapped to 0..255 as `to_eight_bits` says.

    Orientation tags are ignored, as a line's camera has none.

    Raises:
        ImageError: `data` is no picture that OpenCV reads, or is transparent in places; the message begins with `name`.
    """
    return _decoded(data, name, cv2.IMREAD_UNCHANGED)


def decode_small(data: bytes, side: int, name: str = "picture") -> Rgb:
    """As `decode`, with at most `side` pixels along the longer side: a JPEG is decoded no finer than that takes."""
    longer = max(_size(data)) if data.startswith(_JPEG) else 0
    flags = next((flags for share, flags in _REDUCED.items() if longer // share >= side), cv2.IMREAD_UNCHANGED)
    return shrunk(_decoded(data, name, flags), side)


def _decoded(data: bytes, name: str, flags: int) -> Rgb:
    if not data:
        raise ImageError(f"{name}: is empty; copy the file again")
    if math.prod(_size(data)) > MOST_PIXELS:
        raise ImageError(f"{name}: {_TOO_LARGE}")
    try:
        frame = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, MemoryError) as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise ImageError(f"{name}: {_TOO_LARGE}") from None
        raise ImageError(f"{name}: cannot be decoded: {' '.join(str(error).split())[:200]}") from error
    if frame is None:
        raise ImageError(f"{name}: no picture, damaged, or of a kind that is not read; save it as PNG or JPEG")
    if _is_seen_through(frame):
        raise ImageError(
            f"{name}: has transparent pixels, behind which anything may be; put it on a background, and save it without"
        )
    try:
        return from_opencv(to_eight_bits(frame, data))
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from None


def _is_seen_through(frame: NDArray[Any]) -> bool:
    """Whether a decoded picture has pixels of another opacity than others; the same throughout, be it 0, says nothing.

    Programs that know of no opacity leave that byte of a BMP of 32 bits at 0.
    """
    return frame.ndim == 3 and frame.shape[2] == 4 and bool((frame[..., 3] != frame[0, 0, 3]).any())


def _size(data: bytes) -> tuple[int, int]:
    """Width and height of an encoded picture, by its header; 0 and 0 where that says nothing, and the decoder has to.

    It takes no longer for what a stranger made: chunks of a PNG and segments of a JPEG can be without number.
    """
    if data.startswith(_PNG):
        return struct.unpack(">II", data[16:24]) if len(data) >= 24 else (0, 0)
    start = data[:_JPEG_HEADER] if data.startswith(_JPEG) else data
    try:
        with Image.open(io.BytesIO(start), formats=_HEADERS) as header:
            return header.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return MOST_PIXELS + 1, 1
    except Exception:  # whatever the readers of five formats have against it
        return 0, 0


def read(path: Path) -> Rgb:
    """RGB of the picture file at `path`.

    Raises:
        ImageError: no such file, unreadable, or no picture.
    """
    try:
        return decode(read_regular(path, MOST_BYTES), str(path))
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error


def encode_png(image: Rgb | NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    """PNG of an RGB or 8-bit grey image, with `text` as tEXt chunks (Latin-1)."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=info, compress_level=1)
    return buffer.getvalue()


def encode_heatmap(heatmap: Map, text: Mapping[str, str] | None = None) -> bytes:
    """8-bit grey PNG of a heatmap [H, W] in [0, 1], 0..255 = 0..1, with `text` as tEXt chunks (Latin-1).

    Along a row a heatmap hardly changes, so each row is written as its differences (PNG's filter Sub). A library that
    tries all filters of the format takes three times as long for more bytes, and every part of a line has a heatmap.
    """
    shown = grey(heatmap)
    height, width = shown.shape
    rows = np.empty((height, 1 + width), np.uint8)
    rows[:, 0] = 1  # the filter
    rows[:, 1] = shown[:, 0]
    np.subtract(shown[:, 1:], shown[:, :-1], out=rows[:, 2:])
    said = [(b"tEXt", f"{key}\0{value}".encode("latin-1")) for key, value in (text or {}).items()]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *said, (b"IDAT", zlib.compress(rows.data, 1)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(of)) + kind + of + struct.pack(">I", zlib.crc32(kind + of)) for kind, of in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def encode_jpeg(image: Rgb, quality: int = 90) -> bytes:
    """JPEG of an RGB image."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def shrunk(image: Rgb, side: int) -> Rgb:
    """`image` with at most `side` pixels along its longer side: itself where it has no more."""
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def grey(heatmap: Map) -> NDArray[np.uint8]:
    """8-bit grey of a heatmap in [0, 1]: 0..255 = 0..1."""
    return np.asarray(cv2.convertScaleAbs(heatmap, alpha=255.0), np.uint8)
