"""The learned context: vectors in the place of words, moved by what the image shows."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

LENGTH = 12
"""Vectors before the words of a prompt."""
_REDUCTION = 16
_SPREAD = 0.02


class LearnedContext(nn.Module):
    """`LENGTH` vectors, and a network of two layers that shifts all of them alike.

    Args:
        joint: d, dimensions of the joint space.
        width: t, dimensions of the text encoder's tokens.
        length: n, vectors.
    """

    def __init__(self, joint: int, width: int, length: int = LENGTH) -> None:
        super().__init__()
        hidden = max(1, joint // _REDUCTION)
        self.ctx = nn.Parameter(_SPREAD * torch.randn(length, width))
        self.meta_net = nn.Sequential(
            OrderedDict(linear1=nn.Linear(joint, hidden), relu=nn.ReLU(), linear2=nn.Linear(hidden, width))
        )

    def forward(self, image: Tensor) -> Tensor:
        """The context of each image, [B, n, t], of unit image embeddings [B, d]."""
        shifted: Tensor = self.ctx + self.meta_net(image)[:, None]
        return shifted
