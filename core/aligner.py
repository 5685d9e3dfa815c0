"""The fine-grained aligner: label embeddings moved from global to local semantics (ALFA, section 4.3).

The paper asks for a map with  W_ij v_G = v_L,ij  and sets  F_TL,ij = W_ij F_TG.  It leaves open which W of the many
that satisfy it, which tokens and layers v comes from, and how values (of the transformer's width) meet label
embeddings (of the joint space). Here:

- A value is carried into the joint space along the way that the model itself takes from the last attention to the
  embedding: `ln_post(W_o v + b_o) @ proj` (`vision.lift`). This is what the embedding would be if attention looked at
  that one token only and the residual were left out.
- v_G comes from the pass over the whole image, v_L,ij from the window's own pass, both from the last layer.
- Where W is under-determined, the one nearest to the identity (in the Frobenius norm) is taken: what the values do
  not speak of stays as it was.
- F_TL is brought back to unit length, since Eq. 11 compares it like F_TG in Eq. 10.

Where windows have one token each (`masked.py`) there is no window's own pass: v_L of its patches is then v_G of them,
and that of CLS the window token's own. `identity` and `minimal` read what they always read; `minimal-mean` compares the
mean over the window's patches with that over all; `ridge` is left with the CLS value, as the others differ by nothing.

A candidate is a function of two arguments and an entry in `ALIGNERS`, which says what it compares. With d the joint
dimension, w the width, and W windows of n tokens, the cost of each is given beside it, with that of carrying its values
into the joint space.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NONE, CLS, MEAN, ALL = TOKENS = ("none", "cls", "mean", "all")
"""What an aligner compares: nothing, the class token, the mean over the patches, or every token."""


@dataclass(frozen=True, eq=False)
class Values:
    """The last layer's attention values of one scale; of the transformer's width w, or carried into the joint space.

    Attributes:
        image: v_G, [B, 1 + N, w], of the pass over the whole image; token 0 is CLS.
        window: v_L, [B, W, 1 + k * k, w], of the windows; token 0 is CLS.
        index: int64 [W, 1 + k * k], the tokens of the image that each window holds.
    """

    image: Tensor
    window: Tensor
    index: Tensor

    def of(self, tokens: str) -> Values:
        """The values of some tokens; one of `TOKENS`."""
        if tokens == ALL:
            return self
        if tokens == MEAN:
            image, window = self.image[:, 1:].mean(1, keepdim=True), self.window[:, :, 1:].mean(2, keepdim=True)
        else:
            count = 1 if tokens == CLS else 0
            image, window = self.image[:, :count], self.window[:, :, :count]
        return Values(image, window, torch.zeros_like(self.index[:, : image.shape[1]]))


@dataclass(frozen=True)
class Aligner:
    """A way to move labels.

    Attributes:
        tokens: Whose values it compares; one of `TOKENS`.
        move: (F_TG [B, 2, d], their values in the joint space, float32) -> F_TL [B, W, 2, d], unit length.
    """

    tokens: str
    move: Callable[[Tensor, Values], Tensor]


def identity(text: Tensor, values: Values) -> Tensor:
    """W = I: labels stay global, as in WinCLIP. No cost."""
    return text[:, None].expand(-1, values.window.shape[1], -1, -1)


def least_change(text: Tensor, values: Values) -> Tensor:
    """W = I + (v_L - v_G) v_G^+ of one value each: the least change with W v_G = v_L. Cost: 2 W w (w + d)."""
    v_global, v_local = values.image[:, 0], values.window[:, :, 0]  # [B, d] and [B, W, d]
    share = torch.einsum("btd,bd->bt", text, v_global) / v_global.square().sum(-1, keepdim=True)
    moved = text[:, None] + share[:, None, :, None] * (v_local - v_global[:, None])[:, :, None]
    return F.normalize(moved, dim=-1)


def ridge(text: Tensor, values: Values, strength: float = 0.1) -> Tensor:
    """W that moves every token's value: min ||W V_G - V_L||^2 + s ||W - I||^2 over the n tokens of the window.

    W = I + (V_L - V_G) (V_G^T V_G + s I)^-1 V_G^T with the values as columns; s is `strength` times the mean squared
    length of a value. Cost: 2 W n w (w + d) for lifting, and W solves of n x n.
    """
    v_global, v_local = values.image[:, values.index], values.window  # [B, W, n, d]
    gram = v_global @ v_global.transpose(-1, -2)
    scale = strength * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    gram = gram + scale * torch.eye(gram.shape[-1], device=gram.device)
    share = torch.linalg.solve(gram, v_global @ text[:, None].transpose(-1, -2))  # [B, W, n, 2]
    return F.normalize(text[:, None] + share.transpose(-1, -2) @ (v_local - v_global), dim=-1)


# The mean patch value holds more of the place, and less of the class, than that of CLS.
ALIGNERS: dict[str, Aligner] = {
    "identity": Aligner(NONE, identity),
    "minimal": Aligner(CLS, least_change),
    "minimal-mean": Aligner(MEAN, least_change),
    "ridge": Aligner(ALL, ridge),
}
