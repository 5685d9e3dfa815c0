"""The pixel formats of industrial cameras: from the bytes of a frame to RGB, by the Pixel Format Naming Convention.

Black becomes 0 and the largest value of 10, 12 or more bits becomes 255. Mosaics of colour filters are resolved with
all their bits. YUV and YCbCr without a number use all values, as the convention says; YCbCr601 those of television.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from core.image import Rgb

Packing: TypeAlias = Literal["bytes", "words", "packed", "p"]
Mosaic: TypeAlias = Literal["Mono", "BayerRG", "BayerGR", "BayerGB", "BayerBG"]
Values: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

_MOSAICS: dict[Mosaic, int | None] = {
    "Mono": None,
    "BayerRG": cv2.COLOR_BayerRGGB2RGB,
    "BayerGR": cv2.COLOR_BayerGRBG2RGB,
    "BayerGB": cv2.COLOR_BayerGBRG2RGB,
    "BayerBG": cv2.COLOR_BayerBGGR2RGB,
}


class PixelFormatError(ValueError):
    """A format that is not read, or bytes that are no frame of it."""


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of a frame are laid out."""

    name: str
    """As the camera's feature PixelFormat has it."""
    number: int
    """As it comes with each frame; bits 16 to 23 are the bits of a pixel."""
    convert: Callable[[memoryview, int, int, int], Rgb]
    """RGB of bytes, width, height, and bytes after each row."""

    @property
    def bits(self) -> int:
        """Of a pixel, on its way."""
        return self.number >> 16 & 0xFF

    def size(self, width: int, height: int, padding: int = 0) -> int:
        """Bytes of a frame."""
        return -(-width * height * self.bits // 8) + padding * height


def to_rgb(number: int, data: memoryview, width: int, height: int, padding: int = 0) -> Rgb:
    """RGB of a frame, a copy.

    Args:
        number: Of its pixel format.
        data: Its bytes; what lies behind the pixels is left aside.
        width: Pixels.
        height: Pixels.
        padding: Bytes after each row.

    Raises:
        PixelFormatError: the format is not read, or there are too few bytes.
    """
    found = BY_NUMBER.get(number)
    if found is None:
        raise PixelFormatError(f"pixel format 0x{number:08x} is not read; {READ}")
    if min(width, height) < 1 or len(data) < found.size(width, height, padding):
        raise PixelFormatError(
            f"{len(data)} bytes are no frame of {width} x {height} pixels in {found.name}; "
            f"that takes {found.size(max(width, 0), max(height, 0), padding)}"
        )
    try:
        return found.convert(data, width, height, padding)
    except cv2.error as error:
        raise PixelFormatError(f"a frame of {width} x {height} in {found.name} cannot be converted") from error


def unpack(data: memoryview, count: int, bits: int, packing: Packing) -> Values:
    """The first `count` values, one after the other.

    Args:
        data: Bytes that hold as many at least.
        count: Of values.
        bits: Of a value: 8 for bytes, 10 to 16 for words, 10 and 12 for the packed ones.
        packing: `bytes`; `words` of 16 bits, little-endian; `packed`, as GigE Vision 1 has it: 3 bytes for 2 values,
            whose low bits share the middle one; `p`: without gaps, low bits first.
    """
    if packing == "bytes":
        return np.frombuffer(data, np.uint8, count)
    if packing == "words":
        return np.frombuffer(data, "<u2", count)
    group = 4 if bits == 10 and packing == "p" else 2  # values that begin and end with a byte together
    groups = -(-count // group)
    raw = np.frombuffer(data, np.uint8)[: groups * (group * _stored_bits(bits, packing)) // 8]
    width = group * _stored_bits(bits, packing) // 8
    if raw.size < groups * width:  # the last group is not whole
        raw = np.concatenate([raw, np.zeros(groups * width - raw.size, np.uint8)])
    byte = raw.reshape(groups, width).astype(np.uint16)
    values = np.empty((groups, group), np.uint16)
    if packing == "packed":
        low = bits - 8
        mask = (1 << low) - 1
        values[:, 0] = byte[:, 0] << low | byte[:, 1] & mask
        values[:, 1] = byte[:, 2] << low | byte[:, 1] >> 4 & mask
    elif bits == 12:
        values[:, 0] = byte[:, 0] | (byte[:, 1] & 0x0F) << 8
        values[:, 1] = byte[:, 1] >> 4 | byte[:, 2] << 4
    else:
        for index in range(group):
            values[:, index] = byte[:, index] >> 2 * index | byte[:, index + 1] << 8 - 2 * index
        values &= 0x3FF
    return values.reshape(-1)[:count]


def _stored_bits(bits: int, packing: Packing) -> int:
    return 12 if packing == "packed" else bits


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """The range of `bits` mapped to 0..255, rounded; what is larger is white."""
    if values.dtype == np.uint8:
        return np.asarray(values, np.uint8)
    largest = (1 << bits) - 1
    steps = np.minimum(np.arange(1 << 16, dtype=np.int64), largest)
    return np.asarray(((steps * 510 + largest) // (2 * largest)).astype(np.uint8)[values])


def _mosaic(mosaic: Mosaic, bits: int, packing: Packing) -> Callable[[memoryview, int, int, int], Rgb]:
    code = _MOSAICS[mosaic]

    def convert(data: memoryview, width: int, height: int, padding: int) -> Rgb:
        if padding and packing in ("bytes", "words"):
            step = 2 if packing == "words" else 1
            data = memoryview(_rows(data, width * step, height, padding).tobytes())
        values = unpack(data, width * height, bits, packing).reshape(height, width)
        if code is None:
            return np.asarray(cv2.cvtColor(_eight_bits(values, bits), cv2.COLOR_GRAY2RGB), np.uint8)
        if min(width, height) < 3:
            raise PixelFormatError(f"a mosaic of {width} x {height} pixels has no colours")
        return _eight_bits(cv2.cvtColor(values, code), bits)

    return convert


def _colour(channels: int, code: int | None) -> Callable[[memoryview, int, int, int], Rgb]:
    def convert(data: memoryview, width: int, height: int, padding: int) -> Rgb:
        picture = _rows(data, width * channels, height, padding).reshape(height, width, channels)
        return picture.copy() if code is None else np.asarray(cv2.cvtColor(picture, code), np.uint8)

    return convert


def _yuv(luma: int, code: int | None) -> Callable[[memoryview, int, int, int], Rgb]:
    """Two pixels in four bytes: their luma at `luma` and 2 on; between them the colour of both, blue first.

    `code` converts values of television; None: all values are used.
    """

    def convert(data: memoryview, width: int, height: int, padding: int) -> Rgb:
        if width % 2:
            raise PixelFormatError(f"a row of {width} pixels does not come in pairs")
        pairs = np.ascontiguousarray(_rows(data, width * 2, height, padding))
        if code is not None:
            return np.asarray(cv2.cvtColor(pairs.reshape(height, width, 2), code), np.uint8)
        shared = pairs.reshape(height, width // 2, 4)
        blue, red = shared[..., 1 - luma], shared[..., 3 - luma]
        planes = [pairs[:, luma::2], np.repeat(red, 2, axis=1), np.repeat(blue, 2, axis=1)]
        return np.asarray(cv2.cvtColor(cv2.merge(planes), cv2.COLOR_YCrCb2RGB), np.uint8)

    return convert


def _rows(data: memoryview, row: int, height: int, padding: int) -> NDArray[Any]:
    return np.frombuffer(data, np.uint8, height * (row + padding)).reshape(height, row + padding)[:, :row]


_MONO_AND_BAYER: dict[tuple[str, int, Packing], tuple[int, int, int, int, int]] = {
    # Mono, BayerGR, BayerRG, BayerGB, BayerBG
    ("8", 8, "bytes"): (0x01080001, 0x01080008, 0x01080009, 0x0108000A, 0x0108000B),
    ("10", 10, "words"): (0x01100003, 0x0110000C, 0x0110000D, 0x0110000E, 0x0110000F),
    ("12", 12, "words"): (0x01100005, 0x01100010, 0x01100011, 0x01100012, 0x01100013),
    ("16", 16, "words"): (0x01100007, 0x0110002E, 0x0110002F, 0x01100030, 0x01100031),
    ("10Packed", 10, "packed"): (0x010C0004, 0x010C0026, 0x010C0027, 0x010C0028, 0x010C0029),
    ("12Packed", 12, "packed"): (0x010C0006, 0x010C002A, 0x010C002B, 0x010C002C, 0x010C002D),
    ("10p", 10, "p"): (0x010A0046, 0x010A0056, 0x010A0058, 0x010A0054, 0x010A0052),
    ("12p", 12, "p"): (0x010C0047, 0x010C0057, 0x010C0059, 0x010C0055, 0x010C0053),
}
_ORDER: tuple[Mosaic, ...] = ("Mono", "BayerGR", "BayerRG", "BayerGB", "BayerBG")
FORMATS = (
    *(
        PixelFormat(f"{mosaic}{suffix}", number, _mosaic(mosaic, bits, packing))
        for (suffix, bits, packing), numbers in _MONO_AND_BAYER.items()
        for mosaic, number in zip(_ORDER, numbers, strict=True)
    ),
    PixelFormat("Mono14", 0x01100025, _mosaic("Mono", 14, "words")),
    PixelFormat("RGB8", 0x02180014, _colour(3, None)),
    PixelFormat("BGR8", 0x02180015, _colour(3, cv2.COLOR_BGR2RGB)),
    PixelFormat("RGBa8", 0x02200016, _colour(4, cv2.COLOR_RGBA2RGB)),
    PixelFormat("BGRa8", 0x02200017, _colour(4, cv2.COLOR_BGRA2RGB)),
    PixelFormat("YUV422_8_UYVY", 0x0210001F, _yuv(1, None)),
    PixelFormat("YUV422_8", 0x02100032, _yuv(0, None)),
    PixelFormat("YCbCr422_8", 0x0210003B, _yuv(0, None)),
    PixelFormat("YCbCr422_8_CbYCrY", 0x02100043, _yuv(1, None)),
    PixelFormat("YCbCr601_422_8", 0x0210003E, _yuv(0, cv2.COLOR_YUV2RGB_YUY2)),
    PixelFormat("YCbCr601_422_8_CbYCrY", 0x02100044, _yuv(1, cv2.COLOR_YUV2RGB_UYVY)),
)
"""All that are read."""
BY_NUMBER = {one.number: one for one in FORMATS}
READ = "Mono and Bayer of 8 to 16 bits, packed too, RGB8, BGR8, YUV422_8 and YCbCr422_8 are"
"""The same in words."""
