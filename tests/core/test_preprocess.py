"""Held against open_clip's own transform, which squeezes with Pillow."""

from pathlib import Path

import numpy as np
import open_clip
import PIL
import pytest
import torch
from PIL import Image

from core.backbone import Backbone
from core.image import Rgb, read
from tests.support.photographs import photographs


def levels_apart(backbone: Backbone, image: Rgb) -> float:
    """The largest difference to open_clip's transform, in levels of 255."""
    pixels = backbone.pixels
    theirs = open_clip.image_transform(
        pixels.size, is_train=False, mean=pixels.mean, std=pixels.std, resize_mode="squash", interpolation="bicubic"
    )(Image.fromarray(image))
    return float(((pixels([image])[0] - theirs) * torch.tensor(pixels.std).view(3, 1, 1) * 255).abs().max())


as_pillow_13 = pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="Pillow below 13 takes the axes in another order"
)


@as_pillow_13
@pytest.mark.parametrize(
    "shape", [(240, 240), (500, 1260), (1024, 1280), (96, 131), (319, 182), (182, 319), (480, 300)]
)
def test_drawn_pictures_are_at_most_two_levels_apart(backbone: Backbone, shape: tuple[int, int]) -> None:
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    smooth = 127 + 80 * np.sin(rows / 17) * np.cos(cols / 23)
    noise = np.random.default_rng(0).integers(0, 64, (*shape, 3))
    image = np.clip(smooth[..., None] + noise - 32, 0, 255).astype(np.uint8)
    assert levels_apart(backbone, image) <= 2.01


@as_pillow_13
@pytest.mark.parametrize("name", ["magnetic_tile", "commutator"])
def test_photographs_are_at_most_two_levels_apart(backbone: Backbone, name: str, tmp_path: Path) -> None:
    for path in sorted(photographs(name, 8, tmp_path / name).iterdir()):
        assert levels_apart(backbone, read(path)) <= 2.01


def test_frames_of_several_sizes_make_one_batch(backbone: Backbone) -> None:
    frames = [np.full((height, 300, 3), 10 * height % 256, np.uint8) for height in (240, 100, 480)]
    batch = backbone.pixels(frames)
    assert batch.shape == (3, 3, 240, 240)
    for row, frame in enumerate(frames):
        assert torch.equal(batch[row], backbone.pixels([frame])[0])
