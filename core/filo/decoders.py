"""The decoders of both streams: from patch tokens to the joint space, a decoder for each chosen block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNELS: dict[str, tuple[int, int]] = {
    "11": (1, 1),
    "33": (3, 3),
    "55": (5, 5),
    "77": (7, 7),
    "15": (1, 5),
    "51": (5, 1),
}
"""Height and width of the parallel convolutions, patches, by their name in a checkpoint."""


class LinearDecoder(nn.Module):
    """A linear map for each of `count` layers, from w to d dimensions."""

    def __init__(self, width: int, joint: int, count: int) -> None:
        super().__init__()
        self.fc = nn.ModuleList(nn.Linear(width, joint) for _ in range(count))

    def forward(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """[B, N, d] of patch tokens [B, N, w] of each layer."""
        return [decode(tokens) for decode, tokens in zip(self.fc, layers, strict=True)]


class ConvolutionDecoder(nn.Module):
    """The sum of parallel convolutions of several shapes for each of `count` layers, from w to d dimensions.

    With a `bottleneck` a linear map takes the tokens to so many dimensions first: convolutions of all shapes are most
    of a head's weights, and a small model needs fewer.
    """

    def __init__(
        self,
        width: int,
        joint: int,
        count: int,
        kernels: Sequence[str] = tuple(KERNELS),
        bottleneck: int | None = None,
    ) -> None:
        super().__init__()
        self.kernels = tuple(kernels)
        self.narrow = (
            None
            if bottleneck is None
            else nn.ModuleList(nn.Linear(width, bottleneck, bias=False) for _ in range(count))
        )
        for name in self.kernels:
            layers = (nn.Conv2d(bottleneck or width, joint, KERNELS[name], padding="same") for _ in range(count))
            self.add_module(f"fc_{name}", nn.ModuleList(layers))

    def forward(self, layers: Sequence[Tensor], grid: tuple[int, int]) -> list[Tensor]:
        """[B, N, d] of patch tokens [B, N, w] of each layer, on a grid of (rows, columns)."""
        return [self._decode(place, tokens, grid) for place, tokens in enumerate(layers)]

    def _decode(self, place: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.narrow is not None:
            tokens = self.narrow[place](tokens)
        picture = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
        weight, bias = self._kernel(place)
        return F.conv2d(picture, weight, bias, padding="same").flatten(2).transpose(1, 2)

    def _kernel(self, place: int) -> tuple[Tensor, Tensor]:
        """The one convolution that the sum of all shapes is: half the work of doing each."""
        shapes = [self.get_submodule(f"fc_{name}.{place}") for name in self.kernels]
        high, wide = (max(KERNELS[name][side] for name in self.kernels) for side in (0, 1))
        weights = [_centred(shape.get_parameter("weight"), high, wide) for shape in shapes]
        biases: list[Tensor] = [shape.get_parameter("bias") for shape in shapes]
        return torch.stack(weights).sum(0), torch.stack(biases).sum(0)


def _centred(weight: Tensor, high: int, wide: int) -> Tensor:
    """A kernel [.., .., rows, columns] with zeros around it, to `high` x `wide`; all sides are odd."""
    down, across = (high - weight.shape[2]) // 2, (wide - weight.shape[3]) // 2
    return F.pad(weight, (across, across, down, down))
