"""The lower interface takes frames as it says, uint8 [H, W, 3], and as many texts; all else is refused in words."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.backbone import Backbone
from core.bank.memory import Index

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
TEXT = TextFeatures(torch.eye(128)[:3], torch.eye(128)[3:5])

WRONG = [
    ((RGB / 255.0).astype(np.float32), r"float32 from 0 to 1; give \(picture \* 255\)\.round\(\)\.astype\(np\.uint8\)"),
    (RGB.astype(np.float64), r"float64 from 0 to 255; give picture\.round\(\)\.astype\(np\.uint8\)"),
    (RGB.astype(np.float32) - 99, "as after a normalisation; give the picture before that step"),
    (np.full_like(RGB, np.nan, np.float32), "nan"),
    (RGB.astype(np.uint16) * 257, r"16 bits.*>> 8"),
    (RGB.astype(np.int64), r"int64.*astype\(np\.uint8\)"),
    (RGB > 9, "mask"),
    (RGB.astype(object), "object"),
    (RGB[..., 0], r"\[48, 64\].*three channels"),
    (RGB[..., :2], r"\[48, 64, 2\]"),
    (np.dstack([RGB, RGB[..., :1]]), r"\[48, 64, 4\]"),
    (RGB.transpose(2, 0, 1), r"\[3, 48, 64\], channels first; give picture\.transpose\(1, 2, 0\)"),
    (RGB[None], r"\[1, 48, 64, 3\], a batch"),
    (RGB[:0], r"\[0, 64, 3\].*empty"),
    (torch.from_numpy(RGB), r"torch tensor \[48, 64, 3\]; give picture\.cpu\(\)\.numpy\(\)"),
    ("part.png", "str"),
    (None, "None"),
]


@pytest.fixture(scope="module")
def alfa(backbone: Backbone) -> Alfa:
    return Alfa(backbone, patches=True)


@pytest.mark.parametrize(("frame", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_frame_that_is_none_is_refused_wherever_frames_go_in(alfa: Alfa, frame: Any, message: str) -> None:
    for call in (
        lambda: alfa.inspect([RGB, frame], [TEXT, TEXT]),
        lambda: alfa.remember(frame),
        lambda: alfa.text_scores(frame, TEXT),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_message_says_which_frame(alfa: Alfa) -> None:
    with pytest.raises(ValueError, match=r"^frame 1 has"):
        alfa.inspect([RGB, RGB / 255], [TEXT, TEXT])


def few(count: int) -> list[NDArray[np.uint8]]:
    return [RGB] * count


@pytest.mark.parametrize(
    ("frames", "texts", "indexes", "message"),
    [
        (few(3), [TEXT] * 2, None, r"3 frames and 2 texts; give as many"),
        (few(2), [TEXT] * 3, None, r"2 frames and 3 texts"),
        (few(2), [TEXT] * 2, [None], r"2 frames and 1 indexes"),
        (few(2), [TEXT] * 2, [], r"2 frames and 0 indexes"),
        (few(1), [None], None, r"texts\[0\] is None; give TextFeatures"),
        (few(1), ["bottle"], None, r"texts\[0\] is a str"),
        (few(1), TEXT, None, r"texts is a TextFeatures; give a list, one for each frame"),
        (few(1), [TEXT], ["shots"], r"indexes\[0\] is a str; give Index"),
        (RGB, [TEXT], None, r"one array; give a list of frames"),
        ([], [], None, "no frame"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_frame_has_texts_of_its_own(
    alfa: Alfa, frames: Any, texts: Any, indexes: list[Index | None] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        alfa.inspect(frames, texts, indexes)


@pytest.mark.parametrize(("rows", "texts", "sizes"), [(2, 1, 2), (2, 2, 1), (1, 2, 2)])
def test_so_has_each_row_of_pixels(alfa: Alfa, rows: int, texts: int, sizes: int) -> None:
    pixels = alfa.backbone.pixels(few(rows))
    with pytest.raises(ValueError, match="give as many"):
        alfa.inspect_pixels(pixels, [TEXT] * texts, [(48, 64)] * sizes)


def test_an_index_of_feature_maps_needs_the_frames_themselves(alfa: Alfa) -> None:
    memories = [alfa.remember(np.roll(RGB, 8 * turn, 0)) for turn in (0, 1)]
    index = alfa.index(memories, [0, 1], (48, 64))
    with pytest.raises(ValueError, match="needs the frames themselves"):
        alfa.inspect_pixels(alfa.backbone.pixels([RGB]), [TEXT], [(48, 64)], [index])
