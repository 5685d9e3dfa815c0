"""Windows of k x k patches on the token grid, and the harmonic mean that brings their scores back to patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MODES = ("exact", "strided", "masked", "none")
"""How windows are embedded: `exact`, each in a pass of its own tokens (the paper's); `strided`, the same at every
second position; `masked`, one token each (`masked.py`); `none`, not at all."""
STRIDE = 2  # of `strided`

# A window score of exactly 0 would make its reciprocal infinite, and infinity times "not covered" is not a number.
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows of one scale.

    Attributes:
        scale: Side of a window, patches.
        grid: Rows and columns of the token grid.
        index: int64 [W, scale * scale], the patches of each window, row-major over the grid.
        coverage: float32 [W, rows * cols], 1 where the window covers the patch. Each patch is covered.
    """

    scale: int
    grid: tuple[int, int]
    index: Tensor
    coverage: Tensor

    def to(self, device: torch.device) -> Windows:
        """The same tables on `device`."""
        return Windows(self.scale, self.grid, self.index.to(device), self.coverage.to(device))


def make_windows(grid: tuple[int, int], scale: int, stride: int = 1) -> Windows:
    """The windows of side `scale` at every `stride`-th position of `grid`, and at its far edges.

    The far edges are added where `stride` does not reach them, so that no patch goes unseen.

    Raises:
        ValueError: `scale` or `stride` is below 1, or a window is larger than the grid.
    """
    rows, cols = grid
    if scale < 1 or stride < 1:
        raise ValueError(f"scale {scale} and stride {stride} must be at least 1")
    if scale > min(rows, cols):
        raise ValueError(f"a window of {scale} x {scale} patches is larger than the grid of {rows} x {cols}")
    if stride > scale:
        raise ValueError(f"stride {stride} is larger than the window ({scale}): patches between windows go unseen")
    top = torch.tensor(_starts(rows, scale, stride))
    left = torch.tensor(_starts(cols, scale, stride))
    inside = (torch.arange(scale)[:, None] * cols + torch.arange(scale)[None, :]).flatten()
    index = ((top[:, None] * cols + left[None, :]).flatten()[:, None] + inside[None, :]).long()
    coverage = torch.zeros(len(index), rows * cols).scatter_(1, index, 1.0)
    return Windows(scale, grid, index, coverage)


def windows_of(mode: str, grid: tuple[int, int], scales: Sequence[int], stride: int = 1) -> list[Windows]:
    """The windows of each of `scales` as a mode of `MODES` has them; none for `none`.

    Raises:
        ValueError: as `make_windows`.
    """
    if mode == "none":
        return []
    return [make_windows(grid, scale, STRIDE if mode == "strided" else stride) for scale in scales]


def _starts(length: int, scale: int, stride: int) -> list[int]:
    starts = list(range(0, length - scale + 1, stride))
    return starts if starts[-1] == length - scale else [*starts, length - scale]


def to_patches(scores: Tensor, windows: Windows) -> Tensor:
    """Patch scores [..., rows * cols]: the harmonic mean of the scores [..., W] of the windows that cover a patch.

    Low scores weigh most, so that a patch is anomalous only when every window around it says so (WinCLIP, 3.3).
    """
    return windows.coverage.sum(0) / (scores.clamp_min(_LEAST).reciprocal() @ windows.coverage)


def harmonic_mean(maps: Sequence[Tensor]) -> Tensor:
    """The harmonic mean of maps of one shape, scores in [0, 1]."""
    return len(maps) / torch.stack([scores.clamp_min(_LEAST).reciprocal() for scores in maps]).sum(0)


def harmonic(scores: Sequence[Tensor], windows: Sequence[Windows], s_global: Tensor | None) -> Tensor:
    """Patch scores [B, rows * cols]: harmonically over the windows on each patch, then over the scales (WinCLIP, 3.3).

    Args:
        scores: Window scores [B, W] of each scale, in [0, 1].
        windows: The tables of each scale.
        s_global: The image's score [B, 1], as one more scale; None for none.
    """
    maps = [to_patches(scale, tables) for scale, tables in zip(scores, windows, strict=True)]
    return harmonic_mean(maps if s_global is None else [s_global.expand_as(maps[0]), *maps])
