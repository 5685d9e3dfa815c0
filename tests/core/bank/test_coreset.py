import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.bank.coreset import farthest_first, select


def unit(count: int, dim: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def radius(points: Tensor, chosen: Tensor) -> float:
    """The greatest distance from a point to the nearest of the chosen ones."""
    return float(torch.cdist(points, points[chosen]).amin(1).max())


def naive(points: Tensor, count: int, start: int) -> list[int]:
    """Farthest point first, with all distances in one matrix."""
    distance = torch.cdist(points, points)
    taken = [start]
    while len(taken) < count:
        taken.append(int(distance[taken].amin(0).argmax()))
    return taken


@pytest.mark.parametrize("seed", range(3))
def test_a_block_at_a_time_takes_what_one_at_a_time_would(seed: int) -> None:
    points = unit(700, 16, seed).double()
    chosen = select(points, 300, seed)
    assert chosen.dtype == torch.long
    assert chosen.tolist() == naive(points, 300, int(chosen[0]))


def test_the_radius_only_shrinks_and_a_smaller_selection_begins_a_larger() -> None:
    points = unit(400, 8)
    whole = select(points, 400, 5)
    assert sorted(whole.tolist()) == list(range(400))
    radii = [radius(points, whole[:count]) for count in range(1, 400, 13)]
    assert all(later <= earlier + 1e-6 for earlier, later in itertools.pairwise(radii))
    assert radius(points, whole) < 1e-3
    assert select(points, 60, 5).tolist() == whole[:60].tolist()


@pytest.mark.parametrize("seed", range(8))
def test_no_choice_of_as_many_points_is_twice_as_good(seed: int) -> None:
    points = unit(12, 3, seed)
    for count in (1, 2, 3, 4):
        best = min(radius(points, torch.tensor(one)) for one in itertools.combinations(range(12), count))
        assert radius(points, select(points, count, seed)) <= 2 * best + 1e-6


def test_each_of_some_far_clusters_gets_a_point_first() -> None:
    centres = unit(20, 32)
    points = F.normalize(centres.repeat_interleave(30, 0) + 0.01 * unit(600, 32, 1), dim=-1)
    for shortcut in ({}, {"dimensions": 16}, {"candidates": 400}):
        chosen = select(points, 20, 0, **shortcut)
        assert sorted((chosen // 30).tolist()) == list(range(20))


def test_the_same_seed_gives_the_same_and_identical_points_are_not_taken_twice() -> None:
    points = unit(5, 8).repeat(40, 1)
    chosen = select(points, 200, 3)
    assert sorted(chosen.tolist()) == list(range(200))
    assert set((chosen[:5] % 5).tolist()) == set(range(5))
    points = unit(500, 40)
    shortcuts = {"candidates": 300, "dimensions": 8}
    assert select(points, 50, 1, **shortcuts).tolist() == select(points.half(), 50, 1, **shortcuts).tolist()
    assert select(points, 50, 1, **shortcuts).tolist() != select(points, 50, 2, **shortcuts).tolist()
    assert len(set(select(points, 300, 1, **shortcuts).tolist())) == 300


@pytest.mark.parametrize(("count", "candidates"), [(0, None), (11, None), (6, 5)])
def test_a_count_that_cannot_be_is_refused(count: int, candidates: int | None) -> None:
    with pytest.raises(ValueError, match="cannot be selected"):
        select(unit(10, 4), count, 0, candidates=candidates)


def test_of_equally_far_points_the_first_is_taken() -> None:
    assert farthest_first(torch.zeros(70, 2), 5, 3).tolist() == [3, 0, 1, 2, 4]
