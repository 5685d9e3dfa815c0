"""What of a mask's file is the defect, in whatever colours it was saved, and what is said of odd ones."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.evaluate.datasets import MaskSurvey, Sample, read_mask
from core.image import ImageError
from tests.support.data_sets import write_mask, write_picture

DEFECT = np.zeros((64, 64), np.bool_)
DEFECT[12:20, 30:42] = True
WHITE, GREY, BLACK, RED = (255, 255, 255), (128, 128, 128), (0, 0, 0), (255, 0, 0)


def _sample(tmp_path: Path, *masks: Path, size: tuple[int, int] = (8, 8)) -> Sample:
    return Sample(write_picture(tmp_path / "picture.png", size), True, "crack", masks)


@pytest.mark.parametrize("anomalous", [False, True])
def test_sample_without_masks(tmp_path: Path, anomalous: bool) -> None:
    """Needs no file."""
    mask = read_mask(Sample(tmp_path / "away.png", anomalous, "any", ()), (3, 5))
    assert mask.shape == (3, 5)
    assert mask.dtype == np.bool_
    assert not mask.any()


def test_mask_is_resized_by_the_nearest_neighbour(tmp_path: Path) -> None:
    """Height and width are not confused; growing keeps shares, shrinking takes the pixel below each cell's centre."""
    sample = _sample(tmp_path, write_mask(tmp_path / "m.png", (0, 0), (1, 3), size=(2, 4)), size=(2, 4))
    grown = read_mask(sample, (4, 8))
    assert grown.shape == (4, 8)
    assert grown.sum() == 8
    assert grown[:2, :2].all()
    assert grown[2:, 6:].all()
    assert np.argwhere(read_mask(sample, (1, 2))).tolist() == [[0, 1]]


@pytest.mark.parametrize("value", [1, 2, 255])
def test_defect_does_not_vanish(tmp_path: Path, value: int) -> None:
    """A pixel that no cell's centre meets marks its cell; a line keeps its length; each mask counts for itself."""
    speck = write_mask(tmp_path / "speck.png", (70, 99), value=value, size=(100, 100))
    line = write_mask(tmp_path / "line.png", *((row, 0) for row in range(100)), value=value, size=(100, 100))
    block = write_mask(tmp_path / "block.png", *((y, x) for y in range(10) for x in range(40, 60)), size=(100, 100))
    size = (100, 100)
    assert np.argwhere(read_mask(_sample(tmp_path, speck, size=size), (10, 10))).tolist() == [[7, 9]]
    assert np.argwhere(read_mask(_sample(tmp_path, line, size=size), (10, 10))).tolist() == [[y, 0] for y in range(10)]
    both = read_mask(_sample(tmp_path, block, speck, size=size), (10, 10))
    assert np.argwhere(both).tolist() == [[0, 4], [0, 5], [7, 9]]


def test_black_mask_stays_black(tmp_path: Path) -> None:
    assert not read_mask(_sample(tmp_path, write_mask(tmp_path / "m.png")), (4, 4)).any()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "JPEG", "BMP"])
def test_mask_in_any_kind_ofwrite_picture(tmp_path: Path, mode: str) -> None:
    """Opacity is no defect, nor is a JPEG's noise; sixteen bits keep small numbers."""
    values = np.zeros((16, 16), np.uint8)
    values[4:12, 4:12] = 255
    path = tmp_path / {"JPEG": "m.jpg", "BMP": "m.bmp"}.get(mode, "m.png")
    if mode == "I;16":
        Image.fromarray((values > 0).astype(np.uint16)).save(path)
    else:
        Image.fromarray(values).convert(mode if mode not in ("JPEG", "BMP") else "L").save(path)
    mask = read_mask(_sample(tmp_path, path), (16, 16))
    np.testing.assert_array_equal(mask, values > 0)


def test_mask_of_palette_numbers(tmp_path: Path) -> None:
    picture = Image.fromarray(np.eye(8, dtype=np.uint8)).convert("L")
    picture.putpalette([0, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(_sample(tmp_path, tmp_path / "m.png"), (8, 8)), np.eye(8, dtype=bool))


@pytest.mark.parametrize("content", [b"", b"no picture", b"cut"])
def test_mask_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = write_mask(tmp_path / "m.png", (0, 0), size=(64, 64))
    path.write_bytes(path.read_bytes()[:60] if content == b"cut" else content)
    with pytest.raises(ImageError, match=r"m\.png: no mask that can be read"):
        read_mask(_sample(tmp_path, path, size=(64, 64)), (8, 8))
    path.unlink()
    with pytest.raises(ImageError, match=r"m\.png"):
        read_mask(_sample(tmp_path, path, size=(64, 64)), (8, 8))


def test_aspect(tmp_path: Path) -> None:
    """A mask of another scale is read, of another shape refused; the picture's size may be given."""
    path = write_mask(tmp_path / "m.png", (0, 0), size=(50, 100))
    assert read_mask(_sample(tmp_path, path, size=(100, 200)), (8, 8)).any()
    assert read_mask(_sample(tmp_path, path, size=(100, 201)), (8, 8)).any()
    for size in ((200, 100), (100, 203), (100, 197)):
        with pytest.raises(ImageError, match=rf"m\.png: a mask of 100 x 50 for a picture of {size[1]} x {size[0]}"):
            read_mask(_sample(tmp_path, path, size=size), (8, 8))
    assert read_mask(Sample(tmp_path / "away.png", True, "crack", (path,)), (8, 8), (100, 200)).any()
    with pytest.raises(ImageError, match=r"away\.png"):
        read_mask(Sample(tmp_path / "away.png", True, "crack", (path,)), (8, 8))


def _painted(defect: tuple[int, ...], background: tuple[int, ...]) -> Image.Image:
    """`DEFECT` in two colours: RGB or, of four numbers, RGBA."""
    return Image.fromarray(np.where(DEFECT[..., None], defect, background).astype(np.uint8))


def _palette(*colours: tuple[int, int, int], first: bool = False) -> Image.Image:
    """`DEFECT` as index 1, or 0 with `first`, of a palette."""
    image = Image.fromarray((first != DEFECT).astype(np.uint8))
    image.putpalette([channel for colour in colours for channel in colour])
    return image


def _with_one_transparent(image: Image.Image) -> Image.Image:
    """As GIMP saves an indexed layer: the palette's first colour cannot be seen."""
    image.info["transparency"] = 0
    return image


def _jpeg_saved_as_png() -> Image.Image:
    file = BytesIO()
    Image.fromarray(np.roll(DEFECT, 3, (0, 1)).astype(np.uint8) * 255).save(file, "JPEG", quality=70)
    return Image.fromarray(np.roll(np.asarray(Image.open(file)), -3, (0, 1)))


def _soft() -> Image.Image:
    """Of a soft brush: opacity from 0 to 255."""
    layer = Image.new("RGBA", (64, 64), (*WHITE, 0))
    far = np.maximum(np.abs(np.arange(64) - 15.5)[:, None] / 4, np.abs(np.arange(64) - 35.5)[None] / 6)
    layer.putalpha(Image.fromarray((255 * np.clip(1.5 - far, 0, 1)).astype(np.uint8)))
    return layer


PAINTED = {
    "white on black": _painted(WHITE, BLACK),
    "red, the rest is transparent and white": _painted((*RED, 255), (*WHITE, 0)),
    "red, the rest is transparent and black": _painted((*RED, 255), (*BLACK, 0)),
    "a black brush on transparency": _painted((*BLACK, 255), (*BLACK, 0)),
    "a black brush on transparent white": _painted((*BLACK, 255), (*WHITE, 0)),
    "half opaque": _painted((*RED, 100), (*WHITE, 0)),
    "a soft brush": _soft(),
    "opaque throughout": _painted((*WHITE, 255), (*BLACK, 255)),
    "grey with opacity": _painted((*BLACK, 255), (*WHITE, 0)).convert("LA"),
    "a palette with a grey background": _palette(GREY, RED),
    "a palette with a white background": _palette(WHITE, BLACK),
    "a palette with a white defect": _palette(BLACK, WHITE),
    "a palette that an optimizer has sorted": _palette(WHITE, BLACK, first=True),
    "a palette with a transparent background": _with_one_transparent(_palette(WHITE, BLACK)),
}


@pytest.mark.parametrize("kind", PAINTED)
def test_mask_in_any_colours(tmp_path: Path, kind: str) -> None:
    PAINTED[kind].save(tmp_path / "m.png")
    sample = _sample(tmp_path, tmp_path / "m.png", size=(64, 64))
    survey = MaskSurvey()
    survey.look(sample)
    np.testing.assert_array_equal(read_mask(sample, (64, 64), inverted=survey.inverted), DEFECT)
    assert survey.notes(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("inverted", "Masks that mark all around the defects, read as inverted: 1 file (m.png)."),
        ("erased", "Masks that mark all around the defects, read as inverted: 1 file (m.png)."),
        ("two greys", "Masks without black, of which the commonest colour is the background: 1 file (m.png)."),
        ("red on white", "Masks without black, of which the commonest colour is the background: 1 file (m.png)."),
        ("labels from one", "Masks without black, of which the commonest colour is the background: 1 file (m.png)."),
        ("a JPEG saved as PNG", "Masks of many greys, of which the brighter half is the defect: 1 file (m.png)."),
    ],
)
def test_mask_in_odd_colours_is_read_right_and_noted(tmp_path: Path, kind: str, said: str) -> None:
    images = {
        "inverted": _painted(BLACK, WHITE),
        "erased": _painted((*WHITE, 0), (*WHITE, 255)),
        "two greys": _painted(WHITE, GREY),
        "red on white": _painted(RED, WHITE),
        "labels from one": Image.fromarray(np.where(DEFECT, 2, 1).astype(np.uint8)),
        "a JPEG saved as PNG": _jpeg_saved_as_png(),
    }
    images[kind].save(tmp_path / "m.png")
    sample = _sample(tmp_path, tmp_path / "m.png", size=(64, 64))
    survey = MaskSurvey()
    survey.look(sample)
    np.testing.assert_array_equal(read_mask(sample, (64, 64), inverted=survey.inverted), DEFECT)
    assert survey.notes(tmp_path) == [said]


def test_jpeg_of_one_colour_has_no_edge(tmp_path: Path) -> None:
    """Its noise is no contrast."""
    for value in (0, 255):
        noise = np.random.default_rng(0).integers(-3, 4, (64, 64))
        Image.fromarray(np.clip(value + noise, 0, 255).astype(np.uint8)).save(tmp_path / "m.jpg")
        mask = read_mask(_sample(tmp_path, tmp_path / "m.jpg", size=(64, 64)), (64, 64))
        assert mask.all() if value else not mask.any()


def test_labels_are_no_greys(tmp_path: Path) -> None:
    """However many kinds of defect, their small numbers are not parted in the middle."""
    labels = np.zeros((64, 64), np.uint8)
    labels[10, :20] = np.arange(1, 21)
    Image.fromarray(labels).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(_sample(tmp_path, tmp_path / "m.png", size=(64, 64)), (64, 64)), labels > 0)


def _survey(tmp_path: Path, *masks: np.ndarray) -> tuple[MaskSurvey, list[str]]:
    survey = MaskSurvey()
    for place, mask in enumerate(masks):
        path = tmp_path / f"{place}.png"
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
        survey.look(_sample(tmp_path, path, size=(64, 64)))
    return survey, survey.notes(tmp_path)


def test_a_large_defect_is_no_inversion(tmp_path: Path) -> None:
    """One mask that is no inverse shows that none is; nor is one of a large part in the middle, or of all of it."""
    large = np.zeros((64, 64), np.bool_)
    large[4:60, 4:60] = True
    survey, notes = _survey(tmp_path, large)
    assert not survey.inverted
    assert notes == ["Masks of more than half of the picture: 1 file (0.png)."]
    survey, notes = _survey(tmp_path, ~DEFECT, DEFECT)
    assert not survey.inverted
    assert notes == ["Masks of more than half of the picture: 1 file (0.png)."]
    survey, notes = _survey(tmp_path, np.ones((64, 64), np.bool_))
    assert not survey.inverted
    assert notes == ["Masks of more than half of the picture: 1 file (0.png)."]


def test_a_mask_without_a_defect_is_noted(tmp_path: Path) -> None:
    _, notes = _survey(tmp_path, np.zeros((64, 64), np.bool_), DEFECT)
    assert notes == ["Masks without a defect: 1 file (0.png)."]
