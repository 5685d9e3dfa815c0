"""Texts and normal shots of another model, or of other windows, are never compared with frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.alfa import Alfa, Method
from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, wrap_model
from core.bank.memory import Index
from core.clip import CLIP, SimpleTokenizer
from core.identity import OtherIdentityError
from core.image import Rgb
from core.packs.pack import Prompts

PROMPTS = Prompts(("A normal image of a part.",), ("An abnormal image of a part.",))
PAPER = Method(scales=(2,), few_shot="alfa")


def frame(seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (120, 120, 3), dtype=np.uint8)


def tiny(seed: int) -> Backbone:
    """A small CLIP with random weights."""
    vision = {"image_size": 64, "layers": 4, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIP(32, vision, text)
    return wrap_model("tiny", model, SimpleTokenizer(), torch.device("cpu"), "fp32", CLIP_MEAN, CLIP_STD)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny(0)


@pytest.fixture(scope="module")
def another() -> Backbone:
    return tiny(1)


def index_of(alfa: Alfa) -> Index:
    found = alfa.index([alfa.remember(frame(1)), alfa.remember(frame(2))], [0, 1], (120, 120))
    assert isinstance(found, Index)
    return found


def test_texts_of_another_model_are_refused(backbone: Backbone, another: Backbone) -> None:
    text = Alfa(another, PAPER).embed(PROMPTS)
    here = Alfa(backbone, PAPER)
    with pytest.raises(
        OtherIdentityError, match=r"texts cannot be compared with the frames: model .*; embed them anew"
    ):
        here.inspect([frame()], [text])
    assert here.inspect([frame()], [here.embed(PROMPTS)])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(PAPER, scales=(3,)), r"window sizes \[3\], not \[2\]"),
        (replace(PAPER, stride=2), "step between windows 2, not 1"),
        (replace(PAPER, windows="masked"), "windows masked, not exact"),
        (replace(PAPER, few_shot="evidence"), "feature maps .*, not none"),
    ],
    ids=["scales", "stride", "windows", "maps"],
)
def test_shots_in_other_windows_are_refused(backbone: Backbone, other: Method, words: str) -> None:
    here, there = Alfa(backbone, PAPER, patches=True), Alfa(backbone, other, patches=True)
    with pytest.raises(OtherIdentityError, match=f"a normal shot cannot be compared with the frames: {words}"):
        here.index([there.remember(frame(1))], [0], (120, 120))
    if other.few_shot == "alfa":  # one by evidence is compared by evidence
        with pytest.raises(OtherIdentityError, match=f"the index of normal shots cannot be compared .*: {words}"):
            here.inspect([frame()], [here.embed(PROMPTS)], [index_of(there)])


def test_an_index_of_another_model_or_other_maps_is_refused(backbone: Backbone, another: Backbone) -> None:
    """Its features have the same shapes: without their origin it would be scored against."""
    here, there = (Alfa(each, Method(scales=(2,)), patches=True) for each in (backbone, another))
    text = here.embed(PROMPTS)
    with pytest.raises(OtherIdentityError, match=r"model .*, feature maps .*; embed them anew"):
        here.inspect([frame()], [text], [index_of(there)])
    layers = Alfa(backbone, Method(scales=(2,), memory_layers=(2, 4)), patches=True)
    with pytest.raises(OtherIdentityError, match=r"the frames: feature maps .*; embed them anew"):
        here.inspect([frame()], [text], [index_of(layers)])
    assert here.inspect([frame()], [text], [index_of(here)])
