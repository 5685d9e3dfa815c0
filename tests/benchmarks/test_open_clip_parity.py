"""The pass beside open_clip's own transformer, one window after the other, on three towers with random weights."""

import open_clip
import pytest
import torch
import torch.nn.functional as F

from core.vision import VisionPass
from core.windows import make_windows

TOWERS = ("ViT-B-16-plus-240", "ViT-B-32-quickgelu", "ViT-S-16-alt")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TOWERS)
def test_windows_are_those_of_open_clip(name: str) -> None:
    torch.manual_seed(0)
    visual = open_clip.create_model(name).visual.eval().requires_grad_(False)
    windows = [make_windows(visual.grid_size, scale) for scale in (2, 3)]
    pixels = torch.randn(1, 3, *visual.image_size)
    features = VisionPass(visual, windows, patches=True)(pixels)
    with torch.inference_mode():
        tokens = visual._embeds(pixels)
        worst = {"image": float((features.image - F.normalize(visual(pixels), dim=-1)).abs().max())}
        for tables, ours in zip(windows, features.windows, strict=True):
            cut = torch.cat([tokens[:, :1].expand(len(tables.index), -1, -1), tokens[0, 1 + tables.index]], 1)
            theirs = torch.cat([visual.ln_post(visual.transformer(some))[:, 0] @ visual.proj for some in cut.split(16)])
            worst[f"scale {tables.scale}"] = float((ours[0] - F.normalize(theirs, dim=-1)).abs().max())
    print(f"{name}, open_clip {open_clip.__version__}: largest differences {worst}")
    assert max(worst.values()) <= 1e-6
