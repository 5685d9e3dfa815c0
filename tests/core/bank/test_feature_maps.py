"""Feature maps: kinds say what comes, each layer counts alike, and inputs have the proportions of the pictures."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import core.clip  # noqa: F401  # before timm
from core.backbone import Backbone, load_backbone
from core.bank.feature_maps import FeatureMaps, fitted_size
from core.image import Rgb
from core.own_tower import OwnTower
from core.timm_models import timm
from core.towers import LITE0, Tower, load_tower


def pictures(*shapes: tuple[int, int]) -> list[Rgb]:
    random = np.random.default_rng(3)
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


@pytest.fixture(scope="module")
def lite0() -> Tower:
    return load_tower(LITE0)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Tower:
    """A network that takes one size only."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("fixed") / "pit.pt"
    torch.save(timm().create_model("pit_ti_224").state_dict(), path)
    return load_tower("timm:pit_ti_224", weights=str(path))


def described(maps: FeatureMaps) -> list[tuple[str, tuple[int, int, int]]]:
    return [(kind.name, kind.shape) for kind in maps.kinds]


def called(found: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    assert all(one.dtype == torch.float32 for one in found)
    return [tuple(one.shape) for one in found]


def test_kinds_have_the_shapes_that_come(backbone: Backbone, lite0: Tower) -> None:
    frames = pictures((120, 200), (60, 100), (333, 111))
    for tower, names in ((None, []), (lite0, [f"{LITE0}:coarse", f"{LITE0}:mean"])):
        maps = FeatureMaps(backbone, tower, (120, 200))
        assert [name for name, _ in described(maps)] == ["clip", "clip:fine", *names]
        assert called(maps(frames)) == [(3, *shape) for _, shape in described(maps)]
        assert all(len(kind.fingerprint) == 64 and " " not in kind.name for kind in maps.kinds)
        width = backbone.visual.conv1.out_channels
        (own, fine), high, wide = maps.kinds[:2], *fitted_size((120, 200), (240, 240), 16)
        assert (own.shape, fine.shape) == ((15, 15, 3 * width), (high // 16, wide // 16, 3 * width))


def test_clip_is_heard_twice_at_its_own_size_and_finer(backbone: Backbone) -> None:
    frames = pictures((90, 120))
    maps = FeatureMaps(backbone, None, (90, 120), layers=(2, 5))
    for found, kind, size in zip(maps(frames), maps.kinds, (None, fitted_size((90, 120), (240, 240), 16)), strict=True):
        tower = OwnTower(backbone, size, (2, 5))
        assert kind.fingerprint == tower.fingerprint
        wanted = torch.cat([F.normalize(one, dim=-1) for one in tower.features(frames)], -1)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_each_layer_is_of_unit_length(backbone: Backbone, lite0: Tower) -> None:
    width = backbone.visual.conv1.out_channels
    own, fine, coarse, mean = FeatureMaps(backbone, lite0, (80, 80))(pictures((80, 80), (50, 40)))
    for found, sizes in ((own, [width] * 3), (fine, [width] * 3), (coarse, [coarse.shape[3]])):
        for layer in found.split(sizes, -1):
            torch.testing.assert_close(layer.norm(dim=-1), torch.ones(layer.shape[:3]), rtol=1e-5, atol=1e-5)
    assert bool((mean.norm(dim=-1) <= math.sqrt(2) + 1e-5).all())  # an average of what has that length


def test_of_a_towers_layers_the_coarsest_stands_alone_and_all_are_averaged(backbone: Backbone, lite0: Tower) -> None:
    frames = pictures((96, 60))
    *_, coarse, mean = FeatureMaps(backbone, lite0, (96, 60))(frames)
    fine_layer, coarse_layer = lite0.at(fitted_size((96, 60), lite0.size, 16)).features(frames)
    torch.testing.assert_close(coarse, F.normalize(coarse_layer, dim=-1))
    rows, cols = fine_layer.shape[1:3]
    larger = F.interpolate(coarse_layer.permute(0, 3, 1, 2), (rows, cols), mode="bilinear").permute(0, 2, 3, 1)
    joined = torch.cat([F.normalize(fine_layer, dim=-1), F.normalize(larger, dim=-1)], -1)
    assert mean.shape[1:] == (-(-rows // 2), -(-cols // 2), joined.shape[3])  # at every second patch
    for row in (0, 2, rows // 4 * 2, (rows - 1) // 2 * 2):
        for col in (0, 4, (cols - 1) // 2 * 2):
            around = joined[0, max(0, row - 1) : row + 2, max(0, col - 1) : col + 2].flatten(0, 1).mean(0)
            torch.testing.assert_close(mean[0, row // 2, col // 2], around, rtol=1e-4, atol=1e-5)


def test_a_tower_of_one_layer_is_one_map(backbone: Backbone) -> None:
    tower, frames = load_tower(LITE0, layers=[2]), pictures((70, 70))
    maps = FeatureMaps(backbone, tower, (70, 70))
    assert [name for name, _ in described(maps)] == ["clip", "clip:fine", LITE0]
    at = tower.at(fitted_size((70, 70), tower.size, tower.stride))
    assert maps.kinds[2].fingerprint == at.fingerprint
    torch.testing.assert_close(maps(frames)[2], F.normalize(at.features(frames)[0], dim=-1))


def test_a_tower_of_one_size_keeps_it(backbone: Backbone, fixed: Tower) -> None:
    maps, frames = FeatureMaps(backbone, fixed, (100, 200)), pictures((100, 200))
    assert called(maps(frames)) == [(1, *shape) for _, shape in described(maps)]
    assert all(kind.fingerprint == fixed.fingerprint for kind in maps.kinds[2:])
    assert maps.kinds[-1].shape[:2] == tuple(-(-side // 2) for side in fixed.grid)


def test_a_batch_is_as_one_by_one(backbone: Backbone, lite0: Tower) -> None:
    maps, frames = FeatureMaps(backbone, lite0, (64, 64)), pictures((64, 64), (64, 64), (90, 50))
    for together, *alone in zip(maps(frames), *(maps([one]) for one in frames), strict=True):
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_fingerprints_follow_the_pictures_shape(backbone: Backbone, lite0: Tower) -> None:
    square, again, wide = (FeatureMaps(backbone, lite0, shape).kinds for shape in ((80, 80), (200, 200), (80, 160)))
    assert square == again
    assert square[0] == wide[0]  # the CLIP at its own size
    assert all(one.fingerprint != other.fingerprint for one, other in zip(square[1:], wide[1:], strict=True))


def test_layers_that_the_model_lacks_are_refused(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match=r"memory layers \[7\]: untrained has blocks 1 to 6"):
        FeatureMaps(backbone, None, (80, 80), layers=(7,))


@given(
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    own=st.tuples(st.sampled_from([160, 224, 240, 384]), st.sampled_from([160, 224, 240])),
    multiple=st.sampled_from([1, 14, 16, 32]),
)
def test_sizes_have_the_pictures_proportions(height: int, width: int, own: tuple[int, int], multiple: int) -> None:
    high, wide = fitted_size((height, width), own, multiple)
    assert high % multiple == wide % multiple == 0
    ratio = min(4.0, max(0.25, height / width))
    area = 16 / 9 * own[0] * own[1]
    assert abs(high - math.sqrt(area * ratio)) <= multiple / 2 + 1e-6
    assert abs(wide - math.sqrt(area / ratio)) <= multiple / 2 + 1e-6
    assert (wide, high) == fitted_size((width, height), own, multiple)


def test_sizes_that_are_known() -> None:
    assert fitted_size((240, 240), (240, 240), 16) == (320, 320)
    assert fitted_size((1080, 1920), (240, 240), 16) == (240, 432)
    assert fitted_size((4000, 100), (240, 240), 16) == fitted_size((400, 100), (240, 240), 16) == (640, 160)
    assert fitted_size((1, 1), (8, 8), 32) == (32, 32)  # at least one patch


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_maps(backbone: Backbone, lite0: Tower) -> None:
    frames = pictures((80, 120))
    here = FeatureMaps(backbone, lite0, (80, 120))
    there = FeatureMaps(load_backbone("untrained", None, "cuda", "fp32"), load_tower(LITE0, device="cuda"), (80, 120))
    assert here.kinds == there.kinds
    for one, other in zip(here(frames), there(frames), strict=True):
        assert other.device.type == "cuda"
        torch.testing.assert_close(one, other.cpu(), rtol=0.02, atol=0.02)
