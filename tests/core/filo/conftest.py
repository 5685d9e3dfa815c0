"""CLIPs of the release's architecture, of five blocks and small width, with random weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip.factory
import open_clip.model
import pytest
import torch

from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, wrap_model
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.image import Rgb
from core.packs.pack import PromptPack, load_pack
from tests.core.filo.reference import HABITS, Plain

LAYERS = (1, 2, 3, 5)


def random_clip(size: int = 518, *, quick_gelu: bool = False, layers: int = 5, width: int = 32) -> Any:
    """Heads of 16 in the vision transformer, two in the text transformer; joint dimension 48."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = open_clip.model.CLIP(
            embed_dim=48,
            vision_cfg={
                "image_size": size,
                "layers": layers,
                "width": width,
                "head_width": 16,
                "patch_size": 14,
            },
            text_cfg={"context_length": 77, "vocab_size": 49408, "width": 20, "heads": 2, "layers": 2},
            quick_gelu=quick_gelu,
        )
        for parameter in model.parameters():  # biases and norms too, so that none may be forgotten
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def wrapped(model: Any, name: str = "small") -> Backbone:
    tokenize = open_clip.SimpleTokenizer(context_length=77)
    return wrap_model(name, model, tokenize, torch.device("cpu"), "fp32", CLIP_MEAN, CLIP_STD)


def lively(head: FiloHead, spread: float = 0.05) -> FiloHead:
    """With weights that matter: no bias is zero, and contexts are as long as words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for parameter in head.parameters():
            parameter.data += spread + spread * torch.randn_like(parameter)
    return head.eval()


def plain_of(filo: Filo, habits: frozenset[str] = HABITS) -> Plain:
    """The plain reading of the same weights."""
    visual = {f"visual.{name}": value for name, value in filo.backbone.visual.state_dict().items()}
    clip = visual | filo.backbone.text.load().state_dict()
    return Plain(
        {name: value.numpy() for name, value in clip.items()},
        {name: value.numpy() for name, value in filo.head.state_dict().items()},
        filo.backbone.visual.transformer.resblocks[0].attn.num_heads,
        filo.encoder.transformer.resblocks[0].attn.num_heads,
        filo.head.record.layers,
        filo.backbone.visual.conv1.kernel_size[0],
        habits,
        filo.head.record.start or 0,
    )


def frame(height: int = 150, width: int = 210, seed: int = 0) -> Rgb:
    """A ramp with a speckled square on it."""
    random = np.random.default_rng(seed)
    picture = np.linspace(30, 200, height * width * 3).reshape(height, width, 3)
    top, left = random.integers(0, height - 40), random.integers(0, width - 40)
    picture[top : top + 40, left : left + 40] = random.integers(0, 256, (40, 40, 3))
    return picture.astype(np.uint8)


def make_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Has open_clip know the model of `random_clip(70)`, by the name that it gives back."""
    for table in ("_MODEL_CONFIGS", "_MODEL_CONFIG_PATHS"):
        monkeypatch.setattr(open_clip.factory, table, copy.copy(getattr(open_clip.factory, table)))
    path = folder / "ViT-small-filo.json"
    vision = {"image_size": 70, "layers": 5, "width": 32, "head_width": 16, "patch_size": 14}
    text = {"context_length": 77, "vocab_size": 49408, "width": 20, "heads": 2, "layers": 2}
    path.write_text(json.dumps({"embed_dim": 48, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    """Of 7 x 7 patches."""
    return wrapped(random_clip(98))


@pytest.fixture(scope="session")
def pack() -> PromptPack:
    """Three phrases of two kinds."""
    defects = {"crack": ("a fine line through the glass",), "pit": ("a dark crater", "a chip on the rim")}
    return load_pack("bottle").model_copy(update={"defects": defects})


def filo_on(backbone: Backbone, **changes: Any) -> Filo:
    """FiLo with a random head."""
    return Filo(backbone, lively(FiloHead(record_for(backbone, **({"layers": LAYERS} | changes)))))


@pytest.fixture(scope="session")
def released(backbone: Backbone) -> Filo:
    return filo_on(backbone, released=True)


@pytest.fixture(scope="session")
def clean(backbone: Backbone) -> Filo:
    return filo_on(backbone)


@pytest.fixture(scope="session")
def late(backbone: Backbone) -> Filo:
    """Decodes the last block alone, and starts the value-value stream before it."""
    return filo_on(backbone, layers=(5,), start=3)
