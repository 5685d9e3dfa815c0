import pytest
import torch
import torch.nn.functional as F

from core.aligner import ALIGNERS, ALL, CLS, MEAN, NONE, Values, identity, ridge


def example() -> tuple[torch.Tensor, Values]:
    """Two images of 1 + 6 tokens, three windows of 1 + 4, values in a joint space of dimension 6."""
    generator = torch.Generator().manual_seed(0)
    index = torch.tensor([[0, 1, 2, 4, 5], [0, 2, 3, 5, 6], [0, 1, 2, 3, 4]])
    values = Values(torch.randn(2, 7, 6, generator=generator), torch.randn(2, 3, 5, 6, generator=generator), index)
    return F.normalize(torch.randn(2, 2, 6, generator=generator), dim=-1), values


def move(name: str, text: torch.Tensor, values: Values) -> torch.Tensor:
    return ALIGNERS[name].move(text, values.of(ALIGNERS[name].tokens))


@pytest.mark.parametrize("name", sorted(ALIGNERS))
def test_every_candidate_gives_a_unit_pair_of_labels_per_window(name: str) -> None:
    text, values = example()
    moved = move(name, text, values)
    assert moved.shape == (2, 3, 2, 6)
    assert torch.allclose(moved.norm(dim=-1), torch.ones(2, 3, 2), atol=1e-5)


@pytest.mark.parametrize("name", sorted(ALIGNERS))
def test_equal_values_leave_the_labels_as_they_are(name: str) -> None:
    text, values = example()
    same = Values(values.image, values.image[:, values.index], values.index)
    if name == "minimal-mean":  # the mean of a window is the mean of the image only if all tokens agree
        token = values.image[:, :1]
        same = Values(token.expand(-1, 7, -1), token[:, None].expand(-1, 3, 5, -1), values.index)
    moved = move(name, text, same)
    assert torch.allclose(moved, text[:, None].expand(-1, 3, -1, -1), atol=1e-5)


def test_what_an_aligner_compares_is_plain_tensors_of_its_tokens_alone() -> None:
    """No closure travels with the values: what is compared is chosen before it is carried into the joint space."""
    _, values = example()
    assert all(isinstance(each, torch.Tensor) for each in vars(values).values())
    assert values.of(ALL) is values
    cls, mean, none = values.of(CLS), values.of(MEAN), values.of(NONE)
    assert torch.equal(cls.image, values.image[:, :1])
    assert torch.equal(cls.window, values.window[:, :, :1])
    assert torch.allclose(mean.image[:, 0], values.image[:, 1:].mean(1))
    assert torch.allclose(mean.window[:, :, 0], values.window[:, :, 1:].mean(2))
    assert none.image.numel() == none.window.numel() == 0
    assert none.window.shape == (2, 3, 0, 6)
    for some in (cls, mean):
        assert some.image[:, some.index].shape[1:] == some.window.shape[1:]


@pytest.mark.parametrize("name", ["minimal", "minimal-mean"])
def test_the_least_change_carries_global_values_to_local_ones(name: str) -> None:
    """W v_G = v_L, and W t = t for every t at right angles to v_G."""
    text, values = example()
    compared = values.of(ALIGNERS[name].tokens)
    v_global, v_local = compared.image[:, 0], compared.window[:, :, 0]
    moved = move(name, F.normalize(v_global, dim=-1)[:, None].expand(-1, 2, -1), values)
    assert torch.allclose(moved[:, :, 0], F.normalize(v_local, dim=-1), atol=1e-5)
    unit = F.normalize(v_global, dim=-1)[:, None]
    across = F.normalize(text - (text * unit).sum(-1, keepdim=True) * unit, dim=-1)
    assert torch.allclose(move(name, across, values), across[:, None].expand(-1, 3, -1, -1), atol=1e-5)


def test_ridge_without_a_penalty_carries_every_token() -> None:
    _, values = example()
    v_global = values.image[:, values.index]
    moved = ridge(v_global[:, 1, 2:4], values, strength=1e-7)
    assert torch.allclose(moved[:, 1], F.normalize(values.window[:, 1, 2:4], dim=-1), atol=1e-3)


def test_ridge_with_a_heavy_penalty_is_the_identity() -> None:
    text, values = example()
    assert torch.allclose(ridge(text, values, strength=1e7), identity(text, values), atol=1e-4)
