"""The CLIP's own vision transformer as a tower: patch features of its middle blocks, at any size of the picture.

The last block is trained towards words, and forgets what tells one normal patch from another; the middle ones know it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.backbone import Backbone
from core.blocks import embed
from core.image import Rgb
from core.preprocess import Preprocess


def memory_layers(depth: int) -> tuple[int, ...]:
    """The blocks, counted from 1, that are taken where none are named: at 1/2, 2/3 and 5/6 of the depth."""
    return tuple(sorted({max(1, depth * share // 6) for share in (3, 4, 5)}))


class OwnTower:
    """Blocks of a CLIP's vision transformer as patch features, for pictures squeezed to one size.

    Args:
        backbone: The CLIP.
        size: Height and width of the input, pixels, multiples of the patch; None: the model's own. At another size the
            position embeddings are interpolated, bicubic and antialiased.
        layers: Blocks, counted from 1. None: `memory_layers`.

    Attributes:
        name: `clip`.
        fingerprint: SHA-256, hexadecimal, of the model, its preprocessing, the size and the layers.
        size: Height and width of the input, pixels.
        grid: Rows and columns of patches.

    Raises:
        ValueError: the model has no such block, or the size is no multiple of the patch.
    """

    name = "clip"

    def __init__(
        self, backbone: Backbone, size: tuple[int, int] | None = None, layers: Sequence[int] | None = None
    ) -> None:
        visual = backbone.visual
        depth = len(visual.transformer.resblocks)
        high, wide = visual.conv1.kernel_size
        self.size = backbone.pixels.size if size is None else size
        self.layers = tuple(sorted(set(memory_layers(depth) if layers is None else layers)))
        if not self.layers or not all(1 <= layer <= depth for layer in self.layers):
            raise ValueError(f"memory layers {list(self.layers)}: {backbone.name} has blocks 1 to {depth}")
        if size is not None and (size[0] % high or size[1] % wide or min(size) < max(high, wide)):
            raise ValueError(f"size {size[0]} x {size[1]}: its patches are {high} x {wide}; use multiples of them")
        self.grid = (self.size[0] // high, self.size[1] // wide)
        described = f"{backbone.fingerprint} {self.size} {self.layers}"
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()
        self._visual: Any = visual
        self._pixels = Preprocess(self.size, backbone.pixels.mean, backbone.pixels.std, backbone.device)
        self._positions = _positions(visual, self.grid)

    @torch.inference_mode()
    def features(self, frames: Sequence[Rgb]) -> tuple[Tensor, ...]:
        """The features of frames, uint8 [h, w, 3], RGB: for each layer float32 [B, rows, cols, w], of no set length."""
        visual, (rows, cols) = self._visual, self.grid
        x = embed(visual, self._pixels(frames), self._positions)
        found = []
        for number, block in enumerate(visual.transformer.resblocks[: self.layers[-1]], 1):
            x = block(x)
            if number in self.layers:
                found.append(x[:, 1:].reshape(len(x), rows, cols, -1))
        return tuple(found)


def _positions(visual: Any, grid: tuple[int, int]) -> Tensor:
    """Position embeddings [1 + rows * cols, w] for a grid."""
    positions = visual.positional_embedding.detach()
    rows, cols = (int(side) for side in visual.grid_size)
    if (rows, cols) == grid:
        return positions  # type: ignore[no-any-return]
    table = positions[1:].T.reshape(1, -1, rows, cols)
    fitted = F.interpolate(table, grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1], fitted.flatten(2)[0].T])
