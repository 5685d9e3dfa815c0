"""Formats by the bytes that the Pixel Format Naming Convention and GigE Vision give for known values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.camera.pixel_formats import FORMATS, PixelFormatError, to_rgb, unpack

BY_NAME = {one.name: one for one in FORMATS}
FILTERS = {"RG": "RGGB", "GR": "GRBG", "GB": "GBRG", "BG": "BGGR"}


def rgb(name: str, data: bytes | NDArray[np.generic], width: int, height: int, padding: int = 0) -> NDArray[np.uint8]:
    raw = data if isinstance(data, bytes) else data.tobytes()
    return to_rgb(BY_NAME[name].number, memoryview(raw), width, height, padding)


def packed(values: NDArray[np.int64], bits: int, packing: str) -> bytes:
    """The values as a camera sends them, bit by bit; by another way than the code under test."""
    flat = [int(value) for value in values.reshape(-1)]
    if packing == "words":
        return np.array(flat, "<u2").tobytes()
    if packing == "p":
        stream = sum(value << bits * place for place, value in enumerate(flat))
        return stream.to_bytes(-(-len(flat) * bits // 8), "little")
    out = bytearray()
    low = bits - 8
    for first, second in zip(flat[::2], flat[1::2], strict=True):
        shared = (first & (1 << low) - 1) | (second & (1 << low) - 1) << 4
        out += bytes([first >> low, shared, second >> low])
    return bytes(out)


@pytest.mark.parametrize(
    ("data", "bits", "packing", "values"),
    [
        (bytes([0xAB, 0x01, 0x00, 0x00]), 10, "words", [0x1AB, 0]),
        (bytes([0x12, 0x34, 0x56]), 12, "packed", [0x124, 0x563]),
        (bytes([0x12, 0x21, 0x56]), 10, "packed", [0x12 << 2 | 1, 0x56 << 2 | 2]),
        (bytes([0x12, 0x34, 0x56]), 12, "p", [0x412, 0x563]),
        (bytes([0xFF, 0x07, 0x00, 0x80, 0xC0]), 10, "p", [0x3FF, 0x001, 0x000, 0x302]),
    ],
)
def test_values_are_unpacked_as_the_standards_say(data: bytes, bits: int, packing: str, values: list[int]) -> None:
    assert list(unpack(memoryview(data), len(values), bits, packing)) == values  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "bits", "packing"),
    [
        ("Mono10", 10, "words"),
        ("Mono12", 12, "words"),
        ("Mono14", 14, "words"),
        ("Mono16", 16, "words"),
        ("Mono10Packed", 10, "packed"),
        ("Mono12Packed", 12, "packed"),
        ("Mono10p", 10, "p"),
        ("Mono12p", 12, "p"),
    ],
)
def test_black_is_0_and_the_largest_value_is_255(name: str, bits: int, packing: str) -> None:
    values = np.linspace(0, (1 << bits) - 1, 6 * 4).round().astype(np.int64).reshape(4, 6)
    picture = rgb(name, packed(values, bits, packing), 6, 4)
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[3, 5].tolist() == [255, 255, 255]
    assert np.abs(picture[..., 1] - values * 255 / ((1 << bits) - 1)).max() <= 0.5


@pytest.mark.parametrize("width", [5, 6, 7])
def test_rows_of_packed_values_need_not_end_with_a_byte(width: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (3, width))
    picture = rgb("Mono12p", packed(values, 12, "p"), width, 3)
    assert np.abs(picture[..., 0] - values * 255 / 4095).max() <= 0.5


@pytest.mark.parametrize(
    ("suffix", "bits", "packing"),
    [
        ("8", 8, "bytes"),
        ("10", 10, "words"),
        ("12", 12, "words"),
        ("16", 16, "words"),
        ("10Packed", 10, "packed"),
        ("12Packed", 12, "packed"),
        ("10p", 10, "p"),
        ("12p", 12, "p"),
    ],
)
@pytest.mark.parametrize("mosaic", FILTERS)
def test_the_colours_of_a_mosaic_are_those_of_the_scene(mosaic: str, suffix: str, bits: int, packing: str) -> None:
    largest = (1 << bits) - 1
    colour = {"R": largest, "G": largest // 2, "B": largest // 8}
    tile = np.array([colour[one] for one in FILTERS[mosaic]]).reshape(2, 2)
    values = np.tile(tile, (8, 8))
    data = values.astype(np.uint8).tobytes() if packing == "bytes" else packed(values, bits, packing)
    inner = rgb(f"Bayer{mosaic}{suffix}", data, 16, 16)[4:-4, 4:-4].reshape(-1, 3)
    assert np.abs(inner - np.array([255, 127, 31])).max() <= 1


def test_colours_come_in_their_order() -> None:
    assert rgb("RGB8", bytes([10, 20, 30]), 1, 1).tolist() == [[[10, 20, 30]]]
    assert rgb("BGR8", bytes([10, 20, 30]), 1, 1).tolist() == [[[30, 20, 10]]]
    assert rgb("RGBa8", bytes([10, 20, 30, 255]), 1, 1).tolist() == [[[10, 20, 30]]]
    assert rgb("BGRa8", bytes([10, 20, 30, 255]), 1, 1).tolist() == [[[30, 20, 10]]]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("YUV422_8", "YUYV"),
        ("YUV422_8_UYVY", "UYVY"),
        ("YCbCr422_8", "YUYV"),
        ("YCbCr422_8_CbYCrY", "UYVY"),
        ("YCbCr601_422_8", "YUYV"),
        ("YCbCr601_422_8_CbYCrY", "UYVY"),
    ],
)
def test_two_pixels_share_their_colour(name: str, order: str) -> None:
    television = "601" in name
    black, white, red = (16, 235, 81) if television else (0, 255, 76)
    blue_of_red, red_of_red = (90, 240) if television else (85, 255)

    def pair(first: int, second: int, blue: int, other: int) -> bytes:
        lumas, chroma = iter([first, second]), {"U": blue, "V": other}
        return bytes(next(lumas) if one == "Y" else chroma[one] for one in order)

    grey = rgb(name, pair(black, white, 128, 128) * 2, 2, 2)
    assert grey[0, 0].tolist() == [0, 0, 0]
    assert np.abs(grey[0, 1].astype(int) - 255).max() <= 1
    scene = rgb(name, pair(red, red, blue_of_red, red_of_red) * 4, 4, 2)
    assert np.abs(scene.astype(int) - np.array([255, 0, 0])).max() <= 3


def test_bytes_after_each_row_are_passed_over() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    padded = np.pad(rows, ((0, 0), (0, 2)), constant_values=99)
    assert (rgb("Mono8", padded, 4, 3, padding=2)[..., 0] == rows).all()
    colours = np.pad(np.arange(18, dtype=np.uint8).reshape(2, 9), ((0, 0), (0, 3)))
    assert (rgb("RGB8", colours, 3, 2, padding=3).reshape(2, 9) == colours[:, :9]).all()


def test_what_is_no_frame_is_refused_in_words() -> None:
    with pytest.raises(PixelFormatError, match="11 bytes are no frame of 4 x 3 pixels in Mono8; that takes 12"):
        rgb("Mono8", bytes(11), 4, 3)
    with pytest.raises(PixelFormatError, match="0x0210001e is not read"):
        to_rgb(0x0210001E, memoryview(bytes(64)), 4, 4)
    with pytest.raises(PixelFormatError, match="in pairs"):
        rgb("YUV422_8", bytes(64), 5, 3)
    with pytest.raises(PixelFormatError, match="has no colours"):
        rgb("BayerRG8", bytes(64), 2, 2)


def test_the_numbers_say_how_many_bits_a_pixel_has() -> None:
    assert {one.name: one.bits for one in FORMATS if one.name.startswith("Mono")} == {
        "Mono8": 8,
        "Mono10": 16,
        "Mono12": 16,
        "Mono14": 16,
        "Mono16": 16,
        "Mono10Packed": 12,
        "Mono12Packed": 12,
        "Mono10p": 10,
        "Mono12p": 12,
    }
    assert len({one.number for one in FORMATS}) == len({one.name for one in FORMATS}) == len(FORMATS)
