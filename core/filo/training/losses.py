"""What training minimises: focal loss and Dice over the maps, cross entropy over the image's two cosines."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

GAMMA = 2.0
SMOOTH = 1e-5
"""Of the focal loss: probabilities and targets keep so far from 0 and 1."""
_DICE_SMOOTH = 1.0
TEMPERATURE = 0.07
"""Divides the cosines in the adapter's loss."""


def focal(probabilities: Tensor, mask: Tensor, gamma: float = GAMMA) -> Tensor:
    """The mean focal loss of maps, a scalar.

    Args:
        probabilities: [B, 2, H, W] in [0, 1], the normal channel first; the two add up to 1.
        mask: [B, H, W], 1 on the defect and 0 elsewhere.
        gamma: How much less what is right already counts.
    """
    target = torch.stack([1 - mask, mask], 1).clamp(SMOOTH, 1 - SMOOTH)
    right = (target * probabilities).sum(1) + SMOOTH
    return (-((1 - right).clamp(min=0) ** gamma) * right.log()).mean()


def dice(probabilities: Tensor, target: Tensor) -> Tensor:
    """One less the mean Dice overlap of each picture, a scalar in [0, 1).

    Args:
        probabilities: [B, H, W] in [0, 1].
        target: [B, H, W] of 0 and 1.
    """
    overlap, area, wanted = (part.flatten(1).sum(1) for part in (probabilities * target, probabilities, target))
    return 1 - ((2 * overlap + _DICE_SMOOTH) / (area + wanted + _DICE_SMOOTH)).mean()


def map_loss(maps: Iterable[Tensor], mask: Tensor) -> Tensor:
    """Focal loss and Dice on both channels, summed over the maps of all layers.

    Args:
        maps: Each float [B, 2, H, W]: softmax over the labels, normal first, before the blur.
        mask: float [B, H, W] of 0 and 1.
    """
    each = [
        focal(probabilities, mask) + dice(probabilities[:, 1], mask) + dice(probabilities[:, 0], 1 - mask)
        for probabilities in maps
    ]
    return torch.stack(each).sum()


def adapter_loss(cosines: Tensor, anomalous: Tensor) -> Tensor:
    """Cross entropy of the adapted image's cosines over the temperature, a scalar.

    Args:
        cosines: [B, 2] to the normal and the abnormal label.
        anomalous: bool [B].
    """
    return F.cross_entropy(cosines / TEMPERATURE, anomalous.long())
