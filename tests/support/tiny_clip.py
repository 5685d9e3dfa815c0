"""A CLIP that open_clip knows by name and that loads in no time, for tests of weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

TINY, TINY_TOO = "ViT-tiny", "ViT-tiny-too"
_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 112, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module", autouse=True)
def tiny_models() -> Iterator[None]:
    """open_clip knows both names, in the modules below the `conftest` that imports this."""
    configs = open_clip.factory._MODEL_CONFIGS
    configs |= {TINY: _CONFIG, TINY_TOO: _CONFIG}
    yield
    del configs[TINY], configs[TINY_TOO]


@pytest.fixture(scope="module")
def weights(tiny_models: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of random numbers, as a fine-tuned model would be kept."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    logging.disable(logging.ERROR)
    save_file(open_clip.create_model(TINY).state_dict(), str(path))
    logging.disable(logging.NOTSET)
    return path
