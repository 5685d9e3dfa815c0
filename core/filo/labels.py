"""The labels of an image: normal and abnormal, from the embeddings of its prompts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of B images, as the text encoder embeds them behind each image's context; unit length.

    Attributes:
        normal: [B, P, d].
        abnormal: [B, S, p, d]: S states at p positions, nine or the chosen one.
    """

    normal: Tensor
    abnormal: Tensor

    def at(self, position: int) -> Prompts:
        """With the abnormal prompts of one of the p positions only."""
        return Prompts(self.normal, self.abnormal[:, :, position : position + 1])

    @property
    def labels(self) -> Tensor:
        """Both labels [B, 2, d], entry 1 abnormal."""
        return pair(label_of(self.normal), label_of(self.abnormal.flatten(1, 2)))

    @property
    def states(self) -> Tensor:
        """Each abnormal state, whatever its position: [B, S, d], unit length."""
        return label_of(self.abnormal)


def label_of(prompts: Tensor) -> Tensor:
    """The mean [..., d] of unit prompts [..., P, d], brought to unit length."""
    return F.normalize(prompts.mean(-2), dim=-1)


def pair(normal: Tensor, abnormal: Tensor) -> Tensor:
    """Both labels [B, 2, d] of [B, d] each, divided by their joint norm: each is as long as the root of a half."""
    both = torch.stack([normal, abnormal], 1)
    length: Tensor = torch.linalg.vector_norm(both, dim=(1, 2), keepdim=True)
    return both / length
