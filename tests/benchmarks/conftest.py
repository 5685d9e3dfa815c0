"""What the benchmarks share: one file of random ViT-B-16-plus-240 weights, for anomalib and for us."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

MODEL = "ViT-B-16-plus-240"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeded random weights; `ALFA_EDGE_BENCH_WEIGHTS` names a file to use in their place."""
    if given := os.environ.get("ALFA_EDGE_BENCH_WEIGHTS"):
        return Path(given)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    torch.manual_seed(0)
    logging.disable(logging.ERROR)
    model = open_clip.create_model(MODEL)
    logging.disable(logging.NOTSET)
    save_file(model.state_dict(), str(path))
    return path


@pytest.fixture(scope="session")
def anomalib_model(weights: Path) -> torch.nn.Module:
    """anomalib's own WinCLIP on those weights, for the class `commutator`."""
    from anomalib.models.image.winclip import torch_model

    torch_model.PRETRAINED = str(weights)
    return torch_model.WinClipModel("commutator", scales=(2, 3)).eval()
