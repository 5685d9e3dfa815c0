import hashlib
import json
from importlib.resources import files

import pytest

import core.models
from core.backbone import load_backbone
from core.model_error import ModelError
from core.models import CARD, WEIGHTS, architecture, load_bundled


def test_the_bundled_model_is_what_its_card_says() -> None:
    data = (files("core.models") / WEIGHTS).read_bytes()
    card = json.loads((files("core.models") / CARD).read_text("utf-8"))
    assert hashlib.sha256(data).hexdigest() == card["sha256"]
    assert len(data) <= 25_000_000
    backbone = load_backbone("bundled", None, "cpu", "fp32")
    assert backbone.name == card["name"]
    assert backbone.name.startswith("bundled")
    assert vars(backbone.traits) == card["traits"]
    assert backbone.grid == (15, 15)
    assert f"`{backbone.name}`" in (files("core.models") / "CARD.md").read_text("utf-8")


def test_its_architecture_is_open_clips_own() -> None:
    model, _ = load_bundled()
    assert model.visual.image_size in (240, (240, 240))
    assert architecture()["vision_cfg"]["patch_size"] == 16


def test_other_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged:
        def __truediv__(self, name: str) -> "Damaged":
            self.file = files("core.models") / name
            return self

        def read_text(self, encoding: str) -> str:
            return self.file.read_text(encoding)

        def read_bytes(self) -> bytes:
            data = bytearray(self.file.read_bytes())
            data[1000] ^= 1
            return bytes(data)

    monkeypatch.setattr(core.models, "files", lambda _: Damaged())
    with pytest.raises(ModelError, match=r"damaged.*install the package anew"):
        load_backbone("bundled", None, "cpu", "fp32")
