"""Each way to embed windows as the method runs it: what it gives, what it refuses, and that features are not mixed."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from core.alfa import Alfa, Method
from core.backbone import Backbone
from core.bank.memory import distances, make_index, reference_map, remember
from core.encoding import encoding_of
from core.evaluate.cache import FeatureCache
from core.graph import GraphedPass
from core.tiles import WHOLE
from core.windows import MODES, make_windows
from edge.settings import MethodSettings
from tests.core.test_alfa import frame, text_of


@pytest.mark.parametrize("windows", ["strided", "masked"])
def test_it_judges_in_its_own_way(backbone: Backbone, windows: str) -> None:
    text = text_of(128)
    exact = Alfa(backbone).inspect([frame()], [text])[0]
    other = Alfa(backbone, Method(windows=windows)).inspect([frame()], [text])[0]
    assert other.global_score == pytest.approx(exact.global_score, abs=1e-6)
    assert other.patch_map.shape == (15, 15)
    assert 0 <= other.local_score <= 1
    assert not np.allclose(other.patch_map, exact.patch_map, atol=1e-6)


def test_strided_is_exact_at_stride_2_and_covers_the_edges(backbone: Backbone) -> None:
    strided, alike = Alfa(backbone, Method(windows="strided")), Alfa(backbone, Method(stride=2))
    assert [len(one.index) for one in strided.windows] == [64, 49]
    for one in strided.windows:
        assert torch.equal(one.index, make_windows((15, 15), one.scale, 2).index)
        assert bool((one.coverage.sum(0) > 0).all())
    pixels = backbone.pixels([frame()])
    for ours, theirs in zip(strided.vision(pixels).windows, alike.vision(pixels).windows, strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="leave stride 2 at 1"):
        Method(windows="strided", stride=2)


def test_without_windows_the_map_is_that_of_the_shots(backbone: Backbone) -> None:
    alfa = Alfa(backbone, Method(windows="none", memory_gain=2.0), patches=True)
    text, (shot, part) = text_of(128), (frame(seed=1), frame(seed=2))
    memory = remember(alfa.vision(backbone.pixels([shot])))
    assert memory.windows == ()
    same, other = alfa.inspect([shot, part], [text] * 2, [make_index([memory], backbone.device)] * 2)
    reference = reference_map(distances(alfa.vision(backbone.pixels([part])), memory), [])[0, 0].numpy()
    assert np.allclose(other.patch_map.ravel(), np.minimum(2 * reference, 1), atol=1e-5)
    assert other.local_score == pytest.approx(other.patch_map.max())
    assert other.memory_score == pytest.approx(reference.max(), abs=1e-5)
    assert other.score == pytest.approx((other.global_score + other.local_score) / 2, abs=1e-6)
    assert same.patch_map.max() < 1e-3


def test_without_windows_and_shots_there_is_nothing_to_judge_by(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="windows = none needs normal shots"):
        Alfa(backbone, Method(windows="none"))
    with pytest.raises(ValueError, match="windows = none needs normal shots"):
        Alfa(backbone, Method(windows="none"), patches=True).inspect([frame()], [text_of(128)])


def test_without_windows_every_patch_is_described_as_the_image(backbone: Backbone) -> None:
    alfa = Alfa(backbone, Method(windows="none"), patches=True)
    base = text_of(128)
    text = type(base)(base.normal, base.abnormal, descriptors=base.abnormal, phrases=tuple("abcdefg"))
    index = make_index([remember(alfa.vision(backbone.pixels([frame(seed=1)])))], backbone.device)
    like = alfa.inspect([frame()], [text], [index])[0].likeness
    assert like is not None
    assert like.patch.shape == (15, 15)
    assert (like.patch == like.image.argmax()).all()


def test_only_a_method_with_the_same_windows_shares_a_pass(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="masked, are other windows"):
        Alfa(backbone).with_method(Method(windows="masked"))


def test_features_of_one_mode_have_another_name_than_those_of_another(backbone: Backbone, tmp_path: Path) -> None:
    modes = {one: Alfa(backbone, Method(windows=one), patches=True) for one in MODES}
    kinds = {name: tuple(kind for kind, _ in encoding_of(alfa).shapes) for name, alfa in modes.items()}
    assert kinds["exact"] == ("window:2", "window:3", "patch")
    assert kinds["masked"] == ("window:2:masked", "window:3:masked", "patch")
    assert kinds["strided"] == ("window:2:strided", "window:3:strided", "patch")
    assert kinds["none"] == ("patch",)
    caches = [FeatureCache(tmp_path, alfa, ["identity"], 4, lambda *_: None) for alfa in modes.values()]
    assert len({cache._file("a", WHOLE).parent for cache in caches}) == len(MODES)


def test_the_settings_take_every_mode() -> None:
    assert get_args(MethodSettings.model_fields["windows"].annotation) == MODES
    assert MethodSettings().windows == Method().windows == "exact"
    with pytest.raises(ValueError, match="windows 'some' is not known; use one of exact"):
        Method(windows="some")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("windows", ["strided", "masked", "none"])
def test_on_cuda_every_mode_is_captured(windows: str) -> None:
    from core.backbone import load_backbone

    alfa = Alfa(load_backbone("untrained", None, "cuda", "fp16"), Method(windows=windows), patches=True)
    pixels = alfa.backbone.pixels([frame(), frame(seed=1)])
    direct = alfa.vision(pixels)
    alfa.warm_up(2)
    assert isinstance(alfa.vision, GraphedPass)
    replayed = alfa.vision(pixels)
    for ours, theirs in zip((replayed.image, *replayed.windows), (direct.image, *direct.windows), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
