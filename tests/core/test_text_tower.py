import pytest
import torch

from core.backbone import Backbone, load_backbone
from core.text_tower import TextTower


def test_it_is_let_go_of_and_comes_back_when_needed() -> None:
    backbone = load_backbone("untrained", None, "cpu", "fp32")
    first = backbone.embed_text(["a part", "a broken part"])
    assert backbone.text.loaded
    backbone.text.release()
    assert not backbone.text.loaded
    assert torch.equal(backbone.embed_text(["a part", "a broken part"]), first)


def test_without_a_way_back_it_stays(backbone: Backbone) -> None:
    held = TextTower(backbone.text._model, backbone.text._tokenize)
    held.release()
    assert held.loaded


def test_progress_is_told(backbone: Backbone) -> None:
    told: list[int] = []
    assert len(backbone.text.embed(["a part"] * 20, told.append)) == 20
    assert told == [16, 4]


def test_a_model_that_is_gone_is_an_error() -> None:
    def gone() -> None:
        raise FileNotFoundError("weights")

    tower = TextTower(None, lambda _: torch.zeros(1), gone)
    with pytest.raises(FileNotFoundError):
        tower.embed(["a part"])
