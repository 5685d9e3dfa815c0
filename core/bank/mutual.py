"""Few-shot without shots: the parts of a line, unlabelled, score each other and are proposed as shots.

Feature maps, distances and `within` are those of `core.bank.scorers`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from core.bank.scorers import check_finite, check_maps, nearest


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
    out = []
    for i in range(len(parts)):
        found = nearest(parts[i : i + 1], parts, within)[0]
        out.append(_interval_mean(torch.cat([found[:i], found[i + 1 :]]), share))
    return torch.stack(out)


def _interval_mean(found: Tensor, share: float) -> Tensor:
    """The mean over the lowest `share` of [n, ...], at least one."""
    return found.topk(max(1, int(share * len(found))), 0, largest=False).values.mean(0)


class Ring:
    """The last parts of a line, against which the next is scored as by `mutual`, at the cost of as many products.

    Args:
        size: How many parts are kept, at least 1.
        share: As for `mutual`.
        within: As for `mutual`.
        dtype: What they are kept in.
    """

    def __init__(
        self, size: int, share: float = 0.3, within: int | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        if size < 1:
            raise ValueError(f"size {size}: a ring keeps at least one part")
        _check_share(share)
        self.size, self.share, self.within, self.dtype = size, share, within, dtype
        self._kept: Tensor | None = None
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self.size)

    def score(self, part: Tensor) -> Tensor:
        """float32 [R, C] of a part [R, C, d] that is not in the ring.

        Raises:
            ValueError: the ring is empty, or as for `nearest`.
        """
        if self._kept is None:
            raise ValueError("an empty ring scores nothing")
        check_finite("part", part)
        return _interval_mean(nearest(part[None], self._kept[: len(self)], self.within)[0], self.share)

    def add(self, part: Tensor) -> None:
        """Keep a part [R, C, d], of the first one's shape, in place of the oldest where the ring is full."""
        check_maps("part", part[None])
        check_finite("part", part)
        if self._kept is None:
            self._kept = part.new_empty(self.size, *part.shape, dtype=self.dtype)
        if part.shape != self._kept.shape[1:]:
            raise ValueError(f"part {list(part.shape)}: the ring keeps {list(self._kept.shape[1:])}")
        self._kept[self._count % self.size] = part
        self._count += 1

    def parts(self) -> Tensor:
        """What is kept, [n, R, C, d], the oldest first.

        Raises:
            ValueError: the ring is empty.
        """
        if self._kept is None:
            raise ValueError("an empty ring has no parts")
        first = self._count % self.size if self._count > self.size else 0
        return self._kept[: len(self)].roll(-first, 0)


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
    points = pictures[typical].double()
    taken = [0]
    left = torch.full_like(points[:, 0], torch.inf)
    while len(taken) < count:
        left = torch.minimum(left, (points - points[taken[-1]]).square().sum(1))
        left[taken] = -torch.inf
        taken.append(int(left.argmax()))
    return [int(typical[one]) for one in taken]


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise ValueError(f"share {share} is not above 0 and at most 1")
