import pytest
import torch
import torch.nn.functional as F

from core.aligner import ALIGNERS, Values, identity, minimal, minimal_mean, ridge


def example(lift_to: int = 6) -> tuple[torch.Tensor, Values]:
    """Two images of 1 + 6 tokens, three windows of 1 + 4, values of width 8, joint dimension 6."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(8, lift_to, generator=generator)
    index = torch.tensor([[0, 1, 2, 4, 5], [0, 2, 3, 5, 6], [0, 1, 2, 3, 4]])
    values = Values(
        torch.randn(2, 7, 8, generator=generator),
        torch.randn(2, 3, 5, 8, generator=generator),
        index,
        lambda v: v @ matrix,
    )
    return F.normalize(torch.randn(2, 2, 6, generator=generator), dim=-1), values


@pytest.mark.parametrize("name", sorted(ALIGNERS))
def test_every_candidate_gives_a_unit_pair_of_labels_per_window(name: str) -> None:
    text, values = example()
    moved = ALIGNERS[name](text, values)
    assert moved.shape == (2, 3, 2, 6)
    assert torch.allclose(moved.norm(dim=-1), torch.ones(2, 3, 2), atol=1e-5)


@pytest.mark.parametrize("name", sorted(ALIGNERS))
def test_equal_values_leave_the_labels_as_they_are(name: str) -> None:
    text, values = example()
    same = Values(values.image, values.image[:, values.index], values.index, values.lift)
    if name == "minimal-mean":  # the mean of a window is the mean of the image only if all tokens agree
        same = Values(
            values.image[:, :1].expand(-1, 7, -1),
            values.image[:, :1, None].expand(-1, 3, 5, -1),
            values.index,
            values.lift,
        )
    moved = ALIGNERS[name](text, same)
    assert torch.allclose(moved, text[:, None].expand(-1, 3, -1, -1), atol=1e-5)


@pytest.mark.parametrize("aligner", [minimal, minimal_mean])
def test_the_least_change_carries_global_values_to_local_ones(aligner: object) -> None:
    """W v_G = v_L, and W t = t for every t at right angles to v_G."""
    text, values = example()
    if aligner is minimal:
        v_global, v_local = values.lift(values.image[:, 0]), values.lift(values.window[:, :, 0])
    else:
        v_global, v_local = (
            values.lift(values.image[:, 1:].mean(1)),
            values.lift(values.window[:, :, 1:].mean(2)),
        )
    moved = aligner(F.normalize(v_global, dim=-1)[:, None].expand(-1, 2, -1), values)  # type: ignore[operator]
    assert torch.allclose(moved[:, :, 0], F.normalize(v_local, dim=-1), atol=1e-5)
    unit = F.normalize(v_global, dim=-1)[:, None]
    across = F.normalize(text - (text * unit).sum(-1, keepdim=True) * unit, dim=-1)
    assert torch.allclose(aligner(across, values), across[:, None].expand(-1, 3, -1, -1), atol=1e-5)  # type: ignore[operator]


def test_ridge_without_a_penalty_carries_every_token() -> None:
    _, values = example()
    whole, local = values.lift(values.image)[:, values.index], values.lift(values.window)
    moved = ridge(whole[:, 1, 2:4], values, strength=1e-7)
    assert torch.allclose(moved[:, 1], F.normalize(local[:, 1, 2:4], dim=-1), atol=1e-3)


def test_ridge_with_a_heavy_penalty_is_the_identity() -> None:
    text, values = example()
    assert torch.allclose(ridge(text, values, strength=1e7), identity(text, values), atol=1e-4)
