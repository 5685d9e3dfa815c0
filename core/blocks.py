"""A vision transformer of open_clip in pieces, for passes that arrange its tokens in their own way."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# On a CPU the feed-forward network takes so many rows at a time: its hidden layer, four times as wide, then stays below
# the size (32 MiB) from which the C library gives memory back at once, to be mapped and zeroed anew at each layer.
_ROWS = 1448


def in_precision(blocks: nn.ModuleList, dtype: torch.dtype) -> nn.ModuleList:
    """The blocks with linear layers and attention that compute in `dtype`; they share the norms with the original."""
    parameters = {id(parameter): parameter for parameter in blocks.parameters()}
    for module in blocks.modules():
        if isinstance(module, (nn.Linear, nn.MultiheadAttention)):
            for parameter in module.parameters():
                parameters[id(parameter)] = nn.Parameter(parameter.to(dtype), requires_grad=False)
    return copy.deepcopy(blocks, parameters)  # which takes what it finds there in place of a copy


def embed(visual: Any, pixels: Tensor, positions: Tensor | None = None) -> Tensor:
    """CLS and patch tokens [B, 1 + N, w] with their position embeddings, after ln_pre.

    Args:
        visual: open_clip's vision transformer.
        pixels: float32 [B, 3, H, W], normalised; what is left beyond whole patches does not count.
        positions: [1 + N, w], of another grid than the model's; None: the model's own.
    """
    high, wide = visual.conv1.kernel_size
    rows, cols = pixels.shape[2] // high, pixels.shape[3] // wide
    positions = visual.positional_embedding if positions is None else positions
    # As a matrix product, which is float32 everywhere: cuDNN would round the convolution's factors to 10 bits (TF32).
    tiles = pixels[:, :, : rows * high, : cols * wide].reshape(len(pixels), -1, rows, high, cols, wide)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).reshape(len(pixels), rows * cols, -1)
    patches = F.linear(tiles, visual.conv1.weight.flatten(1), visual.conv1.bias)
    cls = visual.class_embedding.expand(len(pixels), 1, -1)
    return visual.ln_pre(torch.cat([cls, patches], 1) + positions)  # type: ignore[no-any-return]


def project(block: Any, x: Tensor) -> Tensor:
    """Query, key and value of each row, [R, 3w] (Eq. 7)."""
    weight = block.attn.in_proj_weight
    return F.linear(block.ln_1(x).to(weight.dtype), weight, block.attn.in_proj_bias)


def complete(block: Any, x: Tensor, attended: Tensor) -> Tensor:
    """The block from the attention's output projection to its end (Eq. 5, 6 and 9)."""
    x = x + block.ls_1(block.attn.out_proj(attended))
    dtype = attended.dtype
    if torch.is_grad_enabled():
        return x + block.ls_2(block.mlp(block.ln_2(x).to(dtype)))  # type: ignore[no-any-return]
    parts = x.chunk(-(-len(x) // _ROWS)) if x.device.type == "cpu" else (x,)
    for part in parts:
        part += block.ls_2(block.mlp(block.ln_2(part).to(dtype)))
    return x
