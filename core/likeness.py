"""Section 5: how the descriptors of a pack compare to images and, by their most anomalous window, to patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.adaptation import TextFeatures
from core.vision import Features
from core.windows import Windows


def compare(
    features: Features,
    s_window: Sequence[Tensor],
    windows: Sequence[Windows],
    text: TextFeatures,
    grid: tuple[int, int],
) -> list[Tensor]:
    """What `core.explain.Likeness` is made of, for B images on the device; nothing where the pack has no descriptors.

    Args:
        features: Of the images.
        s_window: S_L [B, W] of each scale.
        windows: Of each scale; without any, what is said of an image is said of each of its patches.
        text: The pack, with D descriptors.
        grid: Rows and columns of patches.

    Returns:
        Similarities to the images, float32 [B, D], and by patch the index of the nearest descriptor, [B, rows * cols].
    """
    if text.descriptors is None:
        return []
    similarity = features.image @ text.descriptors.T
    if not windows:
        rows, cols = grid
        return [similarity, similarity.argmax(-1, keepdim=True).expand(-1, rows * cols)]
    highest, nearest = torch.zeros_like(features.image[:, :1]), torch.zeros_like(features.image[:, :1])
    for scores, embedding, tables in zip(s_window, features.windows, windows, strict=True):
        score, window = (scores[:, :, None] * tables.coverage).max(1)  # the most anomalous over each patch
        index = (embedding @ text.descriptors.T).argmax(-1).gather(1, window)
        nearest = torch.where(score >= highest, index, nearest)
        highest = torch.maximum(score, highest)
    return [similarity, nearest]
