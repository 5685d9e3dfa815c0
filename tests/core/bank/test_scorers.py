import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from core.bank.neighbours import nearest
from core.bank.scorers import Subspace, fit_subspace, pooled, residual, top_mean
from tests.core.bank.test_neighbours import close, normal, unit


def test_what_is_no_number_is_refused() -> None:
    query = unit(1, 2, 3, 4)
    for value in (torch.nan, torch.inf, -torch.inf):
        broken = query.clone()
        broken[0, 1, 1, 2] = value
        with pytest.raises(ValueError, match="bank has values"):
            fit_subspace(broken)
        with pytest.raises(ValueError, match="query has values"):
            residual(broken, fit_subspace(query))
        with pytest.raises(ValueError, match="maps has values"):
            top_mean(broken)


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
    assert np.allclose(residual(query, ours).square().flatten(), apart, rtol=1e-4, atol=1e-5)


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


def test_what_is_no_subspace_is_refused() -> None:
    bank = unit(2, 3, 3, 4)
    with pytest.raises(ValueError, match=r"bank is torch.float32 \[0, 3, 3, 4\]"):
        fit_subspace(bank[:0])
    for share in (0, 1.01):
        with pytest.raises(ValueError, match="explained"):
            fit_subspace(bank, share)
    with pytest.raises(ValueError, match="within -2"):
        fit_subspace(bank, 0.9, -2)
    with pytest.raises(ValueError, match="shape"):
        residual(unit(1, 3, 3, 5), fit_subspace(bank))
    with pytest.raises(ValueError, match="shape"):
        residual(unit(1, 3, 4, 4), fit_subspace(bank, 0.9, 1))
    assert residual(unit(1, 3, 4, 4), Subspace(torch.zeros(4), torch.zeros(4, 0))).shape == (1, 3, 4)
