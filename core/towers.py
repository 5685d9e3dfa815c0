"""Towers: networks that turn pictures into patch features, for normal shots and inspected parts, beside CLIP.

`efficientnet-lite0` comes with its weights in a package and needs no network. Any model of timm gives features that are
known from elsewhere: stages of strides 8 and 16 of a CNN are PatchCore's, the last block of a DINOv2, with its final
normalisation, is AnomalyDINO's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from core.backbone import resolve_device
from core.fingerprint import fingerprint_of, picture
from core.image import Rgb
from core.model_error import ModelError, first_line
from core.preprocess import VERSION as PREPROCESS_VERSION
from core.preprocess import Preprocess
from core.weights.source import LITE0 as LITE0
from core.weights.store import Store
from core.weights.tower_weights import Loaded, load_weights

_STRIDES = (8, 16)
"""Of the stages that are taken where none are named; PatchCore's."""


@dataclass(frozen=True, eq=False)
class Tower:
    """A network on its device that gives patch features. Not for several threads at once.

    Attributes:
        name: As in every verdict.
        fingerprint: SHA-256, hexadecimal, of the weights in float32, the preprocessing, the input size and the layers.
        device: Where it computes.
        size: Height and width of its input, pixels; frames of any size are squeezed to it.
        layers: Indices of the stages or blocks whose output is taken, from the input on, as timm counts them.
        grid: Rows and columns of the finest of them.
        channels: Of all of them together.
        network: timm's, float32, on the device.
        pixels: Frames to the network's input, on the device.
        norm: Whether the network's final normalisation is applied to each layer.
        stride: Input sizes are multiples of it, pixels: the coarsest layer's.
        fixed: Whether the network takes this size only.
        weights: SHA-256, hexadecimal, of weights, architecture and output at its own size; see `core.fingerprint`.
    """

    name: str
    fingerprint: str
    device: torch.device
    size: tuple[int, int]
    layers: tuple[int, ...]
    grid: tuple[int, int]
    channels: int
    network: Any
    pixels: Preprocess
    norm: bool = False
    stride: int = 1
    fixed: bool = False
    weights: str = ""

    def at(self, size: tuple[int, int]) -> Tower:
        """The same network for another input size, pixels, multiples of `stride`.

        Raises:
            ModelError: it takes its own size only, or the size is no multiple.
        """
        if size == self.size:
            return self
        if self.fixed or size[0] % self.stride or size[1] % self.stride or min(size) < self.stride:
            takes = "its own size only" if self.fixed else f"multiples of {self.stride}"
            raise ModelError(f"size {size[0]} x {size[1]}: {self.name} takes {takes}")
        pixels = Preprocess(size, self.pixels.mean, self.pixels.std, self.device)
        shapes = _try(self.name, self.network, size, self.layers, self.norm, self.device)
        grid = max(shape[:2] for shape in shapes)
        fingerprint = _identity(self.weights, size, pixels, self.layers, self.norm)
        return replace(self, size=size, pixels=pixels, grid=grid, fingerprint=fingerprint)

    @torch.inference_mode()
    def features(self, frames: Sequence[Rgb]) -> tuple[Tensor, ...]:
        """The features of frames, uint8 [h, w, 3], RGB, of any sizes.

        For each layer float32 [B, rows, cols, channels] on the device, as the network computes them: of no particular
        length, not pooled, without class and register tokens.
        """
        return _features(self.network, self.pixels(frames), self.layers, self.norm)


def load_tower(
    name: str,
    *,
    weights: str | None = None,
    layers: Sequence[int] | None = None,
    size: int | tuple[int, int] | None = None,
    norm: bool = False,
    device: str = "cpu",
    store: Store | None = None,
) -> Tower:
    """The tower `name`: `efficientnet-lite0`, or `timm:ARCHITECTURE[.TAG]`. Nothing is downloaded.

    Args:
        name: The model.
        weights: A file, or a pretrained tag. Default: the tag in the name, or the one that timm prefers.
        layers: Stages or blocks, as `forward_intermediates` of timm counts them; negative ones from the end. Default:
            those of strides 8 and 16; of a transformer with blocks of one size the last.
        size: Height and width of the input, pixels, or one for both. Default: the model's own.
        norm: Apply the model's final normalisation to each layer, where it has one, as DINOv2 does.
        device: Where to compute.
        store: Where tags are looked for first.

    Raises:
        ModelError: model, weights, layers, size or device cannot be had as asked. Nothing else is used in their place.
    """
    where = resolve_device(device)
    found = load_weights(name, weights, store)
    strides = _strides(found)
    chosen = _layers(found.name, strides, layers)
    height, width = (size, size) if isinstance(size, int) else size or found.size
    stride = max(strides[layer] for layer in chosen)
    _check_size(found, (height, width), chosen, stride)
    if norm and not _has_norm(found.network):
        raise ModelError(f"{found.name} has no final normalisation of patches; leave norm off")
    weights_sha256 = fingerprint_of(found.network, _output(found, chosen, norm), found.architecture)
    _resize(found, (height, width))
    network = found.network.to(where)
    if where.type == "cpu":
        network = network.to(memory_format=torch.channels_last)  # convolutions are twice as fast
    shapes = _try(found.name, network, (height, width), chosen, norm, where)
    pixels = Preprocess((height, width), found.mean, found.std, where)
    return Tower(
        name=found.name,
        fingerprint=_identity(weights_sha256, (height, width), pixels, chosen, norm),
        device=where,
        size=(height, width),
        layers=chosen,
        grid=max(shape[:2] for shape in shapes),
        channels=sum(shape[2] for shape in shapes),
        network=network,
        pixels=pixels,
        norm=norm,
        stride=stride,
        fixed=found.fixed,
        weights=weights_sha256,
    )


def _identity(weights: str, size: tuple[int, int], pixels: Preprocess, layers: tuple[int, ...], norm: bool) -> str:
    described = (weights, size, pixels.mean, pixels.std, PREPROCESS_VERSION, layers, norm)
    return hashlib.sha256(repr(described).encode()).hexdigest()


@torch.inference_mode()
def _output(found: Loaded, layers: tuple[int, ...], norm: bool) -> list[Tensor]:
    """What the network makes of the fixed picture, on the CPU."""
    pixels = Preprocess(found.size, found.mean, found.std, torch.device("cpu"))
    try:
        return list(_features(found.network, pixels([picture(found.size)]), layers, norm))
    except Exception as error:  # whatever a network has against its own size
        raise _refused(found.name, found.size, error) from error


def _features(network: Any, pixels: Tensor, layers: tuple[int, ...], norm: bool) -> tuple[Tensor, ...]:
    found = network.forward_intermediates(
        pixels, indices=list(layers), norm=norm, stop_early=True, output_fmt="NCHW", intermediates_only=True
    )
    return tuple(one.float().permute(0, 2, 3, 1) for one in found)


def _strides(found: Loaded) -> list[int]:
    """Of each stage or block, input pixels to a patch."""
    stages = getattr(found.network, "feature_info", None)
    if not stages or not hasattr(found.network, "forward_intermediates"):
        raise ModelError(
            f"{found.name} gives no features of its layers in this release of timm; pip install --upgrade timm, "
            "or choose another model"
        )
    return [int(stage["reduction"]) for stage in stages]


def _layers(name: str, strides: list[int], asked: Sequence[int] | None) -> tuple[int, ...]:
    """The chosen layers in the network's order, each once."""
    count = len(strides)
    if asked is None:
        last = {stride: layer for layer, stride in enumerate(strides)}
        return tuple(last[stride] for stride in _STRIDES if stride in last) or (count - 1,)
    if not asked or not all(-count <= layer < count for layer in asked):
        raise ModelError(f"layers {_listed(asked) or '(none)'}: {name} has layers 0 to {count - 1}; name one or more")
    return tuple(sorted({layer % count for layer in asked}))


def _has_norm(network: Any) -> bool:
    norm = getattr(network, "norm", None)
    return isinstance(norm, nn.Module) and not isinstance(norm, nn.Identity)


def _check_size(found: Loaded, size: tuple[int, int], layers: tuple[int, ...], stride: int) -> None:
    """Raises ModelError for a size that is not the network's own and leaves a part of the picture without a patch."""
    height, width = size
    if size == found.size:
        return
    if found.fixed and not hasattr(found.network, "set_input_size"):
        raise ModelError(f"size {height} x {width}: {found.name} takes {found.size[0]} x {found.size[1]} only")
    if min(size) < stride or height % stride or width % stride:
        raise ModelError(
            f"size {height} x {width}: {found.name} with layers {_listed(layers)} takes heights and widths that are "
            f"multiples of {stride}"
        )


def _resize(found: Loaded, size: tuple[int, int]) -> None:
    """Makes a network whose weights depend on the input's size take another one."""
    if not found.fixed or size == found.size:
        return
    try:
        found.network.set_input_size(img_size=size)
    except Exception as error:  # whatever a network has against a size
        raise _refused(found.name, size, error) from error


@torch.inference_mode()
def _try(
    name: str, network: Any, size: tuple[int, int], layers: tuple[int, ...], norm: bool, device: torch.device
) -> list[tuple[int, int, int]]:
    """Rows, columns and channels of each layer, from a black picture."""
    try:
        found = _features(network, torch.zeros(1, 3, *size, device=device), layers, norm)
        return [(one.shape[1], one.shape[2], one.shape[3]) for one in found]
    except torch.cuda.OutOfMemoryError as error:
        raise ModelError(f"{name} does not fit into the memory of {device}: {first_line(error)}") from error
    except Exception as error:  # whatever a network has against a size
        raise _refused(name, size, error) from error


def _refused(name: str, size: tuple[int, int], error: Exception) -> ModelError:
    reason = first_line(error)
    return ModelError(f"size {size[0]} x {size[1]}: {name} does not take it ({reason}); leave the size at its default")


def _listed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))
