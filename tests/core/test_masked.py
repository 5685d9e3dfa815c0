"""Windows with one token each: against a plain reading of the definition, one window at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.aligner import ALIGNERS, Values
from core.masked import MaskedPass
from core.vision import UnsupportedModelError, VisionPass, lift
from core.windows import Windows, make_windows
from tests.core.conftest import small_vit

PIXELS = torch.randn(3, 3, 80, 80, generator=torch.Generator().manual_seed(0))


def naive(visual: nn.Module, pixels: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """One pass of open_clip's transformer per window, on all the image's tokens and the window's own, which it masks.

    The embeddings [B, W, d], and the last layer's values of the window's tokens [B, W, 1 + n, w].
    """
    tokens = visual._embeds(pixels)
    count, width = tokens.shape[1:]
    embeddings, values = [], []
    for window in index:
        mask = torch.full((count + 1, count + 1), -torch.inf)
        mask[:count, :count] = 0  # the image sees itself, and not the window
        mask[count, 1 + window] = 0
        mask[count, count] = 0
        x = torch.cat([tokens, tokens[:, :1]], 1)
        for block in visual.transformer.resblocks:
            before, x = x, block(x, attn_mask=mask)
        embeddings.append(visual.ln_post(x)[:, -1] @ visual.proj)
        weight, bias = block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
        own = torch.cat([before[:, -1:], before[:, 1 + window]], 1)
        values.append(F.linear(block.ln_1(own), weight, bias))
    return F.normalize(torch.stack(embeddings, 1), dim=-1), torch.stack(values, 1)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("size", "grid"), [(80, (5, 5)), ((64, 96), (4, 6))])
def test_it_equals_a_masked_pass_per_window(layers: int, size: int | tuple[int, int], grid: tuple[int, int]) -> None:
    visual = small_vit(size, layers)
    windows = [make_windows(grid, scale) for scale in (2, 3)]
    height, width = (size, size) if isinstance(size, int) else size
    pixels = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    exact = VisionPass(visual, windows, patches=True)(pixels)
    for patches in (False, True):
        features = MaskedPass(visual, windows, patches=patches)(pixels)
        assert torch.allclose(features.image, exact.image, atol=1e-5)
        for one, ours, carried in zip(windows, features.windows, features.values, strict=True):
            embeddings, values = naive(visual, pixels, one.index)
            assert torch.allclose(ours, embeddings, atol=1e-5)
            assert torch.allclose(carried.window, values, atol=1e-5)
        for ours, theirs in zip(features.values, exact.values, strict=True):
            assert torch.allclose(ours.image, theirs.image, atol=1e-5)
            assert torch.equal(ours.index, theirs.index)
        if patches:
            assert torch.allclose(features.patches, exact.patches, atol=1e-5)
        else:
            assert features.patches is None


def test_a_window_that_is_the_whole_grid_has_the_images_embedding() -> None:
    features = MaskedPass(small_vit(), [make_windows((5, 5), 2), make_windows((5, 5), 5)])(PIXELS)
    assert torch.allclose(features.windows[1][:, 0], features.image, atol=1e-5)
    assert not torch.allclose(features.windows[0][:, 0], features.image, atol=1e-2)


def test_shapes_are_those_of_the_exact_pass() -> None:
    windows = [make_windows((5, 5), 2), make_windows((5, 5), 3)]
    masked, exact = (one(small_vit(), windows, patches=True)(PIXELS) for one in (MaskedPass, VisionPass))
    assert [one.shape for one in masked.windows] == [one.shape for one in exact.windows]
    assert [one.window.shape for one in masked.values] == [one.window.shape for one in exact.values]
    assert [one.shape for one in masked.take([2, 0]).windows] == [(2, 16, 32), (2, 9, 32)]
    for one in masked.windows:
        assert torch.allclose(one.norm(dim=-1), torch.ones(one.shape[:2]), atol=1e-5)


@pytest.mark.parametrize("aligner", sorted(ALIGNERS))
def test_every_aligner_takes_its_values(aligner: str) -> None:
    visual = small_vit()
    values = MaskedPass(visual, [make_windows((5, 5), 2)])(PIXELS).values[0].of(ALIGNERS[aligner].tokens)
    values = Values(lift(visual, values.image), lift(visual, values.window), values.index)
    text = F.normalize(torch.randn(3, 2, 32, generator=torch.Generator().manual_seed(1)), dim=-1)
    moved = ALIGNERS[aligner].move(text, values)
    assert moved.shape == (3, 16, 2, 32)
    assert torch.allclose(moved.norm(dim=-1), torch.ones(3, 16, 2), atol=1e-5)


def test_the_batch_does_not_change_the_result() -> None:
    masked = MaskedPass(small_vit(), [make_windows((5, 5), 2), make_windows((5, 5), 3)])
    together = masked(PIXELS)
    for row in range(3):
        alone = masked(PIXELS[row : row + 1])
        assert torch.allclose(together.image[row], alone.image[0], atol=1e-6)
        for ours, theirs in zip(together.windows, alone.windows, strict=True):
            assert torch.allclose(ours[row], theirs[0], atol=1e-6)


def test_in_half_precision_the_image_stays_as_it_is() -> None:
    visual, windows = small_vit(), [make_windows((5, 5), 2)]
    full, half = (
        MaskedPass(visual, windows, dtype=one, patches=True)(PIXELS) for one in (torch.float32, torch.bfloat16)
    )
    assert torch.equal(half.image, full.image)
    assert torch.equal(half.patches, full.patches)
    assert torch.equal(half.values[0].image, full.values[0].image)
    assert half.windows[0].dtype == torch.float32
    assert half.values[0].window.dtype == torch.bfloat16
    assert not torch.equal(half.windows[0], full.windows[0])
    assert float((half.windows[0] * full.windows[0]).sum(-1).min()) > 0.999


def test_windows_of_another_grid_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="grid"):
        MaskedPass(small_vit(), [make_windows((6, 6), 2)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_pass_without_windows_is_the_images(dtype: torch.dtype) -> None:
    none: list[Windows] = []
    alone = VisionPass(small_vit(), none, dtype=dtype, patches=True)(PIXELS)
    beside = VisionPass(small_vit(), [make_windows((5, 5), 2)], patches=True)(PIXELS)
    assert torch.allclose(alone.image, beside.image, atol=1e-5)
    assert torch.allclose(alone.patches, beside.patches, atol=1e-5)
    assert alone.windows == alone.values == ()
