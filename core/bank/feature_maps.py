"""Feature maps of pictures, from the CLIP's own middle blocks and from a tower, for the comparison with normal shots.

Each map is a source of evidence of its own. Coarse and fine, pooled and not, they see different things: a scratch of
two pixels is lost where neighbours are averaged, and print that is never the same twice is all that the others see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.backbone import Backbone
from core.bank.scorers import pooled
from core.image import Rgb
from core.own_tower import OwnTower
from core.towers import Tower

_FINER = 4 / 3
"""Side of the larger input, of the model's own: what is fine shows, at less than twice the cost."""
_EXTENT = 3  # patches that are averaged along each side
_STEP = 2


@dataclass(frozen=True)
class MapKind:
    """What a feature map is made by; only those of one kind are compared.

    Attributes:
        name: In words without blanks, for instance `clip` or `efficientnet-lite0:mean`.
        fingerprint: SHA-256, hexadecimal, of weights, preprocessing, input size and layers.
        shape: Rows, columns and channels.
    """

    name: str
    fingerprint: str
    shape: tuple[int, int, int]


class FeatureMaps:
    """The feature maps of pictures that are about as high for their width as one `shape`. For one thread at a time.

    Args:
        backbone: The CLIP: its middle blocks at its own size, and larger, in the shape of the pictures.
        tower: A second model, in the shape of the pictures where it takes that; None for none.
        shape: Height and width of the pictures, pixels.
        layers: The CLIP's blocks, counted from 1; None: those of its depth.
        fine: Also take the CLIP's blocks at the larger size, which costs more than all else here.

    Attributes:
        kinds: Of each map.
        sees: Height and width of the finest input, pixels.
    """

    def __init__(
        self,
        backbone: Backbone,
        tower: Tower | None,
        shape: tuple[int, int],
        layers: Sequence[int] | None = None,
        fine: bool = True,
    ) -> None:
        patch = int(backbone.visual.conv1.kernel_size[0])
        own = OwnTower(backbone, None, layers)
        self._towers: list[tuple[OwnTower | Tower, Callable[[tuple[Tensor, ...]], list[Tensor]]]]
        self._towers = [(own, joined)]
        names: list[tuple[str, OwnTower | Tower]] = [("clip", own)]
        if fine:
            larger = OwnTower(backbone, fitted_size(shape, own.size, patch), layers)
            self._towers.append((larger, joined))
            names.append(("clip:fine", larger))
        if tower is not None:
            if not tower.fixed:
                tower = tower.at(fitted_size(shape, tower.size, tower.stride))
            several = len(tower.layers) > 1
            self._towers.append((tower, _coarse_and_mean if several else joined))
            names += (
                [(f"{tower.name}:coarse", tower), (f"{tower.name}:mean", tower)] if several else [(tower.name, tower)]
            )
        self.sees = max((one.size for one, _ in self._towers), key=lambda size: size[0] * size[1])
        blank = torch.zeros(*shape, 3, dtype=torch.uint8).numpy()
        shapes = [tuple(one.shape[1:]) for one in self([blank])]
        self.kinds = tuple(
            MapKind(name, one.fingerprint, (rows, cols, channels))
            for (name, one), (rows, cols, channels) in zip(names, shapes, strict=True)
        )

    @torch.inference_mode()
    def __call__(self, frames: Sequence[Rgb]) -> tuple[Tensor, ...]:
        """float32 [B, R, C, d] of each kind, of frames uint8 [h, w, 3], RGB; each layer's features of unit length."""
        return tuple(one for tower, arrange in self._towers for one in arrange(tower.features(frames)))


def fitted_size(shape: tuple[int, int], own: tuple[int, int], multiple: int) -> tuple[int, int]:
    """A height and width in the proportions of `shape`, of about `_FINER` times `own`'s side, multiples of `multiple`.

    Proportions beyond 1 to 4 are taken for 1 to 4.
    """
    height, width = shape
    ratio = min(4.0, max(0.25, height / width))
    side = _FINER * math.sqrt(own[0] * own[1])
    sides = side * math.sqrt(ratio), side / math.sqrt(ratio)
    high, wide = (max(1, round(one / multiple)) * multiple for one in sides)
    return high, wide


def joined(layers: tuple[Tensor, ...]) -> list[Tensor]:
    """All layers of unit length beside each other, on the finest one's grid."""
    grid = max(one.shape[1:3] for one in layers)
    return [torch.cat([F.normalize(_on(one, grid), dim=-1) for one in layers], -1)]


def _coarse_and_mean(layers: tuple[Tensor, ...]) -> list[Tensor]:
    """The coarsest layer alone; and all of them, averaged over each patch and its neighbours, at every second patch.

    Averages of neighbours hardly differ: on the photographs every patch found nothing more, at 16 times the cost.
    """
    coarse = min(layers, key=lambda one: one.shape[1] * one.shape[2])
    (mean,) = pooled(joined(layers)[0], [_EXTENT])
    return [F.normalize(coarse, dim=-1), mean[:, ::_STEP, ::_STEP]]


def _on(features: Tensor, grid: torch.Size) -> Tensor:
    """[B, R, C, d] bilinearly on another grid."""
    if features.shape[1:3] == grid:
        return features
    moved = F.interpolate(features.permute(0, 3, 1, 2), tuple(grid), mode="bilinear", align_corners=False)
    return moved.permute(0, 2, 3, 1)
