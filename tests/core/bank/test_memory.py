import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.bank import neighbours
from core.bank.memory import (
    Index,
    Memory,
    distances,
    index_in_steps,
    make_index,
    reference_map,
    remember,
    search,
)
from core.vision import Features
from core.windows import make_windows

CPU = torch.device("cpu")
WINDOWS = [make_windows((5, 5), scale) for scale in (2, 3)]


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def features(batch: int, seed: int = 9) -> Features:
    windows = tuple(unit(batch, len(one.index), 32, seed=seed) for one in WINDOWS)
    return Features(unit(batch, 32), windows, (), unit(batch, 25, 48, seed=seed))


def shot(seed: int) -> Memory:
    return remember(features(1, seed))


def together(shots: list[Memory]) -> Memory:
    windows = tuple(torch.cat(one) for one in zip(*(shot.windows for shot in shots), strict=True))
    return Memory(windows, torch.cat([shot.patches for shot in shots]))


@pytest.mark.parametrize("chunk", [1, 1000, 1 << 22])
def test_a_search_is_the_distance_to_the_nearest_shot(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CHUNK", {"cpu": chunk})
    shots = [shot(seed) for seed in range(7)]
    query = features(3)
    expected = distances(query, together(shots)).nearest([range(7)])
    found = search(query, make_index(shots, CPU))
    for ours, theirs in zip((*found.windows, found.patches), (*expected.windows, expected.patches), strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, atol=1e-6)
    one_map = reference_map(found, WINDOWS)
    assert torch.allclose(one_map, reference_map(expected, WINDOWS), atol=1e-6)
    assert one_map.shape == (3, 1, 25)


def test_a_known_picture_is_at_no_distance_and_its_opposite_at_one() -> None:
    query = features(1)
    index = make_index([remember(query)], CPU)
    assert float(search(query, index).patches.max()) < 1e-6
    opposite = Index(tuple(-one for one in index.windows), -index.patches[:1])
    assert float(search(query, opposite).patches[0, 0, 0]) == pytest.approx(1.0)


def test_half_precision_finds_in_half_and_measures_in_full() -> None:
    shots = [shot(seed) for seed in range(4)]
    kept = [Memory(tuple(one.half() for one in shot.windows), shot.patches.half()) for shot in shots]
    query = features(2)
    exact = search(query, make_index(shots, CPU))
    assert make_index(kept, CPU).patches.dtype == torch.float32
    assert torch.allclose(search(query, make_index(kept, CPU)).patches, exact.patches, atol=1e-3)
    same = remember(query)
    half = Index(tuple(one[0].half() for one in same.windows), same.patches[0].half())
    found = search(query, half)
    assert found.patches.dtype == torch.float32
    assert float(found.patches[0].max()) < 1e-5  # where float16 cosines are 5e-4 apart
    assert torch.allclose(distances(query, kept[0]).patches, distances(query, shots[0]).patches, atol=1e-3)


def test_above_the_limit_few_features_stand_for_all() -> None:
    base = shot(0)
    shots = []
    for seed in range(20):  # the same part again and again
        noise = shot(100 + seed)
        windows = tuple(F.normalize(a + 0.02 * b, dim=-1) for a, b in zip(base.windows, noise.windows, strict=True))
        shots.append(Memory(windows, F.normalize(base.patches + 0.02 * noise.patches, dim=-1)))
    index = make_index(shots, CPU, limit=30)
    assert [len(one) for one in (*index.windows, index.patches)] == [30, 30, 30]
    assert [len(one) for one in make_index(shots[:1], CPU, limit=30).windows] == [16, 9]
    query = Features(unit(1, 32), shots[3].windows, (), shots[3].patches)
    assert float(search(query, index).patches.max()) < 0.001  # 25 clusters, and 30 points to cover them
    assert torch.equal(index.patches, make_index(shots, CPU, limit=30).patches)


def test_a_shot_that_is_left_out_is_compared_with_the_others_and_no_view_of_itself() -> None:
    shots, owners = [shot(seed) for seed in range(6)], [7, 7, 2, 5, 5, 5]
    index = make_index(shots, CPU, owners=owners)
    for owner in set(owners):
        others = make_index([one for one, whose in zip(shots, owners, strict=True) if whose != owner], CPU)
        found = index.without(owner)
        assert found is not None
        for ours, theirs in zip((*found.windows, found.patches), (*others.windows, others.patches), strict=True):
            assert torch.equal(ours, theirs)
        assert all(owner not in whose for whose in found.owners)
    assert found.without(8) is not None
    assert make_index(shots[:2], CPU, owners=[7, 7]).without(7) is None, "nothing is left"
    assert make_index(shots, CPU).without(7) is None, "nobody said whose they are"
    with pytest.raises(ValueError, match="zip"):
        make_index(shots, CPU, owners=[1, 2])
    with pytest.raises(ValueError, match="several pictures"):
        make_index([together(shots)], CPU, owners=[1])


def test_what_is_thinned_keeps_its_owner() -> None:
    shots = [shot(seed) for seed in range(6)]
    index = make_index(shots, CPU, limit=30, owners=range(6))
    for points, owners, bank in zip(
        (*index.windows, index.patches), index.owners, (*together(shots).windows, together(shots).patches), strict=True
    ):
        assert len(points) == len(owners) == 30
        likeness = torch.einsum("md,snd->msn", points, bank).amax(-1)
        assert torch.equal(likeness.argmax(1), owners)
    left_out = index.without(0)
    assert left_out is not None
    query = Features(unit(1, 32), shots[0].windows, (), shots[0].patches)
    exact = make_index(shots[1:], CPU)
    assert bool((search(query, left_out).patches >= search(query, exact).patches - 1e-6).all()), "never nearer"


def test_an_index_is_made_in_short_steps() -> None:
    shots = [shot(seed) for seed in range(30)]
    steps = list(index_in_steps(shots, CPU, 500, range(30)))
    assert len(steps) > 10, "thinning goes block by block"


def test_what_is_no_index_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one shot"):
        make_index([], CPU)
    with pytest.raises(ValueError, match="limit 0"):
        make_index([shot(0)], CPU, limit=0)
    with pytest.raises(ValueError, match="patches=True"):
        search(Features(unit(1, 32), (), (), None), make_index([shot(0)], CPU))
