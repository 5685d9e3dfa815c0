"""The losses against a plain reading of what they are: loops and scalars instead of tensors."""

import math

import pytest
import torch

from core.filo.training.losses import adapter_loss, dice, focal, map_loss


def maps(seed: int = 0) -> torch.Tensor:
    """Softmax over two labels, [2, 2, 4, 5]."""
    return torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(seed)).softmax(1)


def mask() -> torch.Tensor:
    marked = torch.zeros(2, 4, 5)
    marked[0, 1:3, 2:] = 1
    return marked


def plain_focal(probabilities: torch.Tensor, marked: torch.Tensor) -> float:
    total, count = 0.0, 0
    for picture, target in zip(probabilities.tolist(), marked.tolist(), strict=True):
        for row in range(4):
            for col in range(5):
                abnormal = min(max(target[row][col], 1e-5), 1 - 1e-5)
                normal = min(max(1 - target[row][col], 1e-5), 1 - 1e-5)
                right = normal * picture[0][row][col] + abnormal * picture[1][row][col] + 1e-5
                total -= (1 - right) ** 2 * math.log(right)
                count += 1
    return total / count


def plain_dice(channel: torch.Tensor, target: torch.Tensor) -> float:
    shares = []
    for picture, wanted in zip(channel.flatten(1).tolist(), target.flatten(1).tolist(), strict=True):
        overlap = sum(each * want for each, want in zip(picture, wanted, strict=True))
        shares.append((2 * overlap + 1) / (sum(picture) + sum(wanted) + 1))
    return 1 - sum(shares) / len(shares)


def test_focal_and_dice_are_what_they_are_by_hand() -> None:
    assert focal(maps(), mask()).item() == pytest.approx(plain_focal(maps(), mask()), rel=1e-5)
    assert dice(maps()[:, 1], mask()).item() == pytest.approx(plain_dice(maps()[:, 1], mask()), rel=1e-5)


def test_the_loss_of_maps_is_a_sum_over_layers_and_both_channels() -> None:
    layers = [maps(seed) for seed in range(7)]
    expected = sum(
        plain_focal(layer, mask()) + plain_dice(layer[:, 1], mask()) + plain_dice(layer[:, 0], 1 - mask())
        for layer in layers
    )
    assert map_loss(layers, mask()).item() == pytest.approx(expected, rel=1e-5)


def test_what_is_right_costs_next_to_nothing_and_what_is_wrong_stays_finite() -> None:
    right = torch.stack([1 - mask(), mask()], 1)
    assert map_loss([right], mask()).item() < 1e-3
    wrong = right.flip(1).requires_grad_()
    loss = map_loss([wrong], mask())
    loss.backward()
    assert loss.isfinite()
    assert wrong.grad is not None
    assert wrong.grad.isfinite().all()


def test_the_adapter_learns_the_label_that_is_nearer() -> None:
    cosines = torch.tensor([[0.3, 0.1], [0.1, 0.4]])
    expected = [
        -math.log(math.exp(a / 0.07) / (math.exp(a / 0.07) + math.exp(b / 0.07))) for a, b in ((0.3, 0.1), (0.4, 0.1))
    ]
    assert adapter_loss(cosines, torch.tensor([False, True])).item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    assert adapter_loss(cosines, torch.tensor([True, False])).item() > 2
