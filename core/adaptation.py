"""Run-time prompt adaptation: which prompts speak of this image (ALFA, section 4.2, Algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """What one pack says, in the joint space; float32, computed once.

    Attributes:
        normal: [P+, d], the normal prompts; unit length but for WinCLIP.
        abnormal: [P-, d], the abnormal ones.
        descriptors: [D, d], unit length, or None: the short phrases that explain an anomaly.
        phrases: The D descriptors themselves.
        fingerprint: Of the model that they are of; empty where nobody says.
    """

    normal: Tensor
    abnormal: Tensor
    descriptors: Tensor | None = None
    phrases: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, eq=False)
class Labels:
    """The label embeddings of each image, and the prompts that they are made of.

    Attributes:
        embedding: F_TG, float32 [B, 2, d], unit length; [:, 0] normal, [:, 1] abnormal.
        normal: bool [B, P+], the prompts kept for each image.
        abnormal: bool [B, P-].
    """

    embedding: Tensor
    normal: Tensor
    abnormal: Tensor


def distance(d: Tensor, interval: Tensor) -> Tensor:
    """D(d, I) = max(0, min I - d, d - max I) of similarities d [B, P] to the range of `interval` [B, Q]."""
    low, high = interval.amin(-1, keepdim=True), interval.amax(-1, keepdim=True)
    return torch.maximum(low - d, d - high).clamp_min(0)


def contextual_scores(d: Tensor, same: Tensor, other: Tensor, k: float = 1.0) -> Tensor:
    """S_c in [0, 1) of prompts with similarities d [B, P] (Eq. 4).

    Args:
        d: <f(x), g(t)> of the prompts to score.
        same: Similarities [B, Q] of all prompts with the same label.
        other: Similarities [B, R] of all prompts with the other label.
        k: The paper's constant.

    Returns:
        [B, P]; exactly 0 where d lies in both intervals, where the prompt is ambiguous for this image.
    """
    gap = (distance(d, same) - distance(d, other)).abs()
    return gap / (gap + torch.exp(-k * gap))


def adapt(image: Tensor, text: TextFeatures, *, weighted: bool = False) -> Labels:
    """The label embeddings f_TG of each image from the prompts that are not ambiguous for it (Alg. 1).

    The paper does not say what happens when one interval lies inside the other, so that its side has no prompt left.
    Here that side keeps all its prompts, and the other side is not touched.

    Args:
        image: f(x), float32 [B, d], unit length.
        text: g(t) of all prompts.
        weighted: Weigh the kept prompts by S_c instead of equally.
    """
    plus, minus = image @ text.normal.T, image @ text.abnormal.T
    weight_plus = contextual_scores(plus, plus, minus)
    weight_minus = contextual_scores(minus, minus, plus)
    keep_plus, keep_minus = _or_all(weight_plus > 0), _or_all(weight_minus > 0)
    return Labels(
        torch.stack(
            [
                _mean(keep_plus, weight_plus if weighted else None, text.normal),
                _mean(keep_minus, weight_minus if weighted else None, text.abnormal),
            ],
            dim=1,
        ),
        keep_plus,
        keep_minus,
    )


def _or_all(keep: Tensor) -> Tensor:
    """The kept prompts of a side [B, P]; of a side that has none left, all."""
    return keep | ~keep.any(-1, keepdim=True)


def keep_all(batch: int, text: TextFeatures) -> Labels:
    """The same label embeddings for each of `batch` images: the mean of all prompts of a side."""
    embedding = torch.stack([F.normalize(side.mean(0), dim=-1) for side in (text.normal, text.abnormal)])
    kept = [torch.ones(batch, len(side), dtype=torch.bool, device=side.device) for side in (text.normal, text.abnormal)]
    return Labels(embedding.expand(batch, -1, -1), kept[0], kept[1])


def _mean(keep: Tensor, weight: Tensor | None, prompts: Tensor) -> Tensor:
    """The normalised mean [B, d] of the kept prompts [P, d]; weighted where a weight is above 0."""
    share = keep.to(prompts.dtype)
    if weight is not None:
        share = torch.where(weight.amax(-1, keepdim=True) > 0, weight * share, share)
    return F.normalize(share @ prompts, dim=-1)
