"""Few-shot: how far a frame's features are from those of normal shots (ALFA, section 4.3; WinCLIP, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from core.bank.coreset import select_in_steps
from core.bank.neighbours import cosine, nearest_units
from core.identity import Identity
from core.steps import Steps, finish
from core.tiles import WHOLE, Tiling
from core.vision import Features
from core.windows import Windows, to_patches

if TYPE_CHECKING:
    from core.bank.evidence import Evidence

# What an index is thinned from, and measured in, at most: on two cores it then takes seconds, not hours.
_CANDIDATES = 100_000
_DIMENSIONS = 128


@dataclass(frozen=True, eq=False)
class Memory:
    """The features of S normal shots, or tiles of one; float32, or float16 as a bank keeps them; unit length.

    Attributes:
        windows: Of each scale, [S, W, d].
        patches: Of the last layer, [S, N, w].
        maps: The maps of `core.bank.feature_maps`, each [S, R, C, d], of no set length; none for the paper's own.
        made_by: What it was made by; None where that was compared already, or nobody says.
    """

    windows: tuple[Tensor, ...]
    patches: Tensor
    maps: tuple[Tensor, ...] = ()
    made_by: Identity | None = None

    def take(self, place: int) -> Memory:
        """The features of one of the shots or tiles."""
        here = slice(place, place + 1)
        return Memory(
            tuple(one[here] for one in self.windows), self.patches[here], tuple(one[here] for one in self.maps)
        )


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
    return _measure(remember(features), memory.windows, memory.patches)


def _measure(query: Memory, windows: Sequence[Tensor], patches: Tensor) -> Distances:
    """From the nearest of each bank, each scale's windows [S, M, d] and patches [S, M, w]."""
    return Distances(
        tuple(cosine(nearest_units(scale, banks)) for scale, banks in zip(query.windows, windows, strict=True)),
        cosine(nearest_units(query.patches, patches)),
    )


@dataclass(frozen=True, eq=False)
class Index:
    """What the frames of a line are scored against: normal features, resident on the device, unit length.

    In float32 on a CPU; on CUDA in float16, which is enough to find the nearest.

    Attributes:
        windows: Of each scale, [M, d].
        patches: [M, w].
        evidence: The shots by feature maps, in place of windows and patches, which are then empty.
        shape: Height and width of the pictures that those maps are made for, pixels.
        made_by: What it was made by; None where nobody says.
        owners: The shot of each row of the windows of each scale, then of the patches, int64 [M] each; none where it is
            not known.
    """

    windows: tuple[Tensor, ...]
    patches: Tensor
    evidence: Evidence | None = None
    shape: tuple[int, int] | None = None
    made_by: Identity | None = None
    owners: tuple[Tensor, ...] = ()

    @property
    def tiling(self) -> Tiling:
        """Frames are compared as they are, as tiles are."""
        return WHOLE

    @property
    def tiles(self) -> tuple[Index, ...]:
        """This one."""
        return (self,)

    @property
    def weights(self) -> dict[str, float]:
        """The share of the say of each source of evidence; nothing where none is heard."""
        return {} if self.evidence is None else self.evidence.weights

    def without(self, owner: int) -> Index | None:
        """The index of the other shots: what leaving one out takes. None where nothing of a kind is left, or is known.

        The others are not thinned anew: the places of `owner`'s features stay empty, which makes its distances a
        little larger, never smaller, than those of a picture of another shot.
        """
        kept = [owners != owner for owners in self.owners]
        if not kept or not all(bool(rows.any()) for rows in kept):
            return None
        kinds = zip((*self.windows, self.patches), self.owners, kept, strict=True)
        *windows, patches = [(points[rows], owners[rows]) for points, owners, rows in kinds]
        return Index(
            tuple(points for points, _ in windows),
            patches[0],
            made_by=self.made_by,
            owners=(*(owners for _, owners in windows), patches[1]),
        )


def make_index(
    memories: Sequence[Memory], device: torch.device, limit: int | None = None, owners: Sequence[int] = ()
) -> Index:
    """The index of all features of `memories`, of one model and one set of windows.

    Args:
        memories: At least one; shots and variants alike.
        device: Where frames are scored.
        limit: The most features of a kind (a scale's windows, the patches); more are thinned to it by `coreset.select`,
            always in the same way, which makes distances a little larger. None keeps all.
        owners: The shot of each of the memories; none where no shot will be left out.

    Raises:
        ValueError: no memories, those of different windows, other counts, or `limit` is outside 1 to 100,000.
    """
    return finish(index_in_steps(memories, device, limit, owners))


def index_in_steps(
    memories: Sequence[Memory], device: torch.device, limit: int | None = None, owners: Sequence[int] = ()
) -> Steps[Index]:
    """As `make_index`, in short steps, so that the device can judge parts in between."""
    if not memories:
        raise ValueError("an index needs at least one shot")
    if limit is not None and not 1 <= limit <= _CANDIDATES:
        raise ValueError(f"limit {limit}: an index is thinned to 1 to {_CANDIDATES} features of a kind")
    if owners and any(len(memory.patches) != 1 for memory in memories):
        raise ValueError("the owners of memories that hold several pictures each are not known")
    kinds = [*zip(*(one.windows for one in memories), strict=True), [one.patches for one in memories]]
    points, whose = [], []
    for banks in kinds:
        found, chosen = yield from _resident(banks, device, limit)
        points.append(found)
        if owners:
            each = [owner for owner, bank in zip(owners, banks, strict=True) for _ in range(bank.shape[1])]
            whose.append(torch.tensor(each, device=device)[chosen])
    return Index(tuple(points[:-1]), points[-1], owners=tuple(whose))


def _resident(banks: Sequence[Tensor], device: torch.device, limit: int | None) -> Steps[tuple[Tensor, Tensor | slice]]:
    """[M, d] from [S, W, d] each, and which of their rows those are."""
    points = torch.cat([one.flatten(0, 1) for one in banks]).to(device)
    chosen: Tensor | slice = slice(None)
    yield
    if limit is not None and len(points) > limit:
        chosen = yield from select_in_steps(points, limit, 0, candidates=_CANDIDATES, dimensions=_DIMENSIONS)
        points = points[chosen]
    points = points.to(torch.float16 if device.type == "cuda" else torch.float32)
    lengths = torch.linalg.vector_norm(points, dim=-1, keepdim=True, dtype=torch.float32)
    return points.div_(lengths.clamp_min(1e-12)), chosen  # in place: of 1,000 shots these are gigabytes


def search(features: Features, index: Index) -> Distances:
    """How far each window and patch token of B frames is from the nearest one of `index`: [B, 1, W] and [B, 1, N].

    As `distances(...).nearest` of all shots, in memory that does not grow with them.
    """
    return _measure(remember(features), [points[None] for points in index.windows], index.patches[None])


def reference_map(found: Distances, windows: Sequence[Windows]) -> Tensor:
    """The reference map [B, S, rows * cols]: windows harmonically on each patch, then the mean over all scales."""
    maps = [to_patches(one, tables) for one, tables in zip(found.windows, windows, strict=True)]
    return torch.stack([found.patches, *maps]).mean(0)
