"""Where weights come from: a file, or a pretrained tag of open_clip that was fetched once. Loading never downloads."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_url, try_to_load_from_cache

from core.clip import get_pretrained_cfg, list_pretrained_tags_by_model, open_clip
from core.model_error import ModelError as ModelError
from core.store import Store

# The names under which open_clip's repositories on the hub hold their weights, in its own order of preference.
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Source:
    """Where the weights of a tag are published.

    Attributes:
        repository: On the hub; empty when they are at a plain URL.
        files: Names in the repository, the preferred one first.
        url: The plain URL, or that of the preferred file.
    """

    repository: str
    files: tuple[str, ...]
    url: str


def check_name(name: str) -> None:
    """Raises ModelError unless open_clip has a model called `name`."""
    known = open_clip.list_models()
    if name not in known:
        raise ModelError(
            f"model {name!r} is not known to open_clip; {_close(name, known, 'see `open_clip.list_models()`')}"
        )


def tag_settings(name: str, tag: str) -> tuple[str, dict[str, Any]]:
    """The tag as open_clip spells it, and its settings; ModelError when the model has no such tag."""
    settings = dict(get_pretrained_cfg(name, tag))
    if not settings:
        tags = list_pretrained_tags_by_model(name)
        close = _close(tag, tags, f"its tags: {', '.join(tags) or 'none'}")
        raise ModelError(f"{tag!r} is no pretrained tag of {name}; {close}; weights of your own are used by their path")
    return _spelt(tag), settings


def source_of(name: str, tag: str, settings: dict[str, Any]) -> Source:
    """Where open_clip has the weights of the tag from: the hub before a plain URL."""
    repository, _, file = str(settings.get("hf_hub", "")).rpartition("/")
    url = str(settings.get("url", ""))
    others = {one for one in list_pretrained_tags_by_model(name) if one != tag}
    # A repository that is named after another tag holds that tag's weights: laion400m_e32 of ViT-B-16-plus-240.
    if not repository or (url and repository.rpartition(".")[2] in others):
        return Source("", (), url)
    files = _HUB_FILES if not file else (f"{file.rpartition('.')[0]}.safetensors", file)
    return Source(repository, tuple(dict.fromkeys(files)), hf_hub_url(repository, files[0]))


def published_hash(url: str) -> str:
    """The SHA-256, or the beginning of it, that some addresses carry; empty for others."""
    *_, folder, file = ("", "", *url.split("/"))
    found = folder if "openaipublic" in url else file.rpartition(".")[0].rpartition("-")[2]
    known = "openaipublic" in url or "mlfoundations" in url
    return found.lower() if known and len(found) >= 8 and not set(found.lower()) - set("0123456789abcdef") else ""


def find(name: str, weights: str, store: Store | None = None) -> tuple[Path, dict[str, Any]]:
    """The file behind `weights` for model `name`, and open_clip's settings for the tag (empty for a file).

    A tag is looked for in the store, then where open_clip keeps what it fetched itself.

    Raises:
        ModelError: neither a file nor a tag, or a tag whose file was not fetched to this machine or is damaged.
    """
    check_name(name)
    if store is not None and (stored := store.get(name, _spelt(weights))):
        return stored
    settings = dict(get_pretrained_cfg(name, weights))
    if not settings:
        path = Path(weights).expanduser()
        if path.is_file():
            return path, {}
        tags = ", ".join(list_pretrained_tags_by_model(name)) or "none"
        raise ModelError(f"weights {weights!r}: no such file, and no pretrained tag of {name} (its tags: {tags})")
    cached = _cached(source_of(name, _spelt(weights), settings))
    if cached is None:
        raise ModelError(
            f"weights {weights!r} of {name} are not on this machine: fetch them once with `alfa-edge model pull {name} "
            f"{weights}` where there is a network, or bring a file here with `alfa-edge model import`"
        )
    return cached, settings


def _cached(source: Source) -> Path | None:
    if source.repository:
        for file in source.files:
            path = try_to_load_from_cache(source.repository, file)
            if isinstance(path, str):
                return Path(path)
        return None
    path = Path("~/.cache/clip").expanduser() / source.url.rpartition("/")[2]
    return path if path.is_file() else None


def _spelt(tag: str) -> str:
    """The tag as open_clip spells it."""
    return tag.lower().replace("-", "_")


def _close(word: str, known: list[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, known, n=3)
    return f"did you mean {', '.join(close)}?" if close else otherwise
