import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.windows import harmonic_mean, make_windows, to_patches

GRIDS = st.tuples(st.integers(3, 9), st.integers(3, 9))


def test_counts_of_the_papers_grid() -> None:
    assert make_windows((15, 15), 2).index.shape == (196, 4)
    assert make_windows((15, 15), 3).index.shape == (169, 9)


def test_windows_of_a_grid_that_is_not_square() -> None:
    windows = make_windows((2, 3), 2)
    assert windows.index.tolist() == [[0, 1, 3, 4], [1, 2, 4, 5]]


@given(GRIDS, st.integers(1, 3), st.integers(1, 3))
def test_every_patch_is_covered_and_every_window_is_a_square(grid: tuple[int, int], scale: int, stride: int) -> None:
    if stride > scale:
        with pytest.raises(ValueError, match="go unseen"):
            make_windows(grid, scale, stride)
        return
    windows = make_windows(grid, scale, stride)
    assert (windows.coverage.sum(0) >= 1).all()
    assert (windows.coverage.sum(1) == scale * scale).all()
    rows, cols = windows.index // grid[1], windows.index % grid[1]
    assert ((rows.amax(1) - rows.amin(1)) == scale - 1).all()
    assert ((cols.amax(1) - cols.amin(1)) == scale - 1).all()


@given(GRIDS, st.integers(1, 3), st.integers(0, 10_000))
def test_harmonic_aggregation_equals_the_loop(grid: tuple[int, int], scale: int, seed: int) -> None:
    windows = make_windows(grid, scale)
    scores = torch.rand(2, len(windows.index), generator=torch.Generator().manual_seed(seed))
    ours = to_patches(scores, windows)
    for patch in range(grid[0] * grid[1]):
        holders = [w for w in range(len(windows.index)) if patch in windows.index[w].tolist()]
        loop = len(holders) / sum(1 / scores[:, w].double() for w in holders)
        assert torch.allclose(ours[:, patch].double(), loop, rtol=1e-5)
    assert (ours >= 0).all()
    assert (ours <= 1 + 1e-6).all()


def test_a_score_of_zero_is_the_minimum_and_spreads_no_further() -> None:
    windows = make_windows((3, 3), 2)
    scores = torch.tensor([[0.0, 1.0, 1.0, 1.0]])
    patches = to_patches(scores, windows)[0]
    assert torch.isfinite(patches).all()
    assert patches[0] == pytest.approx(0, abs=1e-9)  # covered by the first window alone
    assert patches[8] == 1  # not covered by it


def test_the_mean_over_scales_is_harmonic() -> None:
    one, two = torch.tensor([0.5, 1.0]), torch.tensor([0.25, 0.0])
    mean = harmonic_mean([one, two])
    assert mean[0] == pytest.approx(2 / (2 + 4))
    assert mean[1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("grid", "scale", "stride", "message"),
    [((2, 5), 3, 1, "larger than the grid"), ((5, 5), 0, 1, "at least 1"), ((5, 5), 2, 0, "at least 1")],
)
def test_impossible_windows_are_refused(grid: tuple[int, int], scale: int, stride: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_windows(grid, scale, stride)
