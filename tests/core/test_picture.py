"""Pictures as people have them: what is understood gives the same frame, and all else says what to do."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import core.picture
from core.image import LEAST_SIDE, Rgb
from core.picture import each, to_frame

RGB: Rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
GREY: Rgb = np.ascontiguousarray(RGB[..., 0])
OPAQUE = np.dstack([RGB, np.full((48, 64), 255, np.uint8)])
CLEAR = np.dstack([RGB, np.arange(48 * 64).reshape(48, 64).astype(np.uint8)])
AS_GREY = np.dstack([GREY] * 3)


@pytest.mark.parametrize(
    ("picture", "colour", "expected"),
    [
        (RGB, "rgb", RGB),
        (RGB[..., ::-1], "bgr", RGB),
        (GREY, "rgb", AS_GREY),
        (GREY, "bgr", AS_GREY),
        (GREY[..., None], "rgb", AS_GREY),
        (OPAQUE, "rgb", RGB),
        (cv2.cvtColor(RGB, cv2.COLOR_RGB2BGRA), "bgr", RGB),
        (np.asfortranarray(RGB), "rgb", RGB),
        (RGB[::-1, ::-1], "rgb", RGB[::-1, ::-1]),
        (Image.fromarray(RGB), "rgb", RGB),
        (Image.fromarray(RGB), "bgr", RGB),  # Pillow knows its order
        (Image.fromarray(GREY), "rgb", AS_GREY),
        (Image.fromarray(OPAQUE), "rgb", RGB),
        (Image.fromarray(GREY).convert("LA"), "rgb", AS_GREY),
        (Image.fromarray(GREY).convert("P"), "rgb", AS_GREY),
        (Image.fromarray(OPAQUE).convert("RGBa"), "rgb", RGB),
        (Image.fromarray(RGB).convert("CMYK"), "rgb", RGB),
    ],
)
def test_each_kind_of_picture_is_the_same_frame(picture: Any, colour: str, expected: Rgb) -> None:
    frame = to_frame(picture, colour)
    assert np.array_equal(frame, expected)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert frame.flags.writeable


def test_a_file_is_the_frame_that_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    Image.fromarray(RGB).save(path)
    for named in (path, str(path)):
        assert np.array_equal(to_frame(named, "bgr"), RGB)  # a file knows its order
    with Image.open(path) as image:
        assert np.array_equal(to_frame(image), RGB)


def test_a_camera_may_use_its_buffer_again() -> None:
    for buffer in (RGB.copy(), GREY.copy()):
        before = buffer.copy()
        frame = to_frame(buffer)
        buffer[:] = 0
        assert np.array_equal(frame[..., 0], before if before.ndim == 2 else before[..., 0])


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (None, "^the picture is None; cv2.imread and a camera give that where they read nothing: check the path$"),
        (RGB / 255, r"float64 from 0 to 1; give \(picture \* 255\)\.round\(\)\.astype\(np\.uint8\)$"),
        (RGB.astype(np.int16), r"int16 from 0 to 255; give picture\.astype\(np\.uint8\)$"),
        (RGB.astype(np.int16) * 4, "int16 from 0 to 1020; scale them to 0..255, and give uint8"),
        (RGB.astype(np.uint16) << 4, r"16 bits; give 8: \(picture >> 8\)\.astype\(np\.uint8\), or >> 4 where 12 bits"),
        (GREY > 9, "a mask; give the picture itself"),
        (RGB.transpose(2, 0, 1), r"channels first; give picture\.transpose\(1, 2, 0\)"),
        (GREY[None], r"\[1, 48, 64\], channels first; give picture\.transpose"),
        (RGB[None], r"a batch; give one picture, picture\[0\], or all of them to judge_all"),
        (RGB[..., :2], r"\[48, 64, 2\]; give \[H, W, 3\], or \[H, W\] for grey"),
        (RGB[0, 0], r"\[3\]; give"),
        (RGB[:, :0], "empty; check how it was cut out"),
        (CLEAR, r"transparent pixels; put it on a background, or give picture\[\.\.\., :3\]"),
        (torch.from_numpy(RGB), r"torch tensor \[48, 64, 3\]; give picture\.cpu\(\)\.numpy\(\)$"),
        (
            torch.rand(3, 48, 64),
            r"\[3, 48, 64\]; give \(picture\.permute\(1, 2, 0\) \* 255\)\.round\(\)\.byte\(\)\.cpu\(\)\.numpy\(\)$",
        ),
        ([RGB], "^the picture is a list; give one picture, or several to judge_all$"),
        (b"\x89PNG", "the bytes of a file; give Image.open"),
        (7, "an int; give an array"),
        (RGB[:8], f"8 x 64 pixels; a part takes {LEAST_SIDE} x {LEAST_SIDE} or more"),
        (np.full_like(RGB, 9), r"shows nothing: all its pixels are \(9, 9, 9\)"),
        ((RGB / 255).astype(np.uint8), r"black: no value is above 1; .* give \(picture \* 255\)"),
        (Image.fromarray(CLEAR), r"transparent pixels \(mode RGBA\)"),
        (Image.fromarray(GREY.astype(np.uint16) << 4), r"16 bits \(mode I;16\).*>> 8"),
        (Image.fromarray(GREY.astype(np.int32)), r"32 bits \(mode I\)"),
        (Image.fromarray(GREY / np.float32(255)), r"floating point \(mode F\)"),
        (Image.fromarray(GREY > 99), r"1 bit \(mode 1\)"),
        (Image.fromarray(GREY).convert("LA").convert("La"), "mode La: .*; give one of mode RGB"),
        ("nowhere.png", "^nowhere.png: No such file or directory; check the path"),
        (Path("a\0b.png"), "no path"),
        (".", "is a folder, not a regular file; give one of its pictures"),
    ],
)
def test_what_is_no_picture_says_what_to_do(picture: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_frame(picture)


def test_the_ways_back_that_messages_name_are_ways_back() -> None:
    for picture in (
        RGB / 255,
        RGB.astype(np.float32),
        RGB.astype(np.int64),
        RGB.transpose(2, 0, 1),
        torch.from_numpy(RGB),
    ):
        with pytest.raises(ValueError, match="; give ") as refused:
            to_frame(picture)
        mended = eval(str(refused.value).rpartition("; give ")[2], {"picture": picture, "np": np})
        assert np.array_equal(to_frame(mended), RGB)
    tensor = torch.from_numpy(RGB).permute(2, 0, 1) / 255
    with pytest.raises(ValueError, match="; give ") as refused:
        to_frame(tensor)
    assert np.array_equal(to_frame(eval(str(refused.value).rpartition("; give ")[2], {"picture": tensor})), RGB)


def test_transparency_of_a_palette_is_seen() -> None:
    palette = Image.fromarray(GREY).convert("P")
    palette.info["transparency"] = int(np.asarray(palette)[0, 0])
    with pytest.raises(ValueError, match=r"transparent pixels \(mode P\)"):
        to_frame(palette)


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = Image.new("1", (9_000, 9_000))
    monkeypatch.setattr(core.picture, "MOST_PIXELS", 80_000_000)
    monkeypatch.setattr(huge, "load", lambda: pytest.fail("it was decoded"))
    for picture in (huge, np.broadcast_to(np.uint8(0), (9_000, 9_000, 3))):
        with pytest.raises(ValueError, match="9000 x 9000 pixels, more than 80 million; cut the part out"):
            to_frame(picture)


def test_a_file_of_pillow_that_is_cut_short_or_closed_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "PNG")
    short = Image.open(io.BytesIO(file.getvalue()[:2_000]))
    closed = Image.open(io.BytesIO(file.getvalue()))
    closed.close()
    for image in (short, closed):
        with pytest.raises(ValueError, match="cannot be read"):
            to_frame(image)


def test_a_list_a_generator_and_a_stack_are_pictures_with_names() -> None:
    for pictures in ([RGB, GREY], (RGB for _ in range(2)), np.stack([RGB, RGB]), (RGB, RGB)):
        assert [name for name, _ in each(pictures, "good")] == ["good[0]", "good[1]"]


def test_an_array_of_paths_is_a_list() -> None:
    assert list(each(np.array(["a.png", "b.png"]), "good")) == [("a.png", "a.png"), ("b.png", "b.png")]


def test_a_folder_is_the_pictures_in_it_and_not_below(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "bad/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RGB).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    found = list(each(str(tmp_path), "good"))
    assert found == [(str(tmp_path / name), tmp_path / name) for name in ("a.png", "b.png")]


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (RGB, r"\[48, 64, 3\], which is one picture; give a list: \[picture\]"),
        (GREY, "which is one picture"),
        (Image.fromarray(RGB), r"good is one picture; give a list: \[picture\]"),
        ("part.png", r"good is 'part.png', which is no folder; for one picture give a list: \[picture\]"),
        (Path("part.png"), "which is no folder"),
        ("a\0b", "which is no folder"),
        ("good/*.png", r"good is the pattern 'good/\*\.png'; give sorted\(Path\(\)\.glob\('good/\*\.png'\)\)"),
        (Path("/dev/fd"), "/dev/fd: no pictures in this folder"),
        ({"a": RGB}, "a dict, which has no order"),
        ({"a.png"}, "a set, which has no order"),
        (torch.from_numpy(RGB)[None], "torch tensor; give a list of arrays"),
        (None, "good is None"),
        (7, "good is an int; give a list of pictures"),
        ([], "good holds no picture; give one or more"),
        (iter(()), "good holds no picture"),
        (np.zeros((0, 48, 64, 3), np.uint8), "good holds no picture"),
    ],
)
def test_what_is_no_list_of_pictures_says_what_to_do(pictures: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        each(pictures, "good")


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGBA", "png"), ("RGBA", "tif"), ("RGBA", "webp"), ("LA", "png"), ("P", "png")]
)
def test_a_file_that_is_transparent_in_places_is_refused_as_its_image_is(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    """What its hidden pixels show is not what anybody has seen of it."""
    path = tmp_path / f"part.{suffix}"
    image, saved = Image.fromarray(CLEAR), {}
    if mode == "P":
        image = image.convert("RGB").quantize(16)
        saved["transparency"] = int(np.asarray(image)[0, 0])
    image.convert(mode).save(path, lossless=True, **saved)
    with pytest.raises(ValueError, match=r"part\..*has transparent pixels.*put it on a background"):
        to_frame(path)


@pytest.mark.parametrize("opacity", [0, 255])
def test_a_fourth_channel_that_says_nothing_is_left_out(tmp_path: Path, opacity: int) -> None:
    """As of a BMP of 32 bits from a program that knows of no opacity."""
    path = tmp_path / "part.bmp"
    cv2.imwrite(str(path), np.dstack([RGB[..., ::-1], np.full(RGB.shape[:2], opacity, np.uint8)]))
    assert (to_frame(path) == RGB).all()
