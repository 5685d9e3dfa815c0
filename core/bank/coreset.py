"""A few points that no other is far from: greedy k-centre selection (Gonzalez, 1985), as PatchCore thins its memory."""

from __future__ import annotations

import torch
from torch import Tensor

from core.steps import Steps, finish

# So many farthest points are measured against all others at once: a matrix product in place of as many passes over
# the points, which do not fit into a processor's cache.
_BLOCK = 64


def select(
    points: Tensor, count: int, seed: int, *, candidates: int | None = None, dimensions: int | None = None
) -> Tensor:
    """Indices of `count` different points, such that every point is near one of them.

    Beginning at a random one, the point farthest from those taken is taken next. The greatest distance that is left is
    at most twice the least possible for as many points, never grows with `count`, and a smaller selection of the same
    seed is the beginning of a larger one.

    Both shortcuts cost some of that. Above `candidates` points, as many are drawn uniformly and only they are looked
    at: what is seen in a single point is overlooked with a probability of 1 - candidates / M. Above `dimensions`,
    distances are measured after a random projection onto so many: each is off by some sqrt(1 / (2 * dimensions)), 6 %
    for 128, and the points taken are the farthest but for as much.

    Args:
        points: [M, d], of any floating type; on their device it is computed, in float32.
        count: How many, 1 to M; also at most `candidates`.
        seed: Of the first point, the drawing and the projection: the same give the same on the same device.
        candidates: The most that are looked at; None for all.
        dimensions: The most that distances are measured in; None for all.

    Returns:
        int64 [count], in the order of selection, on the device of `points`.

    Raises:
        ValueError: `count` is outside its range.
    """
    return finish(select_in_steps(points, count, seed, candidates=candidates, dimensions=dimensions))


def select_in_steps(
    points: Tensor, count: int, seed: int, *, candidates: int | None = None, dimensions: int | None = None
) -> Steps[Tensor]:
    """As `select`, in steps of one matrix product each."""
    most = len(points) if candidates is None else min(len(points), candidates)
    if not 1 <= count <= most:
        raise ValueError(f"{count} of {most} points cannot be selected; take 1 to {most}")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.arange(len(points))
    if most < len(points):
        drawn = torch.randperm(len(points), generator=generator)[:most].sort().values
        points = points[drawn.to(points.device)]
    points = points.float()
    if dimensions is not None and dimensions < points.shape[1]:
        projection = torch.randn(points.shape[1], dimensions, generator=generator) * dimensions**-0.5
        points = points @ projection.to(points.device)
    start = int(torch.randint(most, (), generator=generator))
    chosen = yield from _farthest_in_steps(points, count, start)
    return drawn.to(points.device)[chosen]


def farthest_first(points: Tensor, count: int, start: int) -> Tensor:
    """Greedy selection of `count` of points [M, d] from point `start`; exact, although it measures a block at a time.

    Distances to those taken only shrink. So while the farthest of the block is no nearer than its nearest was when it
    was drawn, no point outside the block can be farther.
    """
    return finish(_farthest_in_steps(points, count, start))


def _farthest_in_steps(points: Tensor, count: int, start: int) -> Steps[Tensor]:
    lengths = points.square().sum(1)

    def measure(rows: Tensor) -> Tensor:
        squared = torch.addmm(lengths[None], points[rows], points.T, alpha=-2)  # [rows, M]
        return squared.add_(lengths[rows, None])

    taken = [torch.tensor(start, device=points.device)]
    left = measure(taken[0][None])[0]  # squared distance of each point to the nearest that is taken
    left[start] = -torch.inf
    while len(taken) < count:
        yield
        farthest = left.topk(min(_BLOCK, len(points) - len(taken)))
        block, bound = farthest.indices.sort().values, farthest.values[-1]  # of equally far points the first
        squared = measure(block)
        while len(taken) < count:
            row = left[block].argmax()
            if left[block[row]] < bound:
                break
            taken.append(block[row])
            torch.minimum(left, squared[row], out=left)
            left[block[row]] = -torch.inf
    return torch.stack(taken)
