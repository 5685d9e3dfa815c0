"""Few-shot: how far a frame's features are from those of normal shots (ALFA, section 4.3; WinCLIP, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.vision import Features
from core.windows import Windows, to_patches


@dataclass(frozen=True, eq=False)
class Memory:
    """The features of S normal shots; float32, unit length.

    Attributes:
        windows: Of each scale, [S, W, d].
        patches: Of the last layer, [S, N, w].
    """

    windows: tuple[Tensor, ...]
    patches: Tensor


@dataclass(frozen=True, eq=False)
class Distances:
    """Of each feature of B frames to the nearest one of each of S shots, (1 - cos) / 2, in [0, 1].

    Attributes:
        windows: Of each scale, [B, S, W].
        patches: [B, S, N].
    """

    windows: tuple[Tensor, ...]
    patches: Tensor

    def nearest(self, choices: Sequence[Sequence[int]]) -> Distances:
        """To the nearest of some of the shots, for each of C choices of them: [B, C, ...]."""

        def least(one: Tensor) -> Tensor:
            return torch.stack([one[:, list(shots)].amin(1) for shots in choices], 1)

        return Distances(tuple(least(one) for one in self.windows), least(self.patches))


def remember(features: Features) -> Memory:
    """The memory of the frames of `features`.

    Raises:
        ValueError: the pass was not asked for patch tokens.
    """
    if features.patches is None:
        raise ValueError("few-shot scoring needs patch tokens: make the pass with patches=True")
    return Memory(features.windows, features.patches)


def distances(features: Features, memory: Memory) -> Distances:
    """How far each window and patch token of `features` is from each shot of `memory`."""
    query = remember(features)
    return Distances(
        tuple(_nearest(one, bank) for one, bank in zip(query.windows, memory.windows, strict=True)),
        _nearest(query.patches, memory.patches),
    )


def _nearest(query: Tensor, bank: Tensor) -> Tensor:
    """[B, S, Q] from unit vectors [B, Q, d] and [S, M, d]."""
    similarity = query.flatten(0, 1) @ bank.flatten(0, 1).T
    best = similarity.view(len(query), query.shape[1], len(bank), bank.shape[1]).amax(-1)
    return ((1 - best) / 2).clamp(0, 1).transpose(1, 2)


def reference_map(found: Distances, windows: Sequence[Windows]) -> Tensor:
    """The reference map [B, S, rows * cols]: windows harmonically on each patch, then the mean over all scales."""
    maps = [to_patches(one, tables) for one, tables in zip(found.windows, windows, strict=True)]
    return torch.stack([found.patches, *maps]).mean(0)
