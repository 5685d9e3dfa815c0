"""Nearest neighbours: how far features of parts are from the nearest of normal shots. All of few-shot searches here.

Distances are Euclidean, in the unit of the features, float32, 0 and above; `cosine` turns those of unit vectors into
(1 - cos) / 2. `within` holds a patch to the same place: it is compared only with patches at most so many rows and so
many columns away (0: the same patch, None: anywhere), which finds the missing part in a fixture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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
    return _of_maps(query, bank, [within])[0]


def nearest_both(query: Tensor, bank: Tensor, within: int) -> tuple[Tensor, Tensor]:
    """What `nearest` gives without a place and with one, from the same products: the cost is that of one."""
    free, held = _of_maps(query, bank, [None, check_within(within)])
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
    near = _around(rows, cols, check_within(within)).to(part.device)
    query = part.float().flatten(0, 1)
    lengths, dtype = _squared_lengths("part", query), _precision(bank)
    found = [query.new_empty(shots, size) for _ in range(4)]
    together = max(1, _CHUNK.get(part.device.type, _CHUNK["cpu"]) // size**2)
    for first in range(0, shots, together):
        some, here = bank[first : first + together].flatten(1, 2), slice(first, first + together)
        bank_lengths = _squared_lengths("bank", some)
        product = (query.to(dtype) @ some.to(dtype).flatten(0, 1).T).view(size, len(some), size)
        # q·b - |b|² / 2 is greatest where |q - b| is least, and for the shots' patches q·b - |q|² / 2.
        there = product - (bank_lengths / 2).to(dtype)
        back = (product - (lengths / 2).to(dtype)[:, None, None]).permute(1, 2, 0).reshape(-1, 1, size)
        others = some.float().flatten(0, 1)
        for place, table in enumerate((None, near)):
            found[place][here] = _least(there, query, lengths, some, table).T
            table = None if table is None else table.repeat(len(some), 1)
            found[2 + place][here] = _least(back, others, bank_lengths.flatten(), query[None], table).view(-1, size)
    free, held, back_free, back_held = (squared.clamp_min_(0).sqrt_().view(shots, rows, cols) for squared in found)
    return free, held, back_free, back_held


def nearest_units(query: Tensor, banks: Tensor) -> Tensor:
    """The distance [B, S, Q] of unit vectors [B, Q, d] to the nearest of each of S banks of unit vectors [S, M, d].

    Precisions are those of `nearest`. What is not a finite number is not refused: its distance is none either.
    """
    rows = query.float().flatten(0, 1)
    (squared,) = _search(rows, torch.full_like(rows[:, 0], 2.0), banks, None, [None])  # |q|² + |b|²
    return squared.sqrt_().view(*query.shape[:2], -1).transpose(1, 2)


def cosine(distances: Tensor) -> Tensor:
    """(1 - cos) / 2, in [0, 1], of unit vectors at Euclidean `distances`: |q - b|² = 2 - 2 cos."""
    return (distances.square() / 4).clamp(0, 1)


def check_maps(name: str, maps: Tensor) -> None:
    """Refuse what is not one feature map or more."""
    if maps.ndim != 4 or not maps.numel() or not maps.is_floating_point():
        raise ValueError(
            f"{name} is {maps.dtype} {list(maps.shape)}, which is no floating [S, R, C, d] of 1 and more each"
        )


def check_finite(name: str, values: Tensor) -> None:
    """Refuse values that are not all finite numbers: their sum is none either."""
    if not bool(values.sum(dtype=torch.float64).isfinite()):
        raise ValueError(f"{name} has values that are not finite numbers")


def check_within(within: int) -> int:
    """Refuse a negative place."""
    if within < 0:
        raise ValueError(f"within {within}: a place is 0 or more patches around a patch")
    return within


def _of_maps(query: Tensor, bank: Tensor, places: Sequence[int | None]) -> list[Tensor]:
    """[B, S, R, C] for each place that patches are held to."""
    _check_alike(query, bank)
    parts, rows, cols, _ = query.shape
    queries, banks = query.float().flatten(0, 2), bank.flatten(1, 2)
    lengths, bank_lengths = _squared_lengths("query", queries), _squared_lengths("bank", banks)
    tables = [
        None if within is None else _around(rows, cols, check_within(within)).to(query.device) for within in places
    ]
    found = _search(queries, lengths, banks, bank_lengths, tables)
    return [
        squared.sqrt_().view(parts, rows * cols, -1).transpose(1, 2).reshape(parts, -1, rows, cols) for squared in found
    ]


def _check_alike(query: Tensor, bank: Tensor) -> None:
    check_maps("query", query)
    check_maps("bank", bank)
    if query.shape[1:] != bank.shape[1:]:
        raise ValueError(f"query {list(query.shape)} and bank {list(bank.shape)} differ in rows, columns or dimensions")


def _search(
    queries: Tensor,
    lengths: Tensor,
    banks: Tensor,
    bank_lengths: Tensor | None,
    tables: Sequence[Tensor | None],
) -> list[Tensor]:
    """|q - b|² [Q, S] to the nearest b of each of S banks [S, M, d], for each table.

    Args:
        queries: float32 [Q, d].
        lengths: |q|² [Q]; |q|² + |b|² where that is the same for all b.
        banks: [S, M, d].
        bank_lengths: |b|² [S, M]; None where `lengths` has them.
        tables: Which of the M may be the nearest, int64 [P, K] for the query at row r in row r mod P; None: any.
    """
    size, chunk = banks.shape[1], _CHUNK.get(queries.device.type, _CHUNK["cpu"])
    step = min(len(queries), max(1, chunk // size))
    together = max(1, chunk // (step * size))
    dtype = _precision(banks)
    found = [queries.new_empty(len(queries), len(banks)) for _ in tables]
    rows = torch.arange(len(queries), device=queries.device)
    for first in range(0, len(banks), together):
        some = banks[first : first + together]
        sides = some.to(dtype).flatten(0, 1).T
        half = None if bank_lengths is None else (bank_lengths[first : first + together].flatten() / -2).to(dtype)[None]
        for start in range(0, len(queries), step):
            here = slice(start, start + step)
            # q·b - |b|² / 2 is greatest where |q - b| is least.
            sought = queries[here].to(dtype)
            product = sought @ sides if half is None else torch.addmm(half, sought, sides)
            product = product.view(-1, len(some), size)
            for table, squared in zip(tables, found, strict=True):
                near = None if table is None else table[rows[here] % len(table)]
                least = _least(product, queries[here], lengths[here], some, near)
                squared[here, first : first + together] = least.clamp_min_(0)
    return found


def _precision(banks: Tensor) -> torch.dtype:
    """What products with `banks` are computed in; on a CPU, half precision would only be slower."""
    return banks.dtype if banks.device.type == "cuda" and banks.itemsize == 2 else torch.float32


def _least(product: Tensor, queries: Tensor, lengths: Tensor, banks: Tensor, near: Tensor | None) -> Tensor:
    """|q - b|² [Q, n] to the nearest b of each of n banks, among `near` [Q, K] or all.

    `product` is q·b - |b|² / 2, or q·b where `lengths` has |b|², [Q, n, M].
    """
    if near is not None:
        product = product.gather(2, near[:, None].expand(-1, product.shape[1], -1))
    squared = lengths[:, None] - 2 * product.amax(-1).float()
    if product.dtype == torch.float32:
        which = (squared <= _ALIKE * lengths[:, None]).flatten().nonzero()[:, 0]
    else:
        which = torch.arange(squared.numel(), device=squared.device)
    if len(which):
        best = product.flatten(0, 1).index_select(0, which).argmax(-1)
        row, bank = which // len(banks), which % len(banks)
        best = best if near is None else near[row, best]
        neighbours = banks.flatten(0, 1).index_select(0, bank * banks.shape[1] + best).float()
        squared.view(-1)[which] = neighbours.sub_(queries.index_select(0, row)).square_().sum(-1)
    return squared


def _around(rows: int, cols: int, within: int) -> Tensor:
    """int64 [R * C, K]: the patches within so many rows and columns of each; at an edge some stand there twice."""

    def axis(length: int) -> Tensor:
        reach = min(within, length - 1)
        offsets = torch.arange(-reach, reach + 1)
        return (torch.arange(length)[:, None] + offsets).clamp(0, length - 1)

    down, across = axis(rows), axis(cols)
    return (down[:, None, :, None] * cols + across[None, :, None, :]).reshape(rows * cols, -1)


def _squared_lengths(name: str, rows: Tensor) -> Tensor:
    """|x|² over the last dimension; refuses what is not finite, and what is too large to be squared."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float32).square_()
    if not bool(lengths.isfinite().all()):
        raise ValueError(f"{name} has values that are not finite numbers, or too large to be squared")
    return lengths
