"""One pass: the whole image and all windows of all scales through the vision transformer together.

The tokens of all groups (the image is one group, each scale's windows are another) stand in one matrix, so that each
linear layer is one matrix product; only attention is done group by group. The first layer's norm and QKV are computed
once per token of the image and gathered into the windows, and the last layer is computed for the tokens whose output
is read. The result equals that of running open_clip's transformer once per window.

In half precision the windows' linear layers and attention compute in it; what is added up (the residual stream), norms
and the last projection stay in float32. The image itself, a twelfth of the tokens, is then passed on its own in
float32: prompts are chosen by comparing its similarities, and the least rounding can turn a choice over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.aligner import Values
from core.blocks import complete, embed, in_precision, project
from core.windows import Windows


class UnsupportedModelError(ValueError):
    """The model is no plain vision transformer of open_clip."""


@dataclass(frozen=True, eq=False)
class Features:
    """What one pass sees of B images.

    Attributes:
        image: f(x), float32 [B, d], unit length.
        windows: f(x_ij) per scale, float32 [B, W, d], unit length.
        values: Attention values per scale, for the aligner.
        patches: Last-layer tokens after ln_post, float32 [B, N, w], unit length, or None when not asked for.
    """

    image: Tensor
    windows: tuple[Tensor, ...]
    values: tuple[Values, ...]
    patches: Tensor | None

    def take(self, rows: list[int] | slice) -> Features:
        """The features of some of the images."""
        return Features(
            self.image[rows],
            tuple(one[rows] for one in self.windows),
            tuple(replace(one, image=one.image[rows], window=one.window[rows]) for one in self.values),
            None if self.patches is None else self.patches[rows],
        )


@dataclass(frozen=True, eq=False)
class _Group:
    """Token sequences of one length: `index` [S, L] names the image's tokens (0 is CLS) in each of S sequences."""

    index: Tensor
    queries: int  # how many leading tokens of a sequence have their last-layer output read: 1, or all


@dataclass(frozen=True, eq=False)
class _Stage:
    """Groups that go through one set of transformer blocks together."""

    blocks: list[Any]
    groups: list[_Group]


class VisionPass(nn.Module):
    """The pass for one model and one set of windows.

    `torch.export` takes it, for batches of one size, once `torch.export.register_dataclass` knows `Features` and `Values`.

    Args:
        visual: `open_clip.transformer.VisionTransformer` with class-token pooling, in float32.
        windows: The windows of each scale, on the model's grid; none: the image alone.
        dtype: What the windows are computed in.
        patches: Also return the last layer's patch tokens.

    Raises:
        UnsupportedModelError: another architecture, or windows of another grid.
    """

    def __init__(
        self, visual: Any, windows: Sequence[Windows], *, dtype: torch.dtype = torch.float32, patches: bool = False
    ) -> None:
        super().__init__()
        check(visual, windows)
        self.visual = visual
        rows, cols = visual.grid_size
        tokens = 1 + int(rows) * int(cols)
        device: torch.device = visual.conv1.weight.device
        whole = _Group(torch.arange(tokens, device=device)[None], tokens if patches else 1)
        cls = torch.zeros(1, 1, dtype=torch.long, device=device)
        local = [_Group(torch.cat([cls.expand(len(one.index), 1), one.index.to(device) + 1], 1), 1) for one in windows]
        blocks = list(visual.transformer.resblocks)
        if dtype == torch.float32 or not local:
            self.stages = [_Stage(blocks, [whole, *local])]
        else:
            self.local_blocks = in_precision(visual.transformer.resblocks, dtype)
            self.stages = [_Stage(blocks, [whole]), _Stage(list(self.local_blocks), local)]
        self._tables: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Features:
        """Features of normalised images, float32 [B, 3, H, W] of the model's size."""
        batch = len(pixels)
        tokens = embed(self.visual, pixels).flatten(0, 1)
        seen = [out for index in range(len(self.stages)) for out in self._run(index, tokens, batch)]
        (whole, v_global), local = seen[0], seen[1:]
        image, *windows = [F.normalize(out[:, :, 0] @ self.visual.proj, dim=-1) for out, _ in seen]
        groups = [group for stage in self.stages for group in stage.groups]
        return Features(
            image[:, 0],
            tuple(windows),
            tuple(
                Values(v_global[:, 0], v_local, group.index)
                for (_, v_local), group in zip(local, groups[1:], strict=True)
            ),
            F.normalize(whole[:, 0, 1:], dim=-1) if groups[0].queries > 1 else None,
        )

    def _run(self, index: int, tokens: Tensor, batch: int) -> list[tuple[Tensor, Tensor]]:
        """For each group of a stage: its read tokens after ln_post [B, S, Q, w], and all values [B, S, L, w]."""
        stage = self.stages[index]
        gather, read = self._table(index, batch)
        first, last = stage.blocks[0], stage.blocks[-1]
        # Layer 1: norm and QKV see each token of the image once, however many windows hold it.
        x, qkv = tokens[gather], project(first, tokens)[gather]
        for block in stage.blocks[:-1]:
            x = complete(block, x, self._attend(stage, block, qkv if block is first else project(block, x), batch))
        x, value = self._last(stage, x, qkv if last is first else None, batch, read)
        x = self.visual.ln_post(x)
        out = []
        row = at = 0
        for group in stage.groups:
            count, length = len(group.index), group.index.shape[1]
            stop, end = row + batch * count * length, at + batch * count * group.queries
            value_of = value[row:stop].view(batch, count, length, -1)
            out.append((x[at:end].view(batch, count, group.queries, -1), value_of))
            row, at = stop, end
        return out

    def _last(self, stage: _Stage, x: Tensor, qkv: Tensor | None, batch: int, read: Tensor) -> tuple[Tensor, Tensor]:
        """The last block, for the tokens `read` only; and the values of all tokens, [R, w]."""
        block = stage.blocks[-1]
        width, heads = x.shape[-1], block.attn.num_heads
        if qkv is None:
            weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
            normed = block.ln_1(x).to(weight.dtype)
            query = F.linear(normed[read], weight[:width], bias[:width])
            key, value = F.linear(normed, weight[width:], bias[width:]).chunk(2, -1)
        else:
            query, key, value = qkv.chunk(3, -1)
            query = query[read]
        out = torch.empty_like(query)
        row = at = 0
        for group in stage.groups:
            count, length = batch * len(group.index), group.index.shape[1]
            stop, end = row + count * length, at + count * group.queries
            q = query[at:end].view(count, group.queries, heads, -1).transpose(1, 2)
            k = key[row:stop].view(count, length, heads, -1).transpose(1, 2)
            v = value[row:stop].view(count, length, heads, -1).transpose(1, 2)
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            out[at:end].view(count, group.queries, heads, -1).copy_(seen)
            row, at = stop, end
        return complete(block, x[read], out), value

    def _attend(self, stage: _Stage, block: Any, qkv: Tensor, batch: int) -> Tensor:
        """Multi-head self-attention [R, w] inside each sequence, before the output projection (Eq. 8)."""
        heads, width = block.attn.num_heads, qkv.shape[-1] // 3
        out = qkv.new_empty(len(qkv), width)
        row = 0
        for group in stage.groups:
            count, length = batch * len(group.index), group.index.shape[1]
            stop = row + count * length
            q, k, v = qkv[row:stop].view(count, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            out[row:stop].view(count, length, heads, -1).copy_(seen)
            row = stop
        return out

    def _table(self, stage: int, batch: int) -> tuple[Tensor, Tensor]:
        """For a batch: which token of the images each row holds, and the rows that the last layer is computed for."""
        if (stage, batch) not in self._tables:
            groups = self.stages[stage].groups
            tokens = self.stages[0].groups[0].index.shape[1]
            offset = torch.arange(batch, device=groups[0].index.device)[:, None, None] * tokens
            gather = [(group.index[None] + offset).flatten() for group in groups]
            read, row = [], 0
            for group, rows in zip(groups, gather, strict=True):
                grid = torch.arange(row, row + len(rows), device=rows.device).view(-1, group.index.shape[1])
                read.append(grid[:, : group.queries].flatten())
                row += len(rows)
            self._tables[stage, batch] = torch.cat(gather), torch.cat(read)
        return self._tables[stage, batch]


def lift(visual: Any, value: Tensor) -> Tensor:
    """Values [..., w] in the joint space, float32 [..., d]: the model's own way from attention to embedding."""
    attention = visual.transformer.resblocks[-1].attn
    return visual.ln_post(attention.out_proj(value.float())) @ visual.proj  # type: ignore[no-any-return]


def check(visual: Any, windows: Sequence[Windows]) -> None:
    """Raises UnsupportedModelError: not what `VisionPass` runs, or windows of another grid."""
    needed = (
        "class_embedding",
        "positional_embedding",
        "ln_pre",
        "transformer",
        "ln_post",
        "proj",
        "grid_size",
        "conv1",
    )
    plain = all(hasattr(visual, name) for name in needed)
    if not plain or getattr(visual, "attn_pool", None) is not None or getattr(visual, "pool_type", "") != "tok":
        raise UnsupportedModelError(
            f"{type(visual).__name__} is no plain vision transformer with a class token; use a ViT model of open_clip"
        )
    for block in visual.transformer.resblocks:
        if type(block).__name__ != "ResidualAttentionBlock" or not block.attn._qkv_same_embed_dim:
            raise UnsupportedModelError(
                f"blocks of type {type(block).__name__} are not supported; use a plain ViT model"
            )
    for one in windows:
        if one.grid != tuple(visual.grid_size):
            raise UnsupportedModelError(
                f"windows for a grid of {one.grid}, but the model's is {tuple(visual.grid_size)}"
            )
