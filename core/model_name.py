"""Names of models: `timm:ARCHITECTURE` or `timm:ARCHITECTURE.TAG` for those of timm, all others for open_clip's."""

from __future__ import annotations

from core.model_error import ModelError

TIMM = "timm:"
BUNDLED = "bundled"
"""The model that comes along."""


def is_timm(name: str) -> bool:
    """Whether a model is timm's."""
    return name.startswith(TIMM)


def split(name: str, tag: str | None = None) -> tuple[str, str | None]:
    """A name and a pretrained tag, which timm's names may hold; ModelError when `tag` is another."""
    if not is_timm(name):
        return name, tag
    model, _, inside = name.partition(".")
    if inside and tag not in (None, inside):
        raise ModelError(f"{name} names the tag {inside}, not {tag}; name one of them")
    return model, inside or tag
