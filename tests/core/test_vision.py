import open_clip.model
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.vision import UnsupportedModelError, VisionPass, lift
from core.windows import make_windows
from tests.core.conftest import small_vit


def naive(visual: nn.Module, pixels: Tensor, index: Tensor) -> Tensor:
    """One forward pass of open_clip's transformer per window, on CLS and the window's tokens."""
    tokens = visual._embeds(pixels)
    out = []
    for window in index:
        x = torch.cat([tokens[:, :1], tokens[:, 1 + window]], dim=1)
        x = visual.ln_post(visual.transformer(x))[:, 0]
        out.append(x @ visual.proj)
    return F.normalize(torch.stack(out, 1), dim=-1)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("size", "grid"), [(80, (5, 5)), ((64, 96), (4, 6))])
def test_one_pass_equals_a_pass_per_window(layers: int, size: int | tuple[int, int], grid: tuple[int, int]) -> None:
    visual = small_vit(size, layers)
    windows = [make_windows(grid, scale) for scale in (2, 3)]
    height, width = (size, size) if isinstance(size, int) else size
    pixels = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    for patches in (False, True):
        features = VisionPass(visual, windows, patches=patches)(pixels)
        assert torch.allclose(features.image, F.normalize(visual(pixels), dim=-1), atol=1e-5)
        for one, ours in zip(windows, features.windows, strict=True):
            assert torch.allclose(ours, naive(visual, pixels, one.index), atol=1e-5)
        if patches:
            tokens = visual.ln_post(visual.transformer(visual._embeds(pixels)))[:, 1:]
            assert torch.allclose(features.patches, F.normalize(tokens, dim=-1), atol=1e-5)
        else:
            assert features.patches is None


def test_values_are_those_of_the_last_attention() -> None:
    visual = small_vit()
    windows = make_windows((5, 5), 2)
    pixels = torch.randn(1, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    values = VisionPass(visual, [windows])(pixels).values[0]
    block = visual.transformer.resblocks[-1]
    tokens = visual._embeds(pixels)
    for before in visual.transformer.resblocks[:-1]:
        tokens = before(tokens)
    expected = F.linear(block.ln_1(tokens), block.attn.in_proj_weight[128:], block.attn.in_proj_bias[128:])
    assert torch.allclose(values.image, expected, atol=1e-5)
    assert values.window.shape == (1, 16, 5, 64)
    assert values.index[0].tolist() == [0, 1, 2, 6, 7]
    assert lift(visual, values.image).shape == (1, 26, 32)


def test_the_batch_does_not_change_the_result() -> None:
    visual = small_vit()
    one_pass = VisionPass(visual, [make_windows((5, 5), 2), make_windows((5, 5), 3)])
    pixels = torch.randn(5, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    together = one_pass(pixels)
    for row in range(5):
        alone = one_pass(pixels[row : row + 1])
        assert torch.allclose(together.image[row], alone.image[0], atol=1e-6)
        for ours, theirs in zip(together.windows, alone.windows, strict=True):
            assert torch.allclose(ours[row], theirs[0], atol=1e-6)
        assert torch.allclose(together.values[0].window[row], alone.values[0].window[0], atol=1e-5)


def test_other_architectures_are_refused_by_name() -> None:
    resnet = open_clip.model.CLIP(
        embed_dim=32,
        vision_cfg={"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
        text_cfg={"context_length": 77, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
    ).visual
    with pytest.raises(UnsupportedModelError, match="ModifiedResNet"):
        VisionPass(resnet, [make_windows((5, 5), 2)])
    with pytest.raises(UnsupportedModelError, match="grid"):
        VisionPass(small_vit(), [make_windows((6, 6), 2)])
