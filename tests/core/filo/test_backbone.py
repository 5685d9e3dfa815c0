"""The model of a head: the weights of another size, with the head's activation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.backbone import load_backbone
from core.filo.backbone import backbone_for
from core.filo.filo import Filo
from core.filo.head import FiloHead, HeadRecord, activation_of
from core.model_error import ModelError
from core.packs.pack import PromptPack
from core.weights.store import Store, make_record, sha256_of
from tests.core.filo.conftest import frame, make_known, random_clip


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model that open_clip knows for the time of a test."""
    return make_known(tmp_path, monkeypatch)


def record(model: str) -> HeadRecord:
    return HeadRecord(
        model=model,
        image_size=(98, 98),
        activation="gelu",
        depth=5,
        width=32,
        joint=48,
        text_width=20,
        layers=(2, 3, 4, 5),
        released=True,
    )


def test_weights_of_another_size_are_loaded_with_gelu_at_the_heads_size(
    small: str, tmp_path: Path, pack: PromptPack
) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(random_clip(70).state_dict(), weights)
    head = FiloHead(record(small)).eval()
    backbone = backbone_for(head.record, str(weights), dtype="fp32")
    assert backbone.pixels.size == (98, 98)
    assert backbone.grid == (7, 7)
    assert activation_of(backbone) == "gelu"
    filo = Filo(backbone, head)
    assert 0 <= filo.inspect([frame()], [filo.texts(pack)])[0].score <= 1


def test_weights_of_another_model_are_refused(small: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(random_clip(70, width=64).state_dict(), weights)
    with pytest.raises(ModelError, match=r"weights .*weights\.pt do not load into ViT-small-filo"):
        backbone_for(record(small), str(weights))
    with pytest.raises(ModelError, match="no such file, and no pretrained tag of ViT-small-filo"):
        backbone_for(record(small), "nothing.pt")


def test_weights_whose_publisher_has_quickgelu_are_loaded_with_gelu_for_a_released_head(
    small: str, tmp_path: Path
) -> None:
    """As OpenAI's: without the head's word the same tag is loaded with QuickGELU, and the head is refused on it."""
    store = Store(tmp_path / "models")
    with store.writing(small, "openai") as work:
        file = work / "openai.pt"
        torch.save(random_clip(70).state_dict(), file)
        settings = {"quick_gelu": True}
        store.place(file, make_record(small, "openai", file, sha256_of(file), "here", None, "2026-01-01", settings))
    head = FiloHead(record(small))
    assert activation_of(load_backbone(small, "openai", store=store)) == "quick_gelu"
    backbone = backbone_for(head.record, "openai", store=store)
    assert activation_of(backbone) == "gelu"
    assert type(backbone.text.load().transformer.resblocks[0].mlp.gelu).__name__ == "GELU"
    assert backbone.pixels.size == (98, 98)
