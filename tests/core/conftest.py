"""Small seeded models: the maths is the same at any size."""

from __future__ import annotations

import open_clip.model
import pytest
import torch
from torch import nn

from core.backbone import Backbone, load_backbone
from tests.support.tiny_clip import tiny_models as tiny_models
from tests.support.tiny_clip import weights as weights


def small_vit(image_size: int | tuple[int, int] = 80, layers: int = 3) -> nn.Module:
    """A vision transformer of open_clip with random weights: 16 px patches, width 64, joint dimension 32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = open_clip.model.CLIP(
            embed_dim=32,
            vision_cfg={
                "image_size": image_size,
                "layers": layers,
                "width": 64,
                "head_width": 16,
                "patch_size": 16,
            },
            text_cfg={"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        )
        for parameter in model.visual.parameters():  # biases and norms too, so that none may be forgotten
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model.visual.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """The untrained model in float32 on the CPU."""
    return load_backbone("untrained", None, "cpu", "fp32")
