"""Where training starts: at what the frozen tower says of its tokens by itself."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from core.backbone import Backbone
from core.filo.head import FiloHead
from core.filo.vision import Streams


@torch.no_grad()
def start_at_tower(head: FiloHead, backbone: Backbone, streams: Streams) -> None:
    """Has each decoder begin as the tower's own way to the joint space, and the adapter as none.

    A tower's last norm and projection already lie near its texts; a random start would have to find them again. The
    norm's division by a token's spread is left out, as unit length comes afterwards; its shift is scaled instead.

    Args:
        head: Of random weights; changed in place. Its contexts stay random.
        backbone: The tower.
        streams: Of some pictures, from which the tokens' spread is taken.
    """
    for place, tokens in enumerate(streams.ordinary):
        weight, bias = _own_way(backbone, tokens)
        head.get_parameter(f"decoder_linear.fc.{place}.weight").copy_(weight)
        head.get_parameter(f"decoder_linear.fc.{place}.bias").copy_(bias)
    centre = head.record.kernels[0]  # zeros elsewhere: shapes grow from what is learnt
    for place, tokens in enumerate(streams.values):
        weight, bias = _own_way(backbone, tokens)
        if head.record.bottleneck is not None:
            weight = _narrowed(weight, head.get_parameter(f"decoder_cov.narrow.{place}.weight"))
        for name in head.record.kernels:
            kernel = head.get_parameter(f"decoder_cov.fc_{name}.{place}.weight").zero_()
            offset = head.get_parameter(f"decoder_cov.fc_{name}.{place}.bias").zero_()
            if name == centre:
                kernel[:, :, kernel.shape[2] // 2, kernel.shape[3] // 2] = weight
                offset.copy_(bias)
    head.get_parameter("adapter.fc.2.weight").zero_()


def _narrowed(weight: Tensor, narrow: Tensor) -> Tensor:
    """What of a map [d, w] is left to do [d, b] behind its strongest directions, which `narrow` [b, w] becomes."""
    left, strengths, right = torch.linalg.svd(weight, full_matrices=False)
    rank = min(len(narrow), len(strengths))
    narrow[:rank].copy_(right[:rank])
    return F.pad(left[:, :rank] * strengths[:rank], (0, len(narrow) - rank))


def _own_way(backbone: Backbone, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The last norm and the projection as a linear map [d, w], and its shift [d], for tokens of such a spread."""
    norm, projection = backbone.visual.ln_post, backbone.visual.proj
    width = len(norm.weight)
    centring = torch.eye(width, device=projection.device) - 1 / width
    weight = projection.T @ (norm.weight[:, None] * centring)
    return weight, (norm.bias @ projection) * tokens.std(-1).mean()
