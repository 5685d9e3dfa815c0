from __future__ import annotations

import pytest

from core.backbone import load_backbone
from core.clip import open_clip
from core.model_error import ModelError
from core.weights.architectures import architecture_of, architectures


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("RN50", "its image half is a ResNet"),
        ("ViT-B-16-SigLIP", "its image half is a model of timm, vit_base_patch16_siglip_224"),
        ("coca_ViT-B-32", "it is a CoCa"),
        ("ViT-L-14-CLIPA", "pools patches, and does not read a class token"),
        ("roberta-ViT-B-32", "its text half is a model of transformers, roberta-base"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_its_weights_are_read(name: str, reason: str) -> None:
    """The weights are not even there: the configuration alone says so, in one message with the remedy."""
    with pytest.raises(ModelError, match=rf"model '{name}' cannot be used: .*{reason}.*: choose another model"):
        load_backbone(name, "/nowhere/weights.pt")


def test_each_model_of_open_clip_is_decided() -> None:
    known = architectures()
    assert len(known) == len(open_clip.list_models())
    usable = {one.name: one for one in known if not one.reason}
    assert {"ViT-B-16-plus-240", "ViT-B-32-quickgelu", "ViT-L-14-336"} <= usable.keys()
    paper = usable["ViT-B-16-plus-240"]
    assert (paper.size, paper.patch, paper.quick_gelu, paper.context) == ((240, 240), 16, False, 77)
    assert "laion400m_e32" in paper.tags
    assert architecture_of("ViT-B-32-quickgelu").quick_gelu
