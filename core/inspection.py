"""What the method says of one frame, and how it comes from the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.adaptation import Labels
from core.explain import Likeness
from core.heatmap import Peak, find_peak, to_frame
from core.image import Map
from core.model_error import NotFiniteError
from core.tiles import Tiling

AnyInspection = TypeVar("AnyInspection", bound="Inspection")


@dataclass(frozen=True, eq=False)
class Inspection:
    """What ALFA says of one frame.

    Attributes:
        score: S(x) in [0, 1] (Eq. 12).
        global_score: S_G(x) in [0, 1] (Eq. 10).
        local_score: max S~_L in [0, 1]; without windows the map's largest value.
        patch_map: S~_L, or few-shot its mean with the reference map, float32 [rows, cols], in [0, 1]. Without windows
            the reference map, times `memory_gain`.
        size: Height and width of the frame, pixels.
        kept_normal: bool [P+], the normal prompts kept for this frame.
        kept_abnormal: bool [P-], the abnormal ones.
        likeness: How the pack's descriptors compare to the frame; None where the pack has none.
        memory_score: The largest value of the reference map, in [0, 1]; None without normal shots.
    """

    score: float
    global_score: float
    local_score: float
    patch_map: Map
    size: tuple[int, int]
    kept_normal: NDArray[np.bool_]
    kept_abnormal: NDArray[np.bool_]
    likeness: Likeness | None = None
    memory_score: float | None = None

    @cached_property
    def heatmap(self) -> Map:
        """The map bilinearly at the frame's resolution, float32 [H, W], in [0, 1]."""
        return to_frame(self.patch_map, self.size)

    @property
    def looked_again(self) -> bool:
        """Whether the method has looked at the frame a second time, which takes longer."""
        return False

    @property
    def fault(self) -> str | None:
        """What of it is no finite number, in words; None when all is well."""
        numbers = {
            "the score": self.score,
            "the global score": self.global_score,
            "the local score": self.local_score,
            "the score against the shots": self.memory_score,
        }
        for name, number in numbers.items():
            if number is not None and not math.isfinite(number):
                return f"{name} ({number}) is not a finite number"
        if not np.isfinite(self.patch_map).all():
            return "a value of the heatmap is not a finite number"
        if self.likeness is not None and not np.isfinite(self.likeness.image).all():
            return "the similarity to a descriptor is not a finite number"
        return None

    @cached_property
    def peak(self) -> Peak:
        """The heatmap's largest value, found without making the heatmap."""
        return find_peak(self.patch_map, self.size)


def to_host(
    scores: Tensor,
    s_map: Tensor,
    labels: Labels,
    likeness: Sequence[Tensor],
    grids: tuple[tuple[int, int], tuple[int, int]],
    sizes: Sequence[tuple[int, int]],
) -> list[Inspection]:
    """The rows of a batch as value objects; one copy from the device.

    Args:
        scores: S, S_G, max S~_L and, few-shot, the maximum of the reference map, [B, 3] or [B, 4].
        s_map: The map, [B, N].
        labels: The kept prompts.
        likeness: Nothing, or similarities [B, D] and indices [B, N] of descriptors.
        grids: Rows and columns of the map, and of the descriptors' indices.
        sizes: Height and width of each frame.
    """
    parts = [scores, s_map, labels.normal.float(), labels.abnormal.float(), *likeness]
    packed = torch.cat(parts, 1).cpu().numpy()
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    score, local, normal, abnormal, *like = np.split(packed, ends, axis=1)
    score, local = _to_unit(score), _to_unit(local)
    return [
        Inspection(
            score=float(score[row, 0]),
            global_score=float(score[row, 1]),
            local_score=float(score[row, 2]),
            patch_map=local[row].reshape(grids[0]).copy(),
            size=size,
            kept_normal=normal[row] > 0,
            kept_abnormal=abnormal[row] > 0,
            memory_score=float(score[row, 3]) if score.shape[1] > 3 else None,
            likeness=Likeness(like[0][row].copy(), like[1][row].reshape(grids[1]).astype(np.int64)) if like else None,
        )
        for row, size in enumerate(sizes)
    ]


def refuse_faults(inspections: Sequence[Inspection]) -> None:
    """Raises NotFiniteError when one of the inspections is no number: compared with a threshold it would be normal."""
    for number, inspection in enumerate(inspections, 1):
        if (fault := inspection.fault) is not None:
            remedy = "compute in fp32, where the model may overflow in half precision, or fetch its weights again"
            raise NotFiniteError(f"frame {number} of {len(inspections)}: {fault}; {remedy}", inspections)


def merge(tiles: Sequence[AnyInspection], tiling: Tiling, size: tuple[int, int]) -> AnyInspection:
    """The inspection of a frame of `size` (height, width), pixels, from those of its tiles, row by row.

    The map is that of all tiles. Scores, kept prompts and what the descriptors say of the image are those of the tile
    whose score is the largest.
    """
    if tiling.count == 1:
        return tiles[0]
    top = tiles[int(np.argmax([tile.score for tile in tiles]))]  # what is no number is the largest, and gets refused
    likeness = top.likeness
    if likeness is not None:
        patches = [tile.likeness.patch for tile in tiles if tile.likeness is not None]
        likeness = replace(likeness, patch=tiling.merge_labels(patches))
    return replace(top, patch_map=tiling.merge([tile.patch_map for tile in tiles]), size=size, likeness=likeness)


def rows_alike(*columns: Sequence[object]) -> list[list[int]]:
    """The rows of a batch by what they are judged by: those with the very same objects in all `columns` together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, objects in enumerate(zip(*columns, strict=True)):
        groups.setdefault(tuple(map(id, objects)), []).append(row)
    return list(groups.values())


def _to_unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounding may leave [0, 1]; what is infinite stays so, as it is no rounding and has to be refused."""
    return np.where(np.isfinite(values), values.clip(0, 1), values)
