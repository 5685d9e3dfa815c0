"""Where weights come from: a file, or a pretrained tag of open_clip that was fetched once. Loading never downloads."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import try_to_load_from_cache
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model

# The names under which open_clip's repositories on the hub hold their weights, in its own order of preference.
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


class ModelError(ValueError):
    """The model cannot be loaded as configured; the message names the thing and the remedy."""


def check_name(name: str) -> None:
    """Raises ModelError unless open_clip has a model called `name`."""
    known = open_clip.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see `open_clip.list_models()`"
        raise ModelError(f"model {name!r} is not known to open_clip; {hint}")


def find(name: str, weights: str) -> tuple[Path, dict[str, Any]]:
    """The file behind `weights` for model `name`, and open_clip's settings for the tag (empty for a file).

    Raises:
        ModelError: neither a file nor a tag, or a tag whose file was not fetched to this machine.
    """
    check_name(name)
    settings = dict(get_pretrained_cfg(name, weights))
    if not settings:
        path = Path(weights).expanduser()
        if path.is_file():
            return path, {}
        tags = ", ".join(list_pretrained_tags_by_model(name)) or "none"
        raise ModelError(f"weights {weights!r}: no such file, and no pretrained tag of {name} (its tags: {tags})")
    cached = _cached(settings)
    if cached is None:
        raise ModelError(
            f"weights {weights!r} of {name} are not on this machine: fetch them once with `alfa-edge model pull {name} "
            f"{weights}` where there is a network, or copy the file here and set its path as the weights"
        )
    return cached, settings


def pull(name: str, tag: str) -> Path:
    """Fetches the weights of a pretrained tag from open_clip's hub, or returns the file that was fetched before.

    Raises:
        ModelError: unknown model or tag, or the hub cannot be reached.
    """
    check_name(name)
    settings = dict(get_pretrained_cfg(name, tag))
    if not settings:
        raise ModelError(f"{tag!r} is no tag of {name}; its tags: {', '.join(list_pretrained_tags_by_model(name))}")
    try:
        return Path(download_pretrained(settings))
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"weights {tag!r} of {name} could not be fetched: {error}") from error


def _cached(settings: dict[str, Any]) -> Path | None:
    repository, _, name = str(settings.get("hf_hub", "")).rpartition("/")
    if repository:
        for file in (name,) if name else _HUB_FILES:
            path = try_to_load_from_cache(repository, file)
            if isinstance(path, str):
                return Path(path)
        return None
    path = Path("~/.cache/clip").expanduser() / Path(str(settings.get("url", ""))).name
    return path if path.is_file() else None
