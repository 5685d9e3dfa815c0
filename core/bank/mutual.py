"""Few-shot without shots: the parts of a line, unlabelled, score each other and are proposed as shots.

Feature maps are those of `core.bank.scorers`, distances and `within` those of `core.bank.neighbours`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.bank.coreset import farthest_first
from core.bank.neighbours import check_finite, check_maps, nearest


def mutual(parts: Tensor, share: float = 0.3, within: int | None = None) -> Tensor:
    """How unlike the others each patch of N unlabelled parts is: the mutual scoring of MuSc (Li et al., ICLR 2024).

    a_ip(j) = min_q |x_ip - x_jq| is the distance of patch p of part i to the nearest patch of part j, and the score the
    mean of the lowest `share` of the N - 1 values (its interval average), of int(share * (N - 1)) and at least one: a
    normal patch has its like on some other parts, a defect on none. MuSc takes it of `pooled` features of r = 1, 3, 5
    (of several layers, unit length) and averages the maps; the highest of a map is its score of the image.

    Args:
        parts: [N, R, C, d], at least two.
        share: Above 0 and at most 1.
        within: The place a patch is held to, patches; None for none.

    Returns:
        float32 [N, R, C].

    Raises:
        ValueError: fewer than two parts, or as for `nearest`.
    """
    check_maps("parts", parts)
    _check_share(share)
    if len(parts) < 2:
        raise ValueError("parts that score each other are at least two")
    check_finite("parts", parts)
    scored = []
    for place in range(len(parts)):
        found = nearest(parts[place : place + 1], parts, within)[0]
        scored.append(_interval_mean(torch.cat([found[:place], found[place + 1 :]]), share))
    return torch.stack(scored)


def _interval_mean(found: Tensor, share: float) -> Tensor:
    """The mean over the lowest `share` of [n, ...], at least one."""
    return found.topk(max(1, int(share * len(found))), 0, largest=False).values.mean(0)


def unlike(part: Tensor, parts: Tensor, share: float = 0.3, within: int | None = None) -> Tensor:
    """How unlike N parts [N, R, C, d] each patch of another part [R, C, d] is, float32 [R, C]; as `mutual` says it.

    Raises:
        ValueError: as for `nearest`.
    """
    _check_share(share)
    return _interval_mean(nearest(part[None], parts, within)[0], share)


def suggest(scores: Tensor, pictures: Tensor, count: int) -> list[int]:
    """Which of the last N unlabelled parts to propose as shots: the most typical one, then those most unlike it.

    Only the half that is most typical is looked at (more, where `count` is): what is unlike all others may be a defect.
    From the lowest score on, the one farthest from those taken is taken next (greedy farthest point).

    Args:
        scores: [N], how unlike the others each is: `top_mean` of `mutual`.
        pictures: [N, D], a feature of each whole picture.
        count: 1 to N.

    Returns:
        Indices of different parts, the most typical first.

    Raises:
        ValueError: `count` is out of its range, shapes do not fit, or not all numbers are finite.
    """
    if scores.ndim != 1 or pictures.ndim != 2 or len(scores) != len(pictures):
        raise ValueError(f"scores {list(scores.shape)} and pictures {list(pictures.shape)} are not [N] and [N, D]")
    if not 1 <= count <= len(scores):
        raise ValueError(f"{count} of {len(scores)} parts cannot be suggested")
    check_finite("scores", scores)
    check_finite("pictures", pictures)
    typical = scores.argsort(stable=True)[: max(count, (len(scores) + 1) // 2)]
    return [int(typical[place]) for place in farthest_first(pictures[typical].double(), count, 0).tolist()]


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"share {share} is not above 0 and at most 1")
