"""From decoded tokens and labels to the anomaly map and the image's score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE = 100.0
"""What cosines are multiplied by before the softmax, by the release."""
_BLUR, _SIGMA = 3, 4.0


def layer_maps(
    decoded: Sequence[Tensor],
    labels: Tensor,
    grid: tuple[int, int],
    size: tuple[int, int],
    scale: float = SCALE,
    *,
    released: bool = False,
) -> list[Tensor]:
    """The map of each decoder: softmax over the two labels, float32 [B, 2, H, W], entry 1 abnormal.

    Args:
        decoded: Unit tokens [B, N, d] of each decoder.
        labels: [B, 2, d], as `labels.pair` gives them.
        grid: Rows and columns of patches.
        size: H and W, pixels.
        scale: What cosines are multiplied by.
        released: Corners of grid and image lie on each other, as in the release. Otherwise each token lies at its
            patch's centre; the release's way moves what is near a border by up to half a patch.
    """
    maps = []
    for tokens in decoded:
        logits = (scale * tokens @ labels.transpose(1, 2)).transpose(1, 2).reshape(len(tokens), 2, *grid)
        # Logits, not probabilities, are interpolated: the border between the labels stays sharp.
        maps.append(F.interpolate(logits, size, mode="bilinear", align_corners=released).softmax(1))
    return maps


def anomaly_map(maps: Sequence[Tensor]) -> Tensor:
    """The mean over decoders of their blurred abnormal channel, [B, H, W], in [0, 1]."""
    return torch.stack([blur(one[:, 1]) for one in maps]).mean(0)


def blur(maps: Tensor) -> Tensor:
    """Maps [B, H, W] under a Gaussian of 3 x 3 pixels, sigma 4; borders are reflected."""
    places = torch.arange(_BLUR, dtype=maps.dtype, device=maps.device) - _BLUR // 2
    weights = torch.exp(-(places**2) / (2 * _SIGMA**2))
    kernel = torch.outer(weights, weights)
    padded = F.pad(maps[:, None], [_BLUR // 2] * 4, mode="reflect")
    return F.conv2d(padded, (kernel / kernel.sum())[None, None])[:, 0]


def image_score(image: Tensor, labels: Tensor, s_map: Tensor) -> tuple[Tensor, Tensor]:
    """The score [B], and the part of it that is the image's: its product with the abnormal label, [B].

    Args:
        image: The adapted image embedding, unit length, [B, d].
        labels: [B, 2, d], as `labels.pair` gives them.
        s_map: The anomaly map, [B, H, W], before any gate.
    """
    similarity = torch.einsum("bd,bd->b", image, labels[:, 1])
    return (similarity + s_map.flatten(1).amax(1)) / 2, similarity
