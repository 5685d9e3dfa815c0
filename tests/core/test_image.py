import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from core.image import (
    ImageError,
    decode,
    decode_small,
    encode_heatmap,
    encode_jpeg,
    encode_png,
    from_opencv,
    grey,
    read,
    shrunk,
)
from core.picture_header import header_of

RED = np.zeros((16, 24, 3), np.uint8)
RED[..., 0] = 200


def test_colours_are_rgb_whatever_the_file(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "a.tif", "a.webp"):
        Image.fromarray(RED).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
        assert np.array_equal(read(tmp_path / name), RED)
    Image.fromarray(RED).save(tmp_path / "a.jpg", quality=95)
    assert abs(read(tmp_path / "a.jpg").astype(int) - RED).max() < 8


@pytest.mark.parametrize(
    ("frame", "first"),
    [
        (np.full((2, 3), 7, np.uint8), [7, 7, 7]),
        (np.full((2, 3, 1), 7, np.uint8), [7, 7, 7]),
        (np.dstack([np.full((2, 3), v, np.uint8) for v in (1, 2, 3)]), [3, 2, 1]),
        (np.dstack([np.full((2, 3), v, np.uint8) for v in (1, 2, 3, 255)]), [3, 2, 1]),
        (np.full((2, 3), 0x1234, np.uint16), [0x12, 0x12, 0x12]),
    ],
)
def test_what_opencv_returns_becomes_rgb(frame: np.ndarray, first: list[int]) -> None:
    image = from_opencv(frame)
    assert image.shape == (2, 3, 3)
    assert image[0, 0].tolist() == first
    assert image.flags.c_contiguous


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: No such file"):
        read(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ImageError, match=r"text\.png: no picture"):
        read(tmp_path / "text.png")
    with pytest.raises(ImageError, match="frame 7: is empty"):
        decode(b"", "frame 7")
    with pytest.raises(ImageError, match="float64"):
        from_opencv(np.zeros((2, 2)))
    with pytest.raises(ImageError, match="shape"):
        from_opencv(np.zeros((2, 2, 5), np.uint8))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of a megabyte at most, and 92 million pixels."""
    side, path = 9600, tmp_path_factory.mktemp("bomb") / "bomb.png"
    rows = zlib.compress(bytes((1 + 3 * side) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", rows), _chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


@pytest.mark.parametrize("module", ["core.image", "edge.camera.health", "edge.camera.worker"])
def test_a_few_bytes_do_not_become_gigabytes(bomb: Path, module: str) -> None:
    """Whichever module of ours loads OpenCV."""
    assert bomb.stat().st_size < 2_000_000
    code = (
        f"import {module}, pathlib, resource; from core.image import ImageError, read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"try: read(pathlib.Path({str(bomb)!r}))\n"
        "except ImageError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)"
    )
    said, grown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said.startswith(f"{bomb}: has more than 88 million pixels; ")
    assert int(grown) < 100


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "TIFF", "WEBP", "PPM", "PNG"])
def test_the_size_of_a_picture_is_known_before_it_is_decoded(kind: str) -> None:
    """By core alone, which sets no limit of OpenCV's in the environment."""
    data = io.BytesIO()
    Image.new("RGB", (40, 30)).save(data, kind)
    assert header_of(data.getvalue())[:2] == (40, 30)
    assert header_of(data.getvalue()[:6])[:2] == (0, 0)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    with pytest.raises(ImageError, match=r"fifo\.png: is a pipe, not a regular file"):
        read(tmp_path / "fifo.png")


def test_png_carries_its_text_and_its_pixels() -> None:
    data = encode_png(np.arange(12, dtype=np.uint8).reshape(3, 4), {"line": "one", "seq": "7"})
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "L"
        assert picture.text == {"line": "one", "seq": "7"}  # type: ignore[attr-defined]
        assert np.asarray(picture).ravel().tolist() == list(range(12))
    assert decode(encode_jpeg(RED))[0, 0, 0] > 150


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 5), (97, 130)])
def test_a_heatmaps_png_is_read_by_others(shape: tuple[int, int]) -> None:
    heatmap = np.random.default_rng(0).random(shape).astype(np.float32)
    with Image.open(io.BytesIO(encode_heatmap(heatmap, {"id": "7", "line": "one"}))) as picture:
        picture.verify()
    with Image.open(io.BytesIO(encode_heatmap(heatmap, {"id": "7", "line": "one"}))) as picture:
        assert picture.mode == "L"
        assert picture.text == {"id": "7", "line": "one"}  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(picture), np.rint(heatmap * 255))
        assert picture.size == shape[::-1]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_tag_says(kind: str, orientation: int) -> None:
    """As everything turns it that shows pictures: phones save them as their sensor lies."""
    scene = np.kron(np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    picture = Image.fromarray(scene)
    exif = picture.getexif()
    exif[274] = orientation
    data = io.BytesIO()
    picture.save(data, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data.getvalue())) as saved:
        shown = np.asarray(ImageOps.exif_transpose(saved).convert("RGB"))
    turned = decode(data.getvalue())
    assert turned.shape == shown.shape
    assert np.abs(turned.astype(int) - shown).max() <= (8 if kind == "JPEG" else 0)
    assert turned.flags.c_contiguous


def test_a_tag_that_is_damaged_turns_nothing() -> None:
    scene = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    data = encode_png(scene)
    for exif in (b"", b"MM\0*", b"II*\0\xff\xff\xff\xff", bytes(range(256)), b"MM\0*\0\0\0\x08\xff\xff" + bytes(40)):
        assert np.array_equal(decode(data[:33] + _chunk(b"eXIf", exif) + data[33:]), scene)


@pytest.mark.parametrize("size", [(1, 1), (15, 40), (40, 15)])
def test_a_file_of_too_few_pixels_is_no_picture(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.full((*size, 3), 99, np.uint8)))
    with pytest.raises(ImageError, match=rf"a\.png: has {size[0]} x {size[1]} pixels; a part takes 16 x 16 or more"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(30, 30_000), (30_000, 30), (16, 1601)])
def test_a_file_of_a_strip_is_no_picture(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.full((*size, 3), 99, np.uint8)))
    with pytest.raises(ImageError, match=rf"has {size[0]} x {size[1]} pixels, one side more than 100 times the other"):
        read(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(encode_png(np.full((16, 1600, 3), 99, np.uint8)))
    assert read(tmp_path / "a.png").shape == (16, 1600, 3)


def test_heatmaps_scale_to_255() -> None:
    assert grey(np.array([[0.0, 0.5, 1.0, 2.0]], np.float32)).tolist() == [[0, 128, 255, 255]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize(("size", "side", "found"), [((800, 600), 100, (75, 100)), ((30, 40), 100, (40, 30))])
def test_a_picture_is_decoded_small(kind: str, size: tuple[int, int], side: int, found: tuple[int, int]) -> None:
    """Its left half is red, whatever the size."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[:, : size[0] // 2, 0] = 250
    data = io.BytesIO()
    Image.fromarray(image).save(data, kind)
    small = decode_small(data.getvalue(), side)
    assert small.shape == (*found, 3)
    assert np.abs(small[:, : found[1] // 3].astype(int) - (250, 0, 0)).max() < 12
    assert small[:, -found[1] // 3 :].max() < 12


def test_what_is_no_picture_is_not_decoded_small_either() -> None:
    for data in (b"", b"\xff\xd8", b"no picture"):
        with pytest.raises(ImageError, match=r"^thumb: "):
            decode_small(data, 100, "thumb")


def test_a_strip_is_shrunk_to_a_pixel_at_least() -> None:
    assert shrunk(np.zeros((1, 5000, 3), np.uint8), 100).shape == (1, 100, 3)
    image = np.zeros((3, 4, 3), np.uint8)
    assert shrunk(image, 4) is image
