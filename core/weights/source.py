"""Where weights come from: a file, or a pretrained tag that was fetched once. Loading never downloads.

Models called `timm:NAME` are timm's, all others are open_clip's.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_url, try_to_load_from_cache

from core import timm_models
from core.clip import get_pretrained_cfg, list_pretrained_tags_by_model, open_clip
from core.model_error import ModelError as ModelError
from core.model_name import is_timm
from core.remedy import extra, remedy
from core.weights.architectures import architecture_of
from core.weights.store import Store, again

LITE0 = "efficientnet-lite0"
# The names under which open_clip's repositories on the hub hold their weights, in its own order of preference.
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TIMM_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


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
    """Raises ModelError unless open_clip has a model called `name` that the method can run, or timm has one."""
    if name == LITE0:
        raise ModelError(f"{LITE0} is not fetched: its weights are a package; {extra('photo')}")
    package = "timm" if is_timm(name) else "open_clip"
    known = timm_models.models() if is_timm(name) else open_clip.list_models()
    if name not in known:
        raise ModelError(
            f"model {name!r} is not known to {package}; {_close(name, known, f'see `{package}.list_models()`')}"
        )
    if not is_timm(name) and (reason := architecture_of(name).reason):
        others = remedy("architectures", "choose another model")
        raise ModelError(
            f"model {name!r} cannot be used: {reason}; windows need a plain vision transformer that reads a class "
            f"token, and a text half of open_clip's own: {others}"
        )


def tag_settings(name: str, tag: str) -> tuple[str, dict[str, Any]]:
    """The tag as its publisher spells it, and its settings; ModelError when the model has no such tag."""
    settings = _settings(name, tag)
    if not settings:
        tags = _tags(name)
        close = _close(tag, tags, f"its tags: {', '.join(tags) or 'none'}")
        raise ModelError(f"{tag!r} is no pretrained tag of {name}; {close}; weights of your own are used by their path")
    return _spelt(tag), settings


def source_of(name: str, tag: str, settings: dict[str, Any]) -> Source:
    """Where open_clip or timm has the weights of the tag from: the hub before a plain URL."""
    repository, _, file = str(settings.get("hf_hub", "")).rpartition("/")
    url = str(settings.get("url", ""))
    others = {one for one in _tags(name) if one != tag}
    # A repository that is named after another tag holds that tag's weights: laion400m_e32 of ViT-B-16-plus-240.
    if not repository or (url and repository.rpartition(".")[2] in others):
        return Source("", (), url)
    usual = _TIMM_HUB_FILES if is_timm(name) else _HUB_FILES
    files = usual if not file else (f"{file.rpartition('.')[0]}.safetensors", file)
    return Source(repository, tuple(dict.fromkeys(files)), hf_hub_url(repository, files[0]))


def published_hash(url: str) -> str:
    """The SHA-256, or the beginning of it, that some addresses carry; empty for others."""
    *_, folder, file = ("", "", *url.split("/"))
    found = folder if "openaipublic" in url else file.rpartition(".")[0].rpartition("-")[2]
    known = any(one in url for one in ("openaipublic", "mlfoundations", "pytorch-image-models"))
    return found.lower() if known and len(found) >= 8 and not set(found.lower()) - set("0123456789abcdef") else ""


@dataclass(frozen=True)
class Found:
    """A file of weights on this machine.

    Attributes:
        path: The file.
        settings: What its publisher says of the tag, under open_clip's names; nothing of a file that is no tag's.
        tag: The pretrained tag that it is of; None where nobody knows.
    """

    path: Path
    settings: dict[str, Any]
    tag: str | None = None


def find(name: str, weights: str, store: Store | None = None) -> Found:
    """The file behind `weights`, a pretrained tag or a path, for model `name`.

    A tag is looked for in the store, then where open_clip or timm keeps what it fetched itself. A file in either place
    is known for the tag that it is of, though it is called by its path.

    Raises:
        ModelError: neither a file nor a tag, or a tag whose file was not fetched to this machine or is damaged; or a
            file of the store that is of another model or has no record.
    """
    check_name(name)
    tag = _spelt(weights)
    if store is not None and (stored := store.get(name, tag)):
        return Found(*stored, tag)
    settings = _settings(name, weights)
    if not settings:
        path = Path(weights).expanduser()
        if not path.is_file():
            tags = ", ".join(_tags(name)) or "none"
            raise ModelError(f"weights {weights!r}: no such file, and no pretrained tag of {name} (its tags: {tags})")
        return _recorded(name, path, store) or _fetched(name, path) or Found(path, {})
    cached = _cached(source_of(name, tag, settings))
    if cached is None:
        raise ModelError(
            f"weights {weights!r} of {name} are not on this machine: "
            + remedy("pull", "fetch them once where there is a network", model=name, tag=weights)
            + remedy("import", ", or bring a file here", file="FILE", model=name, tag=weights)
        )
    return Found(cached, settings, tag)


def _recorded(name: str, path: Path, store: Store | None) -> Found | None:
    """A file in the store, by its record."""
    if store is None or not path.resolve().is_relative_to(store.root.resolve()):
        return None
    place = path.resolve().relative_to(store.root.resolve())
    model, tag = place.parent.as_posix(), place.stem
    if model != name:
        raise ModelError(f"weights {path} are those of {model} in the store, not of {name}; name that model")
    stored = store.get(model, tag)
    if stored is None or stored[0].resolve() != path.resolve():
        raise ModelError(f"weights {path} lie in the store and have no record; {again(model, tag)}")
    return Found(*stored, tag)


def _fetched(name: str, path: Path) -> Found | None:
    """A file that open_clip or timm fetched itself, by the tag that it keeps it for."""
    for tag in _tags(name):
        settings = _settings(name, tag)
        cached = _cached(source_of(name, _spelt(tag), settings))
        if cached is not None and cached.resolve() == path.resolve():
            return Found(path, settings, _spelt(tag))
    return None


def _cached(source: Source) -> Path | None:
    if source.repository:
        for file in source.files:
            path = try_to_load_from_cache(source.repository, file)
            if isinstance(path, str):
                return Path(path)
        return None
    path = Path("~/.cache/clip").expanduser() / source.url.rpartition("/")[2]
    return path if path.is_file() else None


def _settings(name: str, tag: str) -> dict[str, Any]:
    """What is published of the tag; empty when the model has no such tag."""
    return timm_models.settings(name, _spelt(tag)) if is_timm(name) else dict(get_pretrained_cfg(name, tag))


def _tags(name: str) -> list[str]:
    return timm_models.tags(name) if is_timm(name) else list(list_pretrained_tags_by_model(name))


def _spelt(tag: str) -> str:
    """The tag as open_clip spells it, and timm."""
    return tag.lower().replace("-", "_")


def _close(word: str, known: list[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word, known, n=3)
    return f"did you mean {', '.join(close)}?" if close else otherwise
