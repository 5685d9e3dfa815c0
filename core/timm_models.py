"""timm, imported when it is first asked for, and what it knows of a model: tags, preprocessing, addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

import core.clip  # noqa: F401  # first: it imports torchvision, which timm needs too, without torch's compiler
from core.model_error import ModelError
from core.model_name import TIMM


@cache
def timm() -> Any:
    """The package; ModelError when it cannot be imported."""
    try:
        with _not_compiling():
            import timm
    except ImportError as error:
        raise ModelError(f"timm cannot be imported ({error}); pip install 'timm>=1.0.17'") from error
    return timm


def models() -> list[str]:
    """The names of all models, without tags."""
    return [f"{TIMM}{name}" for name in timm().list_models()]


def tags(name: str) -> list[str]:
    """The pretrained tags of a model."""
    architecture = name.removeprefix(TIMM)
    found = timm().list_models(f"{architecture}.*", pretrained=True)
    return [str(tag).partition(".")[2] for tag in found]


def default_tag(name: str) -> str:
    """The tag that timm itself takes where none is named; ModelError when it has no weights of the model."""
    config = _config(name)
    if config is None or config.tag not in tags(name):
        raise ModelError(f"timm has no weights of {name}; name a file of your own")
    return str(config.tag)


def settings(name: str, tag: str) -> dict[str, Any]:
    """Mean, deviation and addresses of a tag, under open_clip's names; empty when there is no such tag."""
    config = _config(f"{name}.{tag}") if tag in tags(name) else None
    if config is None:
        return {}
    hub = f"{config.hf_hub_id}/{config.hf_hub_filename or ''}" if config.hf_hub_id else ""
    return {
        "mean": tuple(config.mean),
        "std": tuple(config.std),
        "hf_hub": hub,
        "url": config.url or "",
    }


def _config(name: str) -> Any:
    return timm().models.get_pretrained_cfg(name.removeprefix(TIMM))


@contextmanager
def _not_compiling() -> Iterator[None]:
    """timm tells torch's compiler at import to leave one class of its alone, for which all of it would be imported.

    That is three quarters of the time that timm takes to import. Nothing here compiles that class.
    """
    before = torch.compiler.disable

    def disable(function: Callable[..., Any] | None = None, *_: object, **__: object) -> Callable[..., Any]:
        return function if function is not None else lambda decorated: decorated

    torch.compiler.disable = disable  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = before
