"""Few-shot scorers beside the nearest neighbour (`neighbours`): a subspace of good patches, and the score of an image.

A feature map is a floating tensor [R, C, d]: R rows and C columns of patches, d numbers each, normalised as the caller
sees fit. `within` holds a patch to the same place, as in `neighbours`.

Whatever is not a finite number is refused with a ValueError that names it, and so are shapes that do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.bank.neighbours import check_finite, check_maps, check_within


@dataclass(frozen=True, eq=False)
class Subspace:
    """Where the patches of good parts lie.

    Attributes:
        mean: float32 [d]; or [R, C, d], where it is held to a place.
        basis: Orthonormal columns, largest variance first, float32 [d, k]; k is 0 where nothing varies.
    """

    mean: Tensor
    basis: Tensor


def fit_subspace(bank: Tensor, explained: float = 0.99, within: int | None = None) -> Subspace:
    """The mean of all patches and their first principal components ("SubspaceAD", CVPR 2026).

    k is the least for which the k largest eigenvalues of the covariance add up to `explained` of all.

    Held to a place, one subspace for each would have too few patches to be fitted from. So only the mean is the
    place's: that of all shots' patches within so many rows and columns. The basis stays one, of what is left of each
    patch after its place's mean: how parts of a line differ, not how one place of the part differs from another,
    which is what a missing part looks like. Of one shot, `within=0` leaves nothing, and the residual is the distance to
    the same patch.

    Args:
        bank: [S, R, C, d], of at least one shot.
        explained: Share of the variance, above 0 and at most 1.
        within: The place a patch is held to, patches; None for none.

    Raises:
        ValueError: no shots, a number out of its range, or not all numbers are finite.
    """
    check_maps("bank", bank)
    check_finite("bank", bank)
    if not 0 < explained <= 1:
        raise ValueError(f"explained {explained}: a share of the variance is above 0 and at most 1")
    shots, size = len(bank), bank.shape[3]
    total = bank.sum(0, dtype=torch.float64)  # [R, C, d]
    product = torch.zeros(size, size, dtype=torch.float64, device=bank.device)  # sum of x x^T over all patches
    for shot in bank:  # one at a time: in float64 all of them may not fit
        patches = shot.double().flatten(0, 1)
        product.addmm_(patches.T, patches)
    flat = total.flatten(0, 1)
    if within is None:
        mean = flat.sum(0) / (shots * len(flat))
        scatter = product - shots * len(flat) * torch.outer(mean, mean)
    else:
        mean = pooled(total[None] / shots, [2 * check_within(within) + 1])[0][0]
        means = mean.flatten(0, 1)
        cross = flat.T @ means
        scatter = product - cross - cross.T + shots * means.T @ means
    values, vectors = torch.linalg.eigh(scatter)
    values, vectors = values.flip(0), vectors.flip(1)
    # What rounding leaves of nothing is nothing: equal features have no direction.
    least = torch.finfo(torch.float64).eps * size * product.trace()
    sums = values.where(values > least, 0.0).cumsum(0)
    count = int((sums < explained * sums[-1]).sum()) + 1 if float(sums[-1]) > 0 else 0
    return Subspace(mean.float(), vectors[:, :count].float().contiguous())


def residual(query: Tensor, subspace: Subspace) -> Tensor:
    """How far each patch [B, R, C, d] is from the subspace, |(I - U U^T) (x - mean)|: float32 [B, R, C].

    SubspaceAD's score of a patch is its square, not normalised, and its score of an image the mean of the 1 % highest
    (`top_mean`) of a map enlarged to pixels and smoothed.
    """
    check_maps("query", query)
    mean, basis = subspace.mean, subspace.basis
    if query.shape[3] != len(basis) or (mean.ndim == 3 and mean.shape != query.shape[1:]):
        raise ValueError(f"query {list(query.shape)} is not of the subspace's shape, {list(mean.shape)}")
    check_finite("query", query)
    found = []
    for part in query:
        apart = part.float() - mean
        found.append((apart - apart @ basis @ basis.T).square_().sum(-1).sqrt_())
    return torch.stack(found)


def pooled(features: Tensor, extents: Sequence[int]) -> tuple[Tensor, ...]:
    """The mean over the r x r patches around each of [S, R, C, d], for each r of `extents`, which are odd.

    MuSc's aggregation (LNAMD), except at the edges: patches outside count as none here, there as zeros.
    """
    check_maps("features", features)
    if bad := [extent for extent in extents if extent < 1 or extent % 2 == 0]:
        raise ValueError(f"extent {bad[0]}: a neighbourhood has an odd side, 1 or more patches")
    maps = features.permute(0, 3, 1, 2)
    return tuple(
        features
        if extent == 1
        else F.avg_pool2d(maps, extent, 1, extent // 2, count_include_pad=False).permute(0, 2, 3, 1)
        for extent in extents
    )


def top_mean(maps: Tensor, share: float = 0.01) -> Tensor:
    """The score of an image: the mean of the highest `share` of its map [..., R, C], of int(share * R * C), at least 1.

    With 0.01, AnomalyDINO's and SubspaceAD's; with 0 the maximum, MuSc's.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share {share} is not in 0 to 1")
    check_finite("maps", maps)
    flat = maps.flatten(-2)
    return flat.topk(max(1, int(share * flat.shape[-1])), -1).values.mean(-1)
