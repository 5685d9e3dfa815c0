"""Pictures in memory and in files: the one place for colour order. Everywhere else an image is RGB.

An image is `uint8`, height x width x 3, RGB, C-contiguous. OpenCV's functions speak BGR, and only this module
calls those of them that care.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from core import MOST_PIXELS
from core.bit_depth import BitDepth, to_eight_bits
from core.picture_header import JPEG, header_of
from core.regular_file import read_regular

Rgb: TypeAlias = NDArray[np.uint8]
Map: TypeAlias = NDArray[np.float32]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})

_LEFT_OVER = re.compile(r"(\d+) extraneous bytes")
_HARMLESS = 8  # of them: webcams leave some in pictures that are well

_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}

MOST_BYTES = 256 * 1024 * 1024
"""Of a picture's file."""

LEAST_SIDE = 16
"""Pixels of a picture's height and width: with fewer there is nothing to see."""

MOST_TIMES = 100
"""A longer strip is no picture of a part: in the model's square nothing is left of its width."""

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


def decode(data: bytes, name: str = "picture", depth: BitDepth | None = None) -> Rgb:
    """RGB of an encoded picture, its range of values mapped to 0..255 as `to_eight_bits` says with `depth`.

    It is turned as its tag says (EXIF), as all that shows pictures turns it: phones save them as the sensor lies.

    Raises:
        ImageError: `data` is no picture that OpenCV reads, is transparent in places, or has too many pixels; the
            message begins with `name`.
    """
    return _decoded(data, name, cv2.IMREAD_UNCHANGED, depth)


def decode_small(data: bytes, side: int, name: str = "picture") -> Rgb:
    """As `decode`, with at most `side` pixels along the longer side: a JPEG is decoded no finer than that takes."""
    longer = max(header_of(data)[:2]) if data.startswith(JPEG) else 0
    flags = next((flags for share, flags in _REDUCED.items() if longer // share >= side), cv2.IMREAD_UNCHANGED)
    return shrunk(_decoded(data, name, flags), side)


def _decoded(data: bytes, name: str, flags: int, depth: BitDepth | None = None) -> Rgb:
    if not data:
        raise ImageError(f"{name}: is empty; copy the file again")
    header = header_of(data)
    if header.width * header.height > MOST_PIXELS:
        raise ImageError(f"{name}: {_TOO_LARGE}")
    whole = flags == cv2.IMREAD_UNCHANGED
    try:
        jpeg = _of_jpeg(data, name) if whole and data.startswith(JPEG) else None
        pixels = np.frombuffer(data, np.uint8)
        frame = cv2.imdecode(pixels, flags | cv2.IMREAD_IGNORE_ORIENTATION) if jpeg is None else jpeg
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
        return turned(from_opencv(to_eight_bits(frame, data, depth)), header.orientation)
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from None


def check_shape(height: int, width: int, name: str) -> None:
    """Raises ImageError for a picture of so few pixels, or so long a one, that no part can be seen on it; the message
    begins with `name`."""
    size = f"{name}: has {height} x {width} pixels"
    if min(height, width) < LEAST_SIDE:
        raise ImageError(f"{size}; a part takes {LEAST_SIDE} x {LEAST_SIDE} or more")
    if max(height, width) > MOST_TIMES * min(height, width):
        raise ImageError(f"{size}, one side more than {MOST_TIMES} times the other; cut the part out")


def turned(picture: Rgb, orientation: int) -> Rgb:
    """A picture as its tag says that it is to be shown: the number that EXIF gives the turn."""
    if orientation in (5, 7):  # mirrored, and lying
        picture = np.swapaxes(picture, 0, 1)
        return np.ascontiguousarray(picture if orientation == 5 else picture[::-1, ::-1])
    if orientation in (2, 4):
        return np.ascontiguousarray(picture[:, ::-1] if orientation == 2 else picture[::-1])
    quarters = {3: 2, 6: 3, 8: 1}.get(orientation, 0)  # against the clock
    return np.ascontiguousarray(np.rot90(picture, quarters))


def _of_jpeg(data: bytes, name: str) -> NDArray[np.uint8] | None:
    """Grey or BGR of a JPEG, to the bit what OpenCV makes of it; None for one that it has to read.

    OpenCV says nothing of what the decoder has passed over.

    Raises:
        ImageError: it is damaged.
    """
    try:
        *_, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if colours not in ("Gray", "YCbCr", "RGB"):
        return None
    order = "GRAY" if colours == "Gray" else "BGR"
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, order, strict=True))
    except ValueError as error:
        left = _LEFT_OVER.search(str(error))
        if left is None or int(left[1]) > _HARMLESS:
            raise ImageError(f"{name}: is damaged ({error}); copy the file again, or save it anew") from None
    return np.asarray(simplejpeg.decode_jpeg(data, order, strict=False))


def _is_seen_through(frame: NDArray[Any]) -> bool:
    """Whether a decoded picture has pixels of another opacity than others; the same throughout, be it 0, says nothing.

    Programs that know of no opacity leave that byte of a BMP of 32 bits at 0.
    """
    return frame.ndim == 3 and frame.shape[2] == 4 and bool((frame[..., 3] != frame[0, 0, 3]).any())


def read(path: Path, depth: BitDepth | None = None) -> Rgb:
    """RGB of the picture file at `path`, as of `decode`.

    Raises:
        ImageError: no such file, unreadable, no picture, or one on which no part can be seen, as of `check_shape`.
    """
    try:
        picture = decode(read_regular(path, MOST_BYTES), str(path), depth)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror or error}") from error
    check_shape(picture.shape[0], picture.shape[1], str(path))
    return picture


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
