"""The pass as a graph of its own: `torch.export` takes it, and what is saved and loaded gives the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.aligner import Values
from core.backbone import Backbone
from core.masked import MaskedPass
from core.vision import Features, VisionPass
from core.windows import make_windows
from tests.core.conftest import small_vit
from tests.core.test_alfa import frame, text_of

WINDOWS = [make_windows((5, 5), scale) for scale in (2, 3)]


@pytest.fixture(scope="module", autouse=True)
def _known() -> None:
    """What the pass gives are dataclasses of tensors; `torch.export` has to be told of each, once in a process."""
    for kind in (Features, Values):
        torch.export.register_dataclass(kind, serialized_type_name=f"{kind.__module__}.{kind.__name__}")


def reloaded(module: nn.Module, pixels: Tensor, path: Path) -> nn.Module:
    torch.export.save(torch.export.export(module, (pixels,)), path)
    return torch.export.load(path).module()


@pytest.mark.parametrize(("one_pass", "dtype"), [(VisionPass, torch.float32), (MaskedPass, torch.bfloat16)])
def test_an_exported_pass_equals_the_pass(one_pass: type[VisionPass], dtype: torch.dtype, tmp_path: Path) -> None:
    """Red on the old code: `Found <class 'functools.partial'> in output`, the way to the joint space."""
    vision = one_pass(small_vit(), WINDOWS, dtype=dtype, patches=True)
    pixels = torch.randn(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    exported = reloaded(vision, torch.zeros_like(pixels), tmp_path / "pass.pt2")
    ours, theirs = exported(pixels), vision(pixels)
    assert isinstance(ours, Features)
    pairs = [
        (ours.image, theirs.image),
        (ours.patches, theirs.patches),
        *zip(ours.windows, theirs.windows, strict=True),
    ]
    for found, wanted in zip(ours.values, theirs.values, strict=True):
        pairs += [(found.image, wanted.image), (found.window, wanted.window)]
        assert torch.equal(found.index, wanted.index)
    for found, wanted in pairs:
        assert found.dtype == wanted.dtype
        assert torch.allclose(found, wanted, atol=1e-5)


class ZeroShotScores(nn.Module):
    """Pixels [B, 3, H, W] to S_G and the largest S~_L [B, 2]: the pass, Alg. 1, the aligner and Eq. 10 and 11."""

    def __init__(self, alfa: Alfa, text: TextFeatures) -> None:
        super().__init__()
        self.vision = alfa.vision
        self._alfa, self._text = alfa, text

    def forward(self, pixels: Tensor) -> Tensor:
        return self._alfa.zero_shot(self.vision(pixels), self._text).scores


def test_so_does_all_that_follows_up_to_the_scores(backbone: Backbone, tmp_path: Path) -> None:
    alfa = Alfa(backbone, Method(scales=(3,), stride=3, aligner="minimal"))
    scores = ZeroShotScores(alfa, text_of(128))
    exported = reloaded(scores, alfa.backbone.pixels([frame(seed=1)]), tmp_path / "scores.pt2")
    pixels = alfa.backbone.pixels([frame(seed=2)])
    assert np.allclose(exported(pixels), scores(pixels), atol=1e-5)
