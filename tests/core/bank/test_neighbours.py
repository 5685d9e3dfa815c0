"""One search for all of few-shot: against patch by patch in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.bank import neighbours as module
from core.bank.neighbours import cosine, nearest, nearest_both, nearest_each_way, nearest_units
from core.bank.scorers import top_mean


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(normal(*shape, seed=seed), dim=-1)


def plain(query: Tensor, bank: Tensor, within: int | None) -> Tensor:
    """Patch against patch, in float64."""
    parts, rows, cols, _ = query.shape
    found = torch.full((parts, len(bank), rows, cols), torch.inf, dtype=torch.float64)
    for b in range(parts):
        for s in range(len(bank)):
            for r in range(rows):
                for c in range(cols):
                    top, left = (0, 0) if within is None else (max(0, r - within), max(0, c - within))
                    low, right = (rows, cols) if within is None else (r + within + 1, c + within + 1)
                    near = bank[s, top:low, left:right].double()
                    found[b, s, r, c] = (near - query[b, r, c].double()).square().sum(-1).min().sqrt()
    return found


def close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours.double(), theirs.double(), rtol=0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 5),
    cols=st.integers(1, 6),
    parts=st.integers(1, 3),
    shots=st.integers(1, 4),
    within=st.sampled_from([0, 1, 2, 9]),
    chunk=st.sampled_from([1, 40, 200, 1 << 22]),
    seed=st.integers(0, 99),
)
def test_it_is_the_least_distance_of_all(
    rows: int, cols: int, parts: int, shots: int, within: int, chunk: int, seed: int
) -> None:
    query, bank = unit(parts, rows, cols, 7, seed=seed), unit(shots, rows, cols, 7, seed=seed + 100)
    bank[0] = query[0] + 1e-3 * normal(rows, cols, 7, seed=seed)  # so alike that products lose their digits
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", {"cpu": chunk, "cuda": chunk})
        free, held = nearest_both(query, bank, within)
        assert torch.equal(nearest(query, bank), free)
        assert torch.equal(nearest(query, bank, within), held)
    assert free.shape == held.shape == (parts, shots, rows, cols)
    assert free.dtype == torch.float32
    assert close(free, plain(query, bank, None))
    assert close(held, plain(query, bank, within))
    assert bool((held >= free - 1e-6).all())
    if within == 9:
        assert close(held, free)


def test_the_same_patch_is_at_no_distance_and_lengths_need_not_be_one() -> None:
    bank = 30 * normal(3, 4, 5, 16) + 5
    found = nearest(bank, bank, 0)
    assert [float(found[i, i].max()) for i in range(3)] == [0, 0, 0]
    assert torch.allclose(nearest(bank, bank, 1).double(), plain(bank, bank, 1), rtol=1e-5, atol=1e-4)


def test_a_missing_part_is_only_seen_at_its_place() -> None:
    background, pin = unit(1, 2, 1, 8)[0, :, 0]
    shot = background.expand(1, 6, 6, 8).clone()
    shot[0, 1:3, 1:3] = pin
    empty = background.expand(1, 6, 6, 8)
    free, held = nearest_both(empty, shot, 0)
    assert float(free.max()) < 1e-6
    gone = torch.zeros(6, 6, dtype=torch.bool)
    gone[1:3, 1:3] = True
    assert torch.equal(held[0, 0] > 0.5, gone)
    assert float(nearest(empty, shot, 1).max()) < 1e-6  # a place as large as the part forgives it


def test_a_bank_in_half_precision_is_measured_in_full() -> None:
    query, bank = unit(2, 5, 5, 32), unit(3, 5, 5, 32, seed=1).half()
    assert close(nearest(query, bank, 1), plain(query, bank.float(), 1))
    assert nearest(query.half(), bank).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_found_in_half_precision_it_is_measured_in_full(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_precision", lambda bank: bank.dtype)  # as on CUDA
    bank = unit(3, 5, 5, 32, seed=1).to(dtype)
    for ours, within in zip(nearest_both(bank[:2].float(), bank, 1), (None, 1), strict=True):
        assert float(ours[0, 0].max()) == float(ours[1, 1].max()) == 0  # where products are 1e-3 and more off
        theirs = plain(bank[:2].float(), bank.float(), within)
        assert bool((ours >= theirs - 1e-6).all())
        assert float((ours.square() - theirs.square()).max()) < 8 * torch.finfo(dtype).eps


def test_leaving_one_out_is_the_least_over_the_others() -> None:
    bank = unit(4, 3, 3, 8)
    found = nearest(bank, bank)
    for i in range(4):
        others = [j for j in range(4) if j != i]
        assert close(found[i, others].amin(0), plain(bank[[i]], bank[others], None).amin(1)[0])


def test_it_scores_as_a_plain_reading_of_anomaly_dino() -> None:
    """Unit length; squared Euclidean distance to the nearest of all patches, halved; mean of the 1 % highest."""
    bank, query = normal(4, 12, 18, 48), normal(2, 12, 18, 48, seed=1)
    memory = bank.numpy().reshape(-1, 48).astype(np.float64)
    memory /= np.linalg.norm(memory, axis=1, keepdims=True)
    ours = 2 * cosine(nearest(F.normalize(query, dim=-1), F.normalize(bank, dim=-1)).amin(1))
    for part, map_ in zip(query, ours, strict=True):
        patches = part.numpy().reshape(-1, 48).astype(np.float64)
        patches /= np.linalg.norm(patches, axis=1, keepdims=True)
        theirs = ((patches[:, None] - memory[None]) ** 2).sum(-1).min(1) / 2
        assert np.allclose(theirs, (1 - patches @ memory.T).min(1))
        assert np.allclose(map_.flatten(), theirs, rtol=0, atol=1e-5)
        score = np.mean(sorted(theirs, reverse=True)[: int(len(theirs) * 0.01)])
        assert float(top_mean(map_, 0.01)) == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("chunk", [1, 40, 1 << 22])
def test_banks_of_no_place_are_searched_by_the_same_code(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", {"cpu": chunk})
    query, bank = unit(2, 4, 5, 16), unit(3, 4, 5, 16, seed=1)
    bank[1, 0, 0] = query[1, 2, 3]  # whose product has lost its digits
    found = nearest_units(query.flatten(1, 2), bank.flatten(1, 2))
    assert close(found, nearest(query, bank).flatten(2))
    assert float(found[1, 1, 13]) == 0
    pooled = nearest_units(query.flatten(1, 2), bank.flatten(0, 2)[None])
    assert close(pooled[:, 0], found.amin(1))


def test_a_feature_that_is_no_number_has_no_distance() -> None:
    query = unit(1, 3, 8)
    query[0, 1] = torch.nan
    assert nearest_units(query, unit(1, 5, 8, seed=1)).isnan().flatten().tolist() == [False, True, False]


def test_what_cannot_be_compared_is_refused() -> None:
    query = unit(1, 2, 3, 4)
    for bad, message in [
        (unit(1, 3, 2, 4), "differ in rows"),
        (unit(2, 3, 4), r"bank is torch.float32 \[2, 3, 4\]"),
        (unit(0, 2, 3, 4), r"bank is torch.float32 \[0, 2, 3, 4\]"),
        (torch.zeros(1, 2, 3, 4, dtype=torch.long), "bank is torch.int64"),
    ]:
        with pytest.raises(ValueError, match=message):
            nearest(query, bad)
    for value in (torch.nan, torch.inf, -torch.inf):
        broken = query.clone()
        broken[0, 1, 1, 2] = value
        with pytest.raises(ValueError, match="query has values that are not finite"):
            nearest(broken, query)
        with pytest.raises(ValueError, match="bank has values that are not finite"):
            nearest(query, broken)
    with pytest.raises(ValueError, match="within -1"):
        nearest(query, query, -1)
    with pytest.raises(ValueError, match="within -1"):
        nearest_both(query, query, -1)


@pytest.mark.parametrize("chunk", [1, 1 << 22])
def test_each_way_is_nearest_there_and_back(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._CHUNK, "cpu", chunk)
    maps = torch.randn(6, 5, 4, 7, generator=torch.Generator().manual_seed(3))
    maps[4] = maps[0] + 1e-4  # nearly the same part
    maps[5, 0] = maps[0, 0]
    part, bank = maps[0], maps[1:]
    free, held, back_free, back_held = nearest_each_way(part, bank, 1)
    for found, wanted in (
        (free, nearest(part[None], bank)[0]),
        (held, nearest(part[None], bank, 1)[0]),
        (back_free, nearest(bank, part[None])[:, 0]),
        (back_held, nearest(bank, part[None], 1)[:, 0]),
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="differ in rows"):
        nearest_each_way(part[:3], bank, 1)
    with pytest.raises(ValueError, match="part has values"):
        nearest_each_way(part * float("nan"), bank, 1)
