import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import Tensor

from core.bank import scorers as module
from core.bank.scorers import (
    Moments,
    Subspace,
    cosine,
    fit_moments,
    fit_subspace,
    moments,
    nearest,
    nearest_both,
    nearest_each_way,
    nearest_point,
    place_ratio,
    pooled,
    residual,
    top_mean,
)


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


def test_points_of_no_place_are_searched_as_an_index() -> None:
    query, bank = unit(2, 4, 5, 16), unit(3, 4, 5, 16, seed=1)
    assert close(nearest_point(query, bank.flatten(0, 2)), nearest(query, bank).amin(1))
    with pytest.raises(ValueError, match="points"):
        nearest_point(query, bank)
    with pytest.raises(ValueError, match="points has values that are not finite"):
        nearest_point(query, torch.full((2, 16), torch.nan))


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
        with pytest.raises(ValueError, match="bank has values"):
            moments(broken)
        with pytest.raises(ValueError, match="query has values"):
            residual(broken, fit_subspace(query))
        with pytest.raises(ValueError, match="maps has values"):
            top_mean(broken)
    with pytest.raises(ValueError, match="within -1"):
        nearest(query, query, -1)


@pytest.mark.parametrize("explained", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(3, 6, 7, 20), (1, 3, 3, 20)])  # the second with fewer patches than dimensions
def test_a_subspace_is_the_pca_of_scikit_learn(explained: float, shape: tuple[int, int, int, int]) -> None:
    bank = normal(*shape) @ torch.diag(torch.logspace(0, -2, 20)) @ normal(20, 20, seed=2) + 3
    query = normal(2, *shape[1:], seed=1)
    ours = fit_subspace(bank, explained)
    theirs = PCA(explained, svd_solver="full").fit(bank.double().reshape(-1, 20).numpy())
    assert ours.basis.shape == (20, theirs.n_components_)
    assert np.allclose(ours.mean, theirs.mean_, atol=1e-5)
    signs = np.sign((ours.basis.numpy().T * theirs.components_).sum(1, keepdims=True))
    assert np.allclose(ours.basis.numpy().T * signs, theirs.components_, atol=1e-4)
    flat = query.double().reshape(-1, 20).numpy()
    apart = ((flat - theirs.inverse_transform(theirs.transform(flat))) ** 2).sum(1)
    assert np.allclose(residual(query, ours, squared=True).flatten(), apart, rtol=1e-4, atol=1e-5)
    assert torch.allclose(residual(query, ours).square(), residual(query, ours, squared=True), rtol=1e-5)


@pytest.mark.parametrize("within", [None, 0, 1])
def test_a_shot_is_left_out_by_subtraction(within: int | None) -> None:
    bank = normal(4, 3, 5, 6) + 2
    each = [moments(bank[i : i + 1]) for i in range(4)]
    whole = each[0] + each[1] + each[2] + each[3]
    assert whole.shots == 4
    assert torch.allclose(whole.product, moments(bank).product)
    for i, one in enumerate(each):
        others = bank[[j for j in range(4) if j != i]]
        ours, theirs = fit_moments(whole - one, 0.9, within), fit_subspace(others, 0.9, within)
        assert torch.allclose(ours.mean, theirs.mean, atol=1e-6)
        assert torch.allclose(ours.basis @ ours.basis.T, theirs.basis @ theirs.basis.T, atol=1e-5)


def test_held_to_a_place_a_subspace_is_of_what_is_left_after_its_mean() -> None:
    bank = normal(5, 4, 6, 8)
    ours = fit_subspace(bank, 0.8, 1)
    mean = torch.zeros(4, 6, 8)
    for r in range(4):
        for c in range(6):
            mean[r, c] = bank[:, max(0, r - 1) : r + 2, max(0, c - 1) : c + 2].flatten(0, 2).mean(0)
    assert torch.allclose(ours.mean, mean, atol=1e-5)
    left = (bank - mean).double().reshape(-1, 8)
    values, vectors = np.linalg.eigh((left.T @ left).numpy())
    sums = values[::-1].cumsum() / values.sum()
    count = int(np.argmax(sums >= 0.8)) + 1
    assert ours.basis.shape == (8, count)
    basis = vectors[:, ::-1][:, :count]
    assert np.allclose(ours.basis @ ours.basis.T, basis @ basis.T, atol=1e-5)


def test_a_missing_part_is_seen_by_a_subspace_that_is_held_to_its_place() -> None:
    background, pin = unit(1, 2, 1, 16)[0, :, 0]
    good = background.expand(5, 6, 6, 16).clone()
    good[:, 1:4, 1:4] = pin
    good += 0.01 * normal(5, 6, 6, 16, seed=1)
    empty = (background + 0.01 * normal(1, 6, 6, 16, seed=2)).expand(1, 6, 6, 16)
    free, held = fit_subspace(good[:4], 0.5), fit_subspace(good[:4], 0.5, 0)
    assert float(residual(empty, free).max()) < 1.5 * float(residual(good[4:], free).max())
    assert float(residual(empty, held)[0, 2, 2]) > 5 * float(residual(good[4:], held).max())


def test_subspaces_of_next_to_nothing() -> None:
    same = unit(1, 1, 1, 12).expand(3, 4, 4, 12)
    for within in (None, 0, 2):
        nothing = fit_subspace(same, 0.99, within)
        assert nothing.basis.shape == (12, 0)
        assert float(residual(same, nothing).max()) < 1e-6
        assert torch.allclose(residual(-same, nothing), torch.tensor(2.0))
    assert fit_subspace(unit(1, 1, 1, 12)).basis.shape == (12, 0)
    shot = unit(1, 3, 3, 12)
    alone = fit_subspace(shot, 0.99, 0)  # the distance to the same patch
    assert alone.basis.shape == (12, 0)
    assert close(residual(unit(2, 3, 3, 12, seed=4), alone), nearest(unit(2, 3, 3, 12, seed=4), shot, 0)[:, 0])
    full = fit_subspace(normal(4, 5, 5, 3), 1)
    assert full.basis.shape == (3, 3)
    assert float(residual(normal(1, 5, 5, 3, seed=9), full).max()) < 1e-5
    assert fit_subspace(normal(1, 1, 4, 30), 1).basis.shape == (30, 3)  # four patches span three directions


def test_what_is_no_subspace_is_refused() -> None:
    bank = unit(2, 3, 3, 4)
    one = moments(bank)
    with pytest.raises(ValueError, match="at least one shot"):
        fit_moments(one - one)
    for share in (0, 1.01):
        with pytest.raises(ValueError, match="explained"):
            fit_subspace(bank, share)
    with pytest.raises(ValueError, match="within -2"):
        fit_moments(Moments(2, one.total, one.product), 0.9, -2)
    with pytest.raises(ValueError, match="shape"):
        residual(unit(1, 3, 3, 5), fit_subspace(bank))
    with pytest.raises(ValueError, match="shape"):
        residual(unit(1, 3, 4, 4), fit_subspace(bank, 0.9, 1))
    assert residual(unit(1, 3, 4, 4), Subspace(torch.zeros(4), torch.zeros(4, 0))).shape == (1, 3, 4)


def test_pooling_counts_nothing_outside() -> None:
    maps = normal(2, 4, 6, 3)
    same, three, many = pooled(maps, (1, 3, 99))
    assert torch.equal(same, maps)
    assert torch.allclose(three[1, 2, 3], maps[1, 1:4, 2:5].flatten(0, 1).mean(0), atol=1e-6)
    assert torch.allclose(three[0, 0, 5], maps[0, 0:2, 4:6].flatten(0, 1).mean(0), atol=1e-6)
    assert torch.allclose(many, maps.mean((1, 2), keepdim=True).expand_as(maps), atol=1e-6)
    with pytest.raises(ValueError, match="extent 2"):
        pooled(maps, (1, 2))


def test_the_score_of_an_image_is_the_mean_of_its_highest() -> None:
    maps = torch.arange(200.0).view(1, 10, 20)
    assert top_mean(maps, 0).tolist() == [199]
    assert top_mean(maps, 0.01).tolist() == [198.5]
    assert top_mean(maps, 0.001).tolist() == [199]
    assert top_mean(maps, 1).tolist() == [99.5]
    with pytest.raises(ValueError, match="share 2"):
        top_mean(maps, 2)


def test_the_ratio_tells_a_fixture_from_a_heap() -> None:
    part = unit(1, 10, 10, 16)
    fixed = part + 0.05 * normal(5, 10, 10, 16, seed=1)
    assert 1 <= place_ratio(fixed) < 1.05
    lying = torch.stack([fixed[i].roll((3 * i, 5 * i), (0, 1)) for i in range(5)])
    assert place_ratio(lying) > 1.8
    assert place_ratio(lying, within=9) == pytest.approx(1)
    assert place_ratio(part.expand(3, -1, -1, -1)) == 1
    two = torch.stack([part[0], part[0].roll(5, 0)])
    assert place_ratio(two, 0) == math.inf
    assert 1 <= place_ratio(part + 0.05 * normal(40, 10, 10, 16, seed=1), most=3) < 1.05
    with pytest.raises(ValueError, match="leave one out"):
        place_ratio(part)
    with pytest.raises(ValueError, match="bank has values"):
        place_ratio(torch.cat([part * torch.nan, part]))


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
        nearest_each_way(part * math.nan, bank, 1)
