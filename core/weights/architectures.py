"""Which models of open_clip the method can run, decided from their configurations alone, before weights are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.clip import list_pretrained_tags_by_model, open_clip

_UNLIKE = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
"""Settings of attention blocks that are not the plain ones."""


@dataclass(frozen=True)
class Architecture:
    """A model of open_clip.

    Attributes:
        name: As open_clip spells it.
        size: Height and width of its input, pixels.
        patch: Side of a patch, pixels.
        quick_gelu: Whether its activation is QuickGELU, as OpenAI's models have it.
        context: Tokens of a sentence.
        tags: Its pretrained tags.
        reason: Why it cannot be used, in words; empty where it can.
    """

    name: str
    size: tuple[int, int]
    patch: int
    quick_gelu: bool
    context: int
    tags: tuple[str, ...]
    reason: str


def architecture_of(name: str) -> Architecture:
    """The model `name`, which open_clip has to know."""
    config = open_clip.get_model_config(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    size = vision.get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    return Architecture(
        name=name,
        size=(int(height), int(width)),
        patch=int(vision.get("patch_size") or 16),
        quick_gelu=bool(config.get("quick_gelu")),
        context=int(text.get("context_length", 77)),
        tags=tuple(list_pretrained_tags_by_model(name)),
        reason=_reason(config, vision, text),
    )


def architectures() -> list[Architecture]:
    """All models of open_clip, by name."""
    return [architecture_of(name) for name in sorted(open_clip.list_models(), key=str.lower)]


def _reason(config: Mapping[str, Any], vision: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    if vision.get("timm_model_name"):
        return f"its image half is a model of timm, {vision['timm_model_name']}"
    if isinstance(vision.get("layers"), (list, tuple)):
        return "its image half is a ResNet"
    if "multimodal_cfg" in config:
        return "it is a CoCa, which pools its patches by attention"
    if vision.get("attentional_pool") or vision.get("pool_type", "tok") != "tok":
        return "its image half pools patches, and does not read a class token"
    if any(vision.get(key) for key in _UNLIKE) or vision.get("block_type") not in (None, "default"):
        return "its attention blocks are not the plain ones"
    if text.get("hf_model_name"):
        return f"its text half is a model of transformers, {text['hf_model_name']}"
    if text.get("hf_tokenizer_name"):
        return f"its tokenizer is one of transformers, {text['hf_tokenizer_name']}"
    return ""
