"""Few-shot scorers: features of parts in, distances of their patches out.

A feature map is a floating tensor [R, C, d]: R rows and C columns of patches, d numbers each, normalised as the caller
sees fit. Distances are Euclidean, in the unit of the features, float32, 0 and above; `cosine` turns those of unit
vectors into (1 - cos) / 2. `within` holds a patch to the same place: it is compared only with patches at most so many
rows and so many columns away (0: the same patch, None: anywhere), which finds the missing part in a fixture.

Whatever is not a finite number is refused with a ValueError that names it, and so are shapes that do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from core.bank.memory import Index, search
from core.vision import Features

# Products in memory at a time; a GPU is kept busy by more.
_CHUNK = {"cpu": 1 << 22, "cuda": 1 << 25}
# |q - b|² = |q|² + |b|² - 2 q·b loses its digits where the two are alike. Below this share of |q|² it is measured anew,
# from the difference: a distance is good to 1e-5 |q|. Only which of several is the nearest stays as the product says,
# so that one may be taken whose squared distance is 1e-6 |q|² more than the least.
_ALIKE = 4e-3


def nearest(query: Tensor, bank: Tensor, within: int | None = None) -> Tensor:
    """The distance of each patch of B parts to the nearest patch of each of S shots, min_j |q - b_j|.

    The least over the shots is the caller's, so that leaving one out costs nothing:
    `nearest(shots, shots)[i, others].amin(0)`. Of unit vectors, with the least over all shots and without masks,
    2 * `cosine` of it is AnomalyDINO's 1 - cos to the nearest neighbour (Damm et al., WACV 2025), and `top_mean` with a
    share of 0.01 of that its score of the image.

    Args:
        query: [B, R, C, d].
        bank: [S, R, C, d], on the same device. float16 or bfloat16 on CUDA is searched in that precision, which for
            about unit vectors may miss the nearest for one that is 1e-3 farther (squared), and measured in float32.
        within: The place a patch is held to, patches; None for none.

    Returns:
        float32 [B, S, R, C].

    Raises:
        ValueError: shapes do not fit, nothing to compare with, `within` is negative, or not all numbers are finite.
    """
    return _nearest(query, bank, within, free=within is None, held=within is not None)[0]


def nearest_both(query: Tensor, bank: Tensor, within: int) -> tuple[Tensor, Tensor]:
    """What `nearest` gives without a place and with one, from the same products: the cost is that of one."""
    free, held = _nearest(query, bank, within, free=True, held=True)
    return free, held


def nearest_each_way(part: Tensor, bank: Tensor, within: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `nearest_both` gives of a part [R, C, d] against shots [S, R, C, d], and of each of them against the part.

    From the same products: leaving each of S shots out takes S (S - 1) / 2 comparisons of two maps.

    Returns:
        Four of float32 [S, R, C]: the part's patches without a place and with one, then the shots' patches.

    Raises:
        ValueError: as `nearest`.
    """
    _check_alike(part[None], bank)
    shots, rows, cols, _ = bank.shape
    size = rows * cols
    near = _neighbours(rows, cols, _check_within(within)).to(part.device)
    query = part.float().flatten(0, 1)
    lengths = _squared_lengths("part", query)
    found = [query.new_empty(shots, size) for _ in range(4)]
    group = max(1, _CHUNK.get(part.device.type, _CHUNK["cpu"]) // size**2)
    dtype = _precision(bank)
    for start in range(0, shots, group):
        some = bank[start : start + group].flatten(1, 2)
        fine = some.float()
        others = _squared_lengths("bank", fine)
        product = query.to(dtype) @ some.to(dtype).flatten(0, 1).T
        product = product.view(size, len(some), size)
        # q·b - |b|² / 2 is greatest where |q - b| is least, and for the shots' patches q·b - |q|² / 2.
        there = product - (others / 2).to(dtype)
        back = (product - (lengths / 2).to(dtype)[:, None, None]).permute(1, 2, 0).reshape(-1, 1, size)
        for place, table in enumerate((None, near)):
            squared = _least(there, query, lengths, fine, table)
            found[place][start : start + group] = squared.T
            table = None if table is None else table.repeat(len(some), 1)
            squared = _least(back, fine.flatten(0, 1), others.flatten(), query[None], table)
            found[2 + place][start : start + group] = squared.view(-1, size)
    free, held, back_free, back_held = (one.clamp_min_(0).sqrt_().view(shots, rows, cols) for one in found)
    return free, held, back_free, back_held


def nearest_point(query: Tensor, points: Tensor) -> Tensor:
    """The distance [B, R, C] of each patch of [B, R, C, d] to the nearest of points [M, d] of no place.

    For a bank that `core.bank.coreset.select` has thinned; found by `core.bank.memory.search`, so all must be of unit
    length. Below a distance of 0.03 it is good to 3e-4 only.
    """
    check_maps("query", query)
    if points.ndim != 2 or not len(points) or points.shape[1] != query.shape[3]:
        raise ValueError(f"points {list(points.shape)}: features {list(query.shape)} need [M, {query.shape[3]}]")
    check_finite("query", query)
    check_finite("points", points)
    features = Features(query.new_empty(len(query), 0), (), (), query.float().flatten(1, 2))
    return 2 * search(features, Index((), points)).patches.sqrt().view(query.shape[:3])


def cosine(distances: Tensor) -> Tensor:
    """(1 - cos) / 2, in [0, 1], of unit vectors at Euclidean `distances`: |q - b|² = 2 - 2 cos."""
    return (distances.square() / 4).clamp(0, 1)


def _nearest(query: Tensor, bank: Tensor, within: int | None, *, free: bool, held: bool) -> list[Tensor]:
    """[B, S, R, C] without a place and held to one, whichever is asked for."""
    _check_alike(query, bank)
    parts, rows, cols, _ = query.shape
    tables: list[Tensor | None] = [None] * free
    if held:
        tables.append(_neighbours(rows, cols, _check_within(within)).to(query.device))
    queries, shots = query.float().flatten(0, 2), bank.flatten(1, 2)
    lengths = _squared_lengths("query", queries)
    size, chunk = rows * cols, _CHUNK.get(query.device.type, _CHUNK["cpu"])
    step = min(len(queries), max(1, chunk // size))
    group = max(1, chunk // (step * size))
    found = [queries.new_empty(len(queries), len(bank)) for _ in tables]
    places = torch.arange(len(queries), device=query.device) % size
    dtype = _precision(bank)
    for shot in range(0, len(bank), group):
        some = shots[shot : shot + group]
        fine = some.float()
        half = _squared_lengths("bank", fine).flatten() / -2
        sides = some.to(dtype).flatten(0, 1).T
        for row in range(0, len(queries), step):
            here = slice(row, row + step)
            # q·b - |b|² / 2 is greatest where |q - b| is least.
            product = torch.addmm(half.to(dtype)[None], queries[here].to(dtype), sides)
            product = product.view(-1, len(some), size)
            for table, to in zip(tables, found, strict=True):
                near = None if table is None else table[places[here]]
                squared = _least(product, queries[here], lengths[here], fine, near)
                to[here, shot : shot + group] = squared.clamp_min_(0).sqrt_()
    return [one.view(parts, size, -1).transpose(1, 2).reshape(parts, -1, rows, cols) for one in found]


def _precision(bank: Tensor) -> torch.dtype:
    """What products with `bank` are computed in; on a CPU, half precision would only be slower."""
    return bank.dtype if bank.device.type == "cuda" and bank.itemsize == 2 else torch.float32


def _least(product: Tensor, queries: Tensor, lengths: Tensor, shots: Tensor, near: Tensor | None) -> Tensor:
    """|q - b|² [Q, n] to the nearest b of each shot, from q·b - |b|² / 2 [Q, n, M], among `near` [Q, K] or all."""
    if near is not None:
        product = product.gather(2, near[:, None].expand(-1, product.shape[1], -1))
    squared = lengths[:, None] - 2 * product.amax(-1).float()
    alike = squared <= _ALIKE * lengths[:, None]
    if product.dtype != torch.float32:
        alike.fill_(True)
    which = alike.flatten().nonzero()[:, 0]
    if len(which):
        best = product.flatten(0, 1).index_select(0, which).argmax(-1)
        row, shot = which // len(shots), which % len(shots)
        best = best if near is None else near[row, best]
        nearest_ones = shots.flatten(0, 1).index_select(0, shot * shots.shape[1] + best)
        squared.view(-1)[which] = nearest_ones.sub_(queries.index_select(0, row)).square_().sum(-1)
    return squared


def _neighbours(rows: int, cols: int, within: int) -> Tensor:
    """int64 [R * C, K]: the patches within so many rows and columns of each; at an edge some stand there twice."""

    def axis(length: int) -> Tensor:
        reach = min(within, length - 1)
        offsets = torch.arange(-reach, reach + 1)
        return (torch.arange(length)[:, None] + offsets).clamp(0, length - 1)

    down, across = axis(rows), axis(cols)
    return (down[:, None, :, None] * cols + across[None, :, None, :]).reshape(rows * cols, -1)


@dataclass(frozen=True, eq=False)
class Moments:
    """What a subspace of one or several shots is fitted from; sums, so those of more shots add up.

    To leave a shot out is to subtract it: `fit_moments(whole - one)` costs an eigendecomposition, and no patch is read.

    Attributes:
        shots: How many.
        total: sum_s x_s, float64 [R, C, d].
        product: sum_s sum_p x_sp x_sp^T over patches p, float64 [d, d].
    """

    shots: int
    total: Tensor
    product: Tensor

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.shots + other.shots, self.total + other.total, self.product + other.product)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.shots - other.shots, self.total - other.total, self.product - other.product)


@dataclass(frozen=True, eq=False)
class Subspace:
    """Where the patches of good parts lie.

    Attributes:
        mean: float32 [d]; or [R, C, d], where it is held to a place.
        basis: Orthonormal columns, largest variance first, float32 [d, k]; k is 0 where nothing varies.
    """

    mean: Tensor
    basis: Tensor


def moments(bank: Tensor) -> Moments:
    """The moments of S shots [S, R, C, d]; of one of them, `moments(bank[s : s + 1])`."""
    check_maps("bank", bank)
    check_finite("bank", bank)
    size = bank.shape[3]
    total = bank.new_zeros(bank.shape[1:], dtype=torch.float64)
    product = bank.new_zeros(size, size, dtype=torch.float64)
    for shot in bank:
        wide = shot.double()
        total += wide
        product.addmm_(wide.flatten(0, 1).T, wide.flatten(0, 1))
    return Moments(len(bank), total, product)


def fit_subspace(bank: Tensor, explained: float = 0.99, within: int | None = None) -> Subspace:
    """The subspace of the patches of S shots [S, R, C, d]: `fit_moments` of their `moments`."""
    return fit_moments(moments(bank), explained, within)


def fit_moments(whole: Moments, explained: float = 0.99, within: int | None = None) -> Subspace:
    """The mean of all patches and their first principal components ("SubspaceAD", CVPR 2026).

    k is the least for which the k largest eigenvalues of the covariance add up to `explained` of all.

    Held to a place, one subspace for each would have too few patches to be fitted from. So only the mean is the
    place's: that of all shots' patches within so many rows and columns. The basis stays one, of what is left of each
    patch after its place's mean: how parts of a line differ, not how one place of the part differs from another,
    which is what a missing part looks like. Of one shot, `within=0` leaves nothing, and the residual is the distance to
    the same patch.

    Args:
        whole: Of at least one shot.
        explained: Share of the variance, above 0 and at most 1.
        within: The place a patch is held to, patches; None for none.

    Raises:
        ValueError: no shots, or a number out of its range.
    """
    if whole.shots < 1:
        raise ValueError("a subspace needs at least one shot")
    if not 0 < explained <= 1:
        raise ValueError(f"explained {explained}: a share of the variance is above 0 and at most 1")
    total = whole.total.flatten(0, 1)
    if within is None:
        mean = total.sum(0) / (whole.shots * len(total))
        scatter = whole.product - whole.shots * len(total) * torch.outer(mean, mean)
    else:
        mean = pooled(whole.total[None] / whole.shots, [2 * _check_within(within) + 1])[0][0]
        flat = mean.flatten(0, 1)
        cross = total.T @ flat
        scatter = whole.product - cross - cross.T + whole.shots * flat.T @ flat
    values, vectors = torch.linalg.eigh(scatter)
    values, vectors = values.flip(0), vectors.flip(1)
    # What rounding leaves of nothing is nothing: equal features have no direction.
    least = torch.finfo(torch.float64).eps * len(values) * whole.product.trace()
    sums = values.where(values > least, 0.0).cumsum(0)
    count = int((sums < explained * sums[-1]).sum()) + 1 if float(sums[-1]) > 0 else 0
    return Subspace(mean.float(), vectors[:, :count].float().contiguous())


def residual(query: Tensor, subspace: Subspace, *, squared: bool = False) -> Tensor:
    """How far each patch [B, R, C, d] is from the subspace, |(I - U U^T) (x - mean)|: float32 [B, R, C].

    SubspaceAD's score of a patch is its square (`squared`), not normalised, and its score of an image the mean of the
    1 % highest (`top_mean`) of a map enlarged to pixels and smoothed.
    """
    check_maps("query", query)
    mean, basis = subspace.mean, subspace.basis
    if query.shape[3] != len(basis) or (mean.ndim == 3 and mean.shape != query.shape[1:]):
        raise ValueError(f"query {list(query.shape)} is not of the subspace's shape, {list(mean.shape)}")
    check_finite("query", query)
    out = []
    for part in query:
        apart = part.float() - mean
        out.append((apart - apart @ basis @ basis.T).square_().sum(-1))
    found = torch.stack(out)
    return found if squared else found.sqrt()


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


def place_ratio(bank: Tensor, within: int = 2, most: int = 16) -> float:
    """How much farther patches of shots are from those of the same place than from those of anywhere, 1 or more.

    Each shot is measured against all others; the 99 % quantile of distances within the place over that of free ones.
    About 1.0 to 1.2 for parts in a fixture, where `within` is sensible, and 1.8 for parts that lie anyhow.

    Args:
        bank: [S, R, C, d] of at least two shots; variants of the same shot must not be among them.
        within: The place, patches.
        most: Of more shots so many are taken, evenly spaced, since the cost grows with their square; at least 2.

    Returns:
        1.0 where both are 0; infinity where only the free one is.

    Raises:
        ValueError: fewer than two shots, or as for `nearest`.
    """
    check_maps("bank", bank)
    if len(bank) < 2 or most < 2:
        raise ValueError(f"{len(bank)} shots, of which {most} at most: to leave one out takes two")
    if len(bank) > most:
        bank = bank[torch.linspace(0, len(bank) - 1, most).round().long().to(bank.device)]
    check_finite("bank", bank)
    quantiles = []
    both = [nearest_both(bank[i : i + 1], bank, within) for i in range(len(bank))]
    for kind in zip(*both, strict=True):
        least = [torch.cat([one[0, :i], one[0, i + 1 :]]).amin(0) for i, one in enumerate(kind)]
        ordered = torch.stack(least).flatten().sort().values
        quantiles.append(float(ordered[round(0.99 * (len(ordered) - 1))]))
    free, held = quantiles
    if free == 0:
        return 1.0 if held == 0 else float("inf")
    return held / free


def check_maps(name: str, maps: Tensor) -> None:
    """Refuse what is not one feature map or more."""
    if maps.ndim != 4 or not maps.numel() or not maps.is_floating_point():
        raise ValueError(
            f"{name} is {maps.dtype} {list(maps.shape)}, which is no floating [S, R, C, d] of 1 and more each"
        )


def _check_alike(query: Tensor, bank: Tensor) -> None:
    check_maps("query", query)
    check_maps("bank", bank)
    if query.shape[1:] != bank.shape[1:]:
        raise ValueError(f"query {list(query.shape)} and bank {list(bank.shape)} differ in rows, columns or dimensions")


def _check_within(within: int | None) -> int:
    if within is None or within < 0:
        raise ValueError(f"within {within}: a place is 0 or more patches around a patch")
    return within


def check_finite(name: str, values: Tensor) -> None:
    """Refuse values that are not all finite numbers: their sum is none either."""
    if not bool(values.sum(dtype=torch.float64).isfinite()):
        raise ValueError(f"{name} has values that are not finite numbers")


def _squared_lengths(name: str, rows: Tensor) -> Tensor:
    """|x|² over the last dimension; refuses what is not finite, and what is too large to be squared."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1).square_()
    if not bool(lengths.isfinite().all()):
        raise ValueError(f"{name} has values that are not finite numbers, or too large to be squared")
    return lengths
