"""What the benchmarks share: anomalib's WinCLIP on random ViT-B-16-plus-240 weights, and the same CLIP as ours."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch

from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, wrap_model

MODEL = "ViT-B-16-plus-240"


@pytest.fixture(scope="session")
def anomalib_model() -> torch.nn.Module:
    """anomalib's own model with seeded random weights, for the class `commutator`, scales [2, 3]."""
    from anomalib.models.image.winclip import torch_model

    torch_model.PRETRAINED = None
    torch.manual_seed(0)
    return torch_model.WinClipModel("commutator", scales=(2, 3)).eval()


@pytest.fixture(scope="session")
def fp32(anomalib_model: torch.nn.Module) -> Backbone:
    """The same weights as our backbone, float32."""
    return backbone_of(anomalib_model, "fp32")


@pytest.fixture(scope="session")
def bf16(anomalib_model: torch.nn.Module) -> Backbone:
    """The same weights as our backbone, bfloat16."""
    return backbone_of(anomalib_model, "bf16")


def backbone_of(model: torch.nn.Module, dtype: str, device: str = "cpu") -> Backbone:
    """A copy of the CLIP inside anomalib's model."""
    clip = copy.deepcopy(model.clip)
    return wrap_model(MODEL, clip, open_clip.get_tokenizer(MODEL), torch.device(device), dtype, CLIP_MEAN, CLIP_STD)
