"""A CLIP so small that a step of training takes milliseconds."""

from pathlib import Path

import pytest
import torch

from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, wrap_model
from core.clip import CLIP, SimpleTokenizer
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.filo.prompts import wording_of
from core.filo.text import FiloTexts
from core.filo.training.pictures import Example, from_simline
from core.packs.pack import load_pack

_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def backbone() -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIP(**_CONFIG)
    tokenize = SimpleTokenizer(context_length=77)
    return wrap_model("small", model, tokenize, torch.device("cpu"), "fp32", CLIP_MEAN, CLIP_STD)


@pytest.fixture
def filo(backbone: Backbone) -> Filo:
    """With a head that has learnt nothing yet."""
    return Filo(backbone, FiloHead(record_for(backbone), seed=3))


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Six pictures of three classes."""
    return from_simline(6)


@pytest.fixture(scope="session")
def texts(backbone: Backbone, examples: list[Example]) -> dict[str, FiloTexts]:
    encoder = Filo(backbone, FiloHead(record_for(backbone))).encoder
    names = {example.class_name for example in examples}
    return {name: encoder.texts(wording_of(load_pack(name))) for name in names}


@pytest.fixture(scope="session")
def tokens_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokens that are encoded once, for tests whose subject is not the cache."""
    return tmp_path_factory.mktemp("tokens")
