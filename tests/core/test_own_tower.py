"""The CLIP's middle blocks as a tower: its own tokens at its own size, open_clip's resized positions at others."""

import copy
from types import SimpleNamespace

import numpy as np
import open_clip.model
import pytest
import torch
from torch import Tensor

from core.backbone import Backbone, load_backbone
from core.image import Rgb
from core.own_tower import OwnTower, memory_layers
from core.preprocess import Preprocess
from core.vision import VisionPass
from tests.core.conftest import small_vit

MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.2, 0.3)
CPU = torch.device("cpu")


def wrapped(visual: torch.nn.Module, size: tuple[int, int], fingerprint: str = "f" * 64) -> Backbone:
    return Backbone("small", fingerprint, CPU, "fp32", visual, Preprocess(size, MEAN, STD, CPU), SimpleNamespace())  # type: ignore[arg-type]


def pictures(*shapes: tuple[int, int]) -> list[Rgb]:
    random = np.random.default_rng(2)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def by_hand(visual: torch.nn.Module, pixels: Tensor) -> list[Tensor]:
    """Patch tokens [B, N, w] behind each of open_clip's blocks, by its own modules."""
    with torch.inference_mode():
        x = visual._embeds(pixels)
        found = []
        for block in visual.transformer.resblocks:
            x = block(x)
            found.append(x[:, 1:])
        return found


@pytest.mark.parametrize("size", [(80, 80), (64, 96)])
def test_at_the_models_own_size_they_are_the_tokens_of_its_own_pass(size: tuple[int, int]) -> None:
    visual = small_vit(size, layers=6)
    backbone = wrapped(visual, size)
    frames = pictures((70, 90), (200, 50))
    tower = OwnTower(backbone, None, (5, 1, 4, 1))
    assert (tower.size, tower.grid, tower.layers) == (size, (size[0] // 16, size[1] // 16), (1, 4, 5))
    wanted = by_hand(visual, backbone.pixels(frames))
    for layer, found in zip(tower.layers, tower.features(frames), strict=True):
        assert found.shape == (2, *tower.grid, 64)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.flatten(1, 2), wanted[layer - 1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        OwnTower(backbone, size, (6,)).features(frames)[0].flatten(1, 2), wanted[5], rtol=1e-5, atol=1e-5
    )


def test_the_last_block_is_what_the_whole_pass_sees() -> None:
    visual = small_vit()
    backbone, frames = wrapped(visual, (80, 80)), pictures((80, 80), (33, 44))
    with torch.inference_mode():
        patches = VisionPass(visual, (), patches=True)(backbone.pixels(frames)).patches
        (last,) = OwnTower(backbone, None, (3,)).features(frames)
        found = torch.nn.functional.normalize(visual.ln_post(last), dim=-1)
    assert patches is not None
    torch.testing.assert_close(found.flatten(1, 2), patches, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(112, 112), (64, 160), (16, 16), (48, 80)])
def test_at_another_size_positions_are_resized_as_open_clip_does(size: tuple[int, int]) -> None:
    small, frames = small_vit(), pictures((100, 120))
    large = small_vit(size)
    state = {f"visual.{key}": value for key, value in small.state_dict().items()}
    open_clip.model.resize_pos_embed(state, SimpleNamespace(visual=large))
    large.load_state_dict({key.removeprefix("visual."): value for key, value in state.items()})
    wanted = by_hand(large, Preprocess(size, MEAN, STD, CPU)(frames))
    tower = OwnTower(wrapped(small, (80, 80)), size, (2, 3))
    assert (tower.size, tower.grid) == (size, (size[0] // 16, size[1] // 16))
    for layer, found in zip(tower.layers, tower.features(frames), strict=True):
        torch.testing.assert_close(found.flatten(1, 2), wanted[layer - 1], rtol=1e-4, atol=1e-4)


def test_a_batch_is_as_one_by_one() -> None:
    tower = OwnTower(wrapped(small_vit(), (80, 80)), (96, 112))
    frames = pictures((80, 80), (33, 44), (200, 100))
    for together, *alone in zip(tower.features(frames), *(tower.features([one]) for one in frames), strict=True):
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


def test_the_model_is_left_as_it_was() -> None:
    visual = small_vit()
    before = copy.deepcopy(visual.state_dict())
    OwnTower(wrapped(visual, (80, 80)), (112, 64)).features(pictures((30, 30)))
    assert visual.grid_size == (5, 5)
    assert all(torch.equal(value, before[key]) for key, value in visual.state_dict().items())


@pytest.mark.parametrize(
    ("depth", "layers"),
    [(1, (1,)), (2, (1,)), (3, (1, 2)), (6, (3, 4, 5)), (12, (6, 8, 10)), (24, (12, 16, 20)), (32, (16, 21, 26))],
)
def test_memory_layers_are_the_middle_of_the_depth(depth: int, layers: tuple[int, ...]) -> None:
    assert memory_layers(depth) == layers


def test_the_fingerprint_tells_models_sizes_and_layers_apart() -> None:
    visual = small_vit()
    backbone = wrapped(visual, (80, 80))
    base = OwnTower(backbone)
    others = [
        OwnTower(backbone, (96, 80)),
        OwnTower(backbone, (80, 96)),
        OwnTower(backbone, None, (1,)),
        OwnTower(backbone, None, (1, 3)),
        OwnTower(wrapped(visual, (80, 80), "e" * 64)),
    ]
    assert len({tower.fingerprint for tower in (base, *others)}) == 6
    assert all(len(tower.fingerprint) == 64 and tower.name == "clip" for tower in others)
    assert OwnTower(backbone, (80, 80), (2, 1, 2)).fingerprint == base.fingerprint


@pytest.mark.parametrize(
    ("size", "layers", "message"),
    [
        (None, (0,), r"memory layers \[0\]: untrained has blocks 1 to \d+"),
        (None, (1, 99), r"memory layers \[1, 99\]: untrained has blocks 1 to \d+"),
        (None, (-1,), r"memory layers \[-1\]"),
        (None, (), r"memory layers \[\]"),
        ((100, 96), None, r"size 100 x 96: its patches are \d+ x \d+; use multiples of them"),
        ((96, 100), None, "size 96 x 100"),
        ((0, 96), None, "size 0 x 96"),
        ((96, -96), None, "size 96 x -96"),
    ],
)
def test_what_the_model_does_not_have_is_refused_with_what_it_has(
    backbone: Backbone, size: tuple[int, int] | None, layers: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        OwnTower(backbone, size, layers)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_features(backbone: Backbone) -> None:
    frames, there = pictures((100, 90)), load_backbone("untrained", None, "cuda", "fp32")
    for size in (None, (128, 64)):
        one, other = OwnTower(backbone, size), OwnTower(there, size)
        assert one.fingerprint == other.fingerprint
        for found, wanted in zip(other.features(frames), one.features(frames), strict=True):
            assert found.device.type == "cuda"
            torch.testing.assert_close(found.cpu(), wanted, rtol=0.02, atol=0.02)
