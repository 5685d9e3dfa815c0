"""The decoders of both streams: from patch tokens to the joint space, a decoder for each chosen block."""

from __future__ import annotations

from collections.abc import Sequence

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
    """The sum of parallel convolutions of several shapes for each of `count` layers, from w to d dimensions."""

    def __init__(self, width: int, joint: int, count: int, kernels: Sequence[str] = tuple(KERNELS)) -> None:
        super().__init__()
        self.kernels = tuple(kernels)
        for name in self.kernels:
            layers = (nn.Conv2d(width, joint, KERNELS[name], padding="same") for _ in range(count))
            self.add_module(f"fc_{name}", nn.ModuleList(layers))

    def forward(self, layers: Sequence[Tensor], grid: tuple[int, int]) -> list[Tensor]:
        """[B, N, d] of patch tokens [B, N, w] of each layer, on a grid of (rows, columns)."""
        return [self._decode(place, tokens, grid) for place, tokens in enumerate(layers)]

    def _decode(self, place: int, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        picture = tokens.transpose(1, 2).reshape(len(tokens), -1, *grid)
        shapes: list[Tensor] = [self.get_submodule(f"fc_{name}.{place}")(picture) for name in self.kernels]
        return sum(shapes[1:], shapes[0]).flatten(2).transpose(1, 2)
