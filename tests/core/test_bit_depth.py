"""Files of more than eight bits, and of fewer than their eight: the same picture, however it was saved."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from core.bit_depth import BitDepth, to_eight_bits
from core.image import ImageError, decode

EIGHT = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)


def _png(values: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", values)[1])


def _tiff(values: np.ndarray, white_is_zero: bool = False, endian: str = "<") -> bytes:
    """Uncompressed, in one strip."""
    data = values.astype(values.dtype.newbyteorder(endian)).tobytes()
    height, width = values.shape
    tags = [
        *((256, width), (257, height), (258, values.itemsize * 8), (259, 1), (262, int(not white_is_zero))),
        *((273, 8), (277, 1), (278, height), (279, len(data))),
    ]
    head = struct.pack(f"{endian}2sHI", b"II" if endian == "<" else b"MM", 42, 8 + len(data))
    entries = b"".join(struct.pack(f"{endian}HHII", tag, 4, 1, value) for tag, value in tags)
    return head + data + struct.pack(f"{endian}H", len(tags)) + entries + struct.pack(f"{endian}I", 0)


def _pgm(values: np.ndarray, largest: int, comment: str = "") -> bytes:
    wide = ">u2" if largest > 255 else "u1"
    return f"P5\n{comment}{values.shape[1]} {values.shape[0]}\n{largest}\n".encode() + values.astype(wide).tobytes()


def _wide(shift: int) -> np.ndarray:
    return EIGHT.astype(np.uint16) << shift


def _text_pgm(largest: int) -> bytes:
    numbers = " ".join(map(str, EIGHT.astype(int).ravel() * largest // 255))
    return f"P2 8 6 {largest}\n{numbers}\n".encode()


def _ppm(largest: int) -> bytes:
    return f"P6 8 6 {largest}\n".encode() + np.repeat(_wide(4)[..., None], 3, 2).astype(">u2").tobytes()


FILES = {
    "8 bits": _png(EIGHT),
    "16 bits": _png(_wide(8)),
    "12 bits in 16": _png(_wide(4)),
    "10 bits in 16": _png(_wide(2)),
    "12 bits in 16, colour": _png(np.repeat(_wide(4)[..., None], 3, 2)),
    "TIFF of 16 bits": _tiff(_wide(8)),
    "TIFF of 16 bits, 0 is white": _tiff(65535 - _wide(8), white_is_zero=True),
    "TIFF of 16 bits, 0 is white, big-endian": _tiff(65535 - _wide(8), white_is_zero=True, endian=">"),
    "TIFF of 12 bits in 16": _tiff(_wide(4)),
    "TIFF of 12 bits in 16, 0 is white": _tiff(4095 - _wide(4), white_is_zero=True),
    "TIFF of 8 bits, 0 is white": _tiff(255 - EIGHT, white_is_zero=True),
    "PGM of 8 bits": _pgm(EIGHT, 255),
    "PGM of 16 bits": _pgm(_wide(8), 65535),
    "PGM of 12 bits": _pgm(_wide(4), 4095),
    "PGM of 12 bits with a comment": _pgm(_wide(4), 4095, "# 17 by camera 3\n"),
    "PGM of 10 bits": _pgm(_wide(2), 1023),
    "PGM as text of 12 bits": _text_pgm(4095),
    "PPM of 12 bits": _ppm(4095),
}


@pytest.mark.parametrize("kind", FILES)
def test_the_same_picture_however_it_was_saved(kind: str) -> None:
    picture = decode(FILES[kind])
    assert picture.shape == (6, 8, 3)
    assert np.abs(picture[..., 0].astype(int) - EIGHT).max() <= (1 if "text" in kind else 0)


@pytest.mark.parametrize("largest", [15, 100, 200, 1000, 50000])
def test_a_largest_value_that_is_no_power_of_two(largest: int) -> None:
    values = (EIGHT.astype(np.uint32) * largest / 255).round()
    found = decode(_pgm(values, largest))[..., 0].astype(int)
    assert np.abs(found - EIGHT).max() <= 255 / largest + 1
    assert (found.min(), found.max()) == (0, 255)


def test_a_dark_picture_stays_dark() -> None:
    """Noise of a covered lens is not spread over the range."""
    dark = np.random.default_rng(0).integers(0, 120, (6, 8)).astype(np.uint16)
    assert decode(_png(dark)).max() < 8


def test_values_beyond_the_named_range_are_its_largest() -> None:
    assert decode(_pgm(np.full((6, 8), 5000), 4095)).min() == 255


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_whose_directory_leads_nowhere(big: bool) -> None:
    """OpenCV has decoded something; nothing is inverted, and nothing is searched for long."""
    for offset in (0, 7, 1 << 31, *((1 << 63, (1 << 64) - 1) if big else ())):
        head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, offset) if big else struct.pack("<2sHI", b"II", 42, offset)
        found = to_eight_bits(_wide(8), head + b"\xff" * 300_000)
        assert np.array_equal(found, EIGHT)


def test_the_opacity_of_sixteen_bits_says_nothing_of_the_colours() -> None:
    """A program that adds an opacity to what a camera of 12 bits saved adds one of 16."""
    colours = np.dstack([_wide(4)] * 3)
    assert (decode(_png(np.dstack([colours, np.full_like(colours[..., 0], 65535)]))) == decode(_png(colours))).all()


def _packed(values: np.ndarray, bits: int) -> bytes:
    """A TIFF whose samples of 10, 12 or 14 bits lie one behind the other."""
    rows = ["".join(format(int(value), f"0{bits}b") for value in row) for row in values]
    data = b"".join(int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big") for row in rows)
    whole = bytearray(_tiff(values.astype(np.uint16)))
    height, width = values.shape
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(data))])
    whole[:] = struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", 9) + entries + bytes(4)
    return bytes(whole)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("darker", [1, 20])
def test_a_packed_tiff_names_its_bits_be_it_dark_or_not(bits: int, darker: int) -> None:
    values = (EIGHT // darker).astype(np.uint16) << (bits - 8)
    assert np.array_equal(decode(_packed(values, bits))[..., 0], EIGHT // darker)


def test_bits_that_are_configured_count() -> None:
    dark = _png(_wide(4) // 8)
    assert np.array_equal(decode(dark, depth=BitDepth(12))[..., 0], EIGHT // 8)
    with pytest.raises(ImageError, match=r"^part: has values up to 4080, and 10 bits end at 1023"):
        decode(_png(_wide(4)), "part", BitDepth(10))
    assert np.array_equal(decode(_pgm(_wide(4), 65535), depth=BitDepth(12))[..., 0], EIGHT)
    assert np.array_equal(decode(_pgm(_wide(2), 1023), depth=BitDepth(12))[..., 0], EIGHT), "what a file names counts"
    with pytest.raises(ValueError, match="from 9 to 16"):
        BitDepth(8)


def test_a_source_keeps_to_the_bits_that_were_recognised() -> None:
    depth = BitDepth()
    assert depth.recognised is None
    decode(_png(EIGHT), depth=depth)
    assert depth.recognised is None, "eight bits leave nothing open"
    decode(_png(_wide(4)), depth=depth)
    assert (depth.recognised, str(depth)) == (
        12,
        "pictures of 16 bits are taken to use 12, as their values do; bits says otherwise",
    )
    assert np.array_equal(decode(_png(_wide(2)), depth=depth)[..., 0], EIGHT // 4), "it is a dark one of 12"
