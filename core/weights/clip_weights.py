"""Weights of CLIPs: those of the package, a pretrained tag or a file, into open_clip's network, all or none."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.clip import CLIP, SimpleTokenizer, load_state_dict, open_clip, resize_pos_embed
from core.fingerprint import refuse_not_finite
from core.model_error import ModelError
from core.models import BUNDLED, architecture, load_bundled, load_card
from core.overrides import NONE, Overrides
from core.traits import CLIP_TRAITS, Traits
from core.weights.architectures import Architecture, architecture_of
from core.weights.file import why_not_read
from core.weights.source import find
from core.weights.store import Store

UNTRAINED = "untrained"
_UNTRAINED_CONFIG: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 240, "layers": 6, "width": 192, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
CLIP_MEAN: tuple[float, ...] = open_clip.OPENAI_DATASET_MEAN
CLIP_STD: tuple[float, ...] = open_clip.OPENAI_DATASET_STD


@dataclass(frozen=True)
class LoadedClip:
    """A network with its weights and what goes with it.

    Attributes:
        name: As in every verdict.
        reload: Gives the network anew, float32, on the CPU.
        tokenize: Sentences to its tokens, int64 [P, context].
        mean: Of the input's channels, RGB, in [0, 1].
        std: Of the input's channels, RGB.
        traits: What suits the model.
        assumed: What nobody said of the weights, in words; empty where all is known.
    """

    name: str
    reload: Callable[[], Any]
    tokenize: Callable[[list[str]], Tensor]
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    traits: Traits = CLIP_TRAITS
    assumed: str = ""


def load_clip(
    name: str, weights: str | None, store: Store | None = None, overrides: Overrides = NONE
) -> tuple[Any, LoadedClip]:
    """The network `name` in float32 on the CPU, and what goes with it.

    Args:
        name: A model of open_clip, or `bundled`, or `untrained`, which takes no `weights`.
        weights: A pretrained tag, or the path of a file. A file in the store is known by its record; any other has to
            fit the model as one that is imported.
        store: Where tags are looked for first.
        overrides: What is set by hand.

    Raises:
        ModelError: model or weights cannot be had as asked. Nothing else is used in their place.
    """
    if name in (BUNDLED, UNTRAINED):
        return _of_the_package(name, overrides)
    if weights is None:
        raise ModelError(f"model {name!r} needs weights: a pretrained tag of open_clip or the path of a file")
    found = find(name, weights, store)
    shape = architecture_of(name)
    size = overrides.size(shape.size, shape.patch, name)
    if found.tag is None:
        check_positions(found.path, shape, size)
    settings = {**found.settings, **overrides.settings}
    read = partial(read_model, name, found.path, settings, size=size)
    known = LoadedClip(
        name=name,
        reload=read,
        tokenize=partial(_tokenize, name),
        mean=tuple(settings.get("mean", CLIP_MEAN)),
        std=tuple(settings.get("std", CLIP_STD)),
        assumed=_assumed(found.path, shape, settings) if found.tag is None else "",
    )
    return read(), known


def read_model(
    name: str,
    path: Path,
    settings: Mapping[str, Any],
    called: str | None = None,
    size: tuple[int, int] | None = None,
) -> Any:
    """The model `name` of open_clip with the weights of a file, every one of them, read without running any code.

    Args:
        name: Of the model.
        path: The file.
        settings: open_clip's of the tag; of them `quick_gelu` is for the model.
        called: What messages call the file; by default its path.
        size: Height and width of the input, pixels; open_clip then interpolates the position embeddings.

    Raises:
        ModelError: they do not load, or are not all finite.
    """
    forced = {} if settings.get("quick_gelu") is None else {"quick_gelu": bool(settings["quick_gelu"])}
    try:
        with _quiet():
            model = open_clip.create_model(
                name, str(path), device="cpu", weights_only=True, force_image_size=size, **forced
            )
    except Exception as error:  # the readers of three file formats, each with errors of its own
        raise ModelError(f"weights {called or path} do not load into {name}: {why_not_read(error)}") from None
    refuse_not_finite(model, called or str(path))
    return model


def _of_the_package(name: str, overrides: Overrides) -> tuple[Any, LoadedClip]:
    if given := ", ".join(overrides.settings):
        raise ModelError(f"model {name!r} comes with its preprocessing and activation; leave out {given}")
    config = architecture() if name == BUNDLED else _UNTRAINED_CONFIG
    vision = config["vision_cfg"]
    size = overrides.size((vision["image_size"],) * 2, vision["patch_size"], name)

    def load() -> Any:
        network = load_bundled()[0] if name == BUNDLED else _untrained()
        return network if size is None else _at_size(network, config, size)

    tokenize = partial(_tokenize, name)
    if name == UNTRAINED:
        return load(), LoadedClip(UNTRAINED, load, tokenize)
    card = load_card()
    return load(), LoadedClip(card.name, load, tokenize, traits=card.traits)


def _untrained() -> CLIP:
    """A small CLIP with seeded random weights, the same on every machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIP(**_UNTRAINED_CONFIG)


def _at_size(network: CLIP, config: Mapping[str, Any], size: tuple[int, int]) -> CLIP:
    """The same weights for another input size, with open_clip's own interpolation of position embeddings."""
    with torch.random.fork_rng(devices=[]):
        other = CLIP(**{**config, "vision_cfg": {**config["vision_cfg"], "image_size": size}})
    state = dict(network.state_dict())
    resize_pos_embed(state, other)
    other.load_state_dict(state)
    return other


def check_positions(path: Path, shape: Architecture, size: tuple[int, int] | None, called: str | None = None) -> None:
    """Refuses a file whose position embeddings are of another input size or context than the model's.

    open_clip stretches those that do not fit, so that weights of another model would load without a word.
    """
    sizes = [shape.size] if size is None else [shape.size, size]
    patches = {1 + (height // shape.patch) * (width // shape.patch) for height, width in sizes}
    wanted = {
        "visual.positional_embedding": patches,
        "positional_embedding": {shape.context},
        "text.positional_embedding": {shape.context},
    }
    state = _read_state(path, shape.name, called or str(path))
    for key, counts in wanted.items():
        if key in state and len(state[key]) not in counts:
            takes = f"{tuple(state[key].shape)} there, and {min(counts)} in the model"
            raise ModelError(
                f"weights {called or path} do not load into {shape.name}: {key} is {takes}{_fitting(key, state, shape)}"
            )


def _fitting(key: str, state: Mapping[str, Tensor], shape: Architecture) -> str:
    side = math.isqrt(len(state[key]) - 1)
    if key != "visual.positional_embedding" or 1 + side * side != len(state[key]):
        return ""
    return f"; they are of pictures of {side * shape.patch} pixels: set the image size to that"


def _read_state(path: Path, name: str, called: str) -> Mapping[str, Any]:
    try:
        state: Mapping[str, Any] = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # the readers of three file formats, each with errors of its own
        raise ModelError(f"weights {called} do not load into {name}: {why_not_read(error)}") from None
    return state


def _assumed(path: Path, shape: Architecture, settings: Mapping[str, Any]) -> str:
    quick = settings.get("quick_gelu", shape.quick_gelu)
    guesses = {
        "mean": f"mean {_listed(CLIP_MEAN)}",
        "std": f"std {_listed(CLIP_STD)}",
        "quick_gelu": f"activation {'QuickGELU' if quick else 'GELU'}, as {shape.name} has it",
    }
    words = [guess for key, guess in guesses.items() if key not in settings]
    return f"weights {path} have no record of how they were trained; assumed: {', '.join(words)}" if words else ""


def _listed(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"


@cache
def _tokenizer(name: str) -> Callable[[list[str]], Tensor]:
    made: Callable[[list[str]], Tensor]
    made = SimpleTokenizer(context_length=77) if name in (BUNDLED, UNTRAINED) else open_clip.get_tokenizer(name)
    return made


def _tokenize(name: str, sentences: list[str]) -> Tensor:
    """By the model's tokenizer, made when there is something to say: a start with compiled packs goes without."""
    return _tokenizer(name)(sentences)


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs each of its steps to the root logger; what matters of them is in the error that it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
