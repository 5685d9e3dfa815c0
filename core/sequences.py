"""Token sequences of several lengths through a vision transformer's blocks together, each attending to itself alone.

The tokens of all groups (the image is one group, each scale's windows are another) stand in one matrix, so that each
linear layer is one matrix product; only attention is done group by group. The first layer's norm and QKV are computed
once per token of the image and gathered into the windows, and the last layer is computed for the tokens whose output
is read. The result equals that of running open_clip's transformer once per sequence, and gradients flow through it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.blocks import complete, project


@dataclass(frozen=True, eq=False)
class Group:
    """Token sequences of one length.

    Attributes:
        index: int64 [S, L], the tokens of an image (0 is CLS) in each of S sequences; [B, S, L] where each of B images
            has its own.
        queries: How many leading tokens of a sequence have their last-layer output read: 1, or all.
        mask: Added to the scores of attention, [L, L], where all are read; None: each token attends to all.
    """

    index: Tensor
    queries: int
    mask: Tensor | None = None

    @property
    def count(self) -> int:
        """S."""
        return self.index.shape[-2]

    @property
    def length(self) -> int:
        """L."""
        return self.index.shape[-1]


@dataclass(frozen=True, eq=False)
class Stage:
    """Groups that go through one set of transformer blocks together. Their rows are ordered by group, then by image."""

    blocks: list[Any]
    groups: list[Group]

    def table(self, batch: int, tokens: int) -> tuple[Tensor, Tensor]:
        """For B images of `tokens` tokens: the token that each row holds, and the rows that the last layer is for."""
        offset = torch.arange(batch, device=self.groups[0].index.device)[:, None, None] * tokens
        gather = [(group.index + offset).flatten() for group in self.groups]
        rows = torch.split(torch.arange(sum(map(len, gather)), device=offset.device), [len(each) for each in gather])
        read = [
            of_group.view(-1, group.length)[:, : group.queries].flatten()
            for group, of_group in zip(self.groups, rows, strict=True)
        ]
        return torch.cat(gather), torch.cat(read)

    def run(
        self, norm: Any, embedded: Tensor, table: tuple[Tensor, Tensor] | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        """For each group its read tokens [B, S, Q, w] after `norm`, and the last layer's values of all [B, S, L, w].

        Args:
            norm: What is applied to the last layer's tokens.
            embedded: The images' tokens [B, T, w].
            table: Of so many images; made where it is None.
        """
        batch, tokens, width = embedded.shape
        gather, read = self.table(batch, tokens) if table is None else table
        flat = embedded.flatten(0, 1)
        first, last = self.blocks[0], self.blocks[-1]
        # Layer 1: norm and QKV see each token of the image once, however many windows hold it.
        x, qkv = flat.index_select(0, gather), project(first, flat).index_select(0, gather)
        for block in self.blocks[:-1]:
            x = complete(block, x, self.attend(block, qkv if block is first else project(block, x), batch))
        x, value = self.last(x, qkv if last is first else None, batch, read)
        x = norm(x)
        return [
            (x[queried].view(batch, group.count, group.queries, width), value[rows].view(batch, group.count, -1, width))
            for group, rows, queried in self._spans(batch)
        ]

    def attend(self, block: Any, qkv: Tensor, batch: int) -> Tensor:
        """Multi-head self-attention [R, w] inside each sequence, before the output projection (Eq. 8)."""
        heads, width = block.attn.num_heads, qkv.shape[-1] // 3
        out = qkv.new_empty(len(qkv), width)
        for group, rows, _ in self._spans(batch):
            q, k, v = qkv[rows].view(-1, group.length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            mixed = _attention(q, k, v, group.mask)
            out[rows].view(mixed.shape).copy_(mixed)
        return out

    def last(self, x: Tensor, qkv: Tensor | None, batch: int, read: Tensor) -> tuple[Tensor, Tensor]:
        """The last block, for the tokens `read` only; and the values of all tokens, [R, w]."""
        block = self.blocks[-1]
        width, heads = x.shape[-1], block.attn.num_heads
        if qkv is None:
            weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
            normed = block.ln_1(x).to(weight.dtype)
            query = F.linear(normed.index_select(0, read), weight[:width], bias[:width])
            key, value = F.linear(normed, weight[width:], bias[width:]).chunk(2, -1)
        else:
            query, key, value = qkv.chunk(3, -1)
            query = query.index_select(0, read)
        out = torch.empty_like(query)
        for group, rows, queried in self._spans(batch):
            q = query[queried].view(-1, group.queries, heads, width // heads).transpose(1, 2)
            k, v = (each[rows].view(-1, group.length, heads, width // heads).transpose(1, 2) for each in (key, value))
            mixed = _attention(q, k, v, group.mask)
            out[queried].view(mixed.shape).copy_(mixed)
        return complete(block, x.index_select(0, read), out), value

    def _spans(self, batch: int) -> Iterator[tuple[Group, slice, slice]]:
        """Each group with its rows, and with those of its tokens that are read among all that are."""
        row = read = 0
        for group in self.groups:
            stop, end = row + batch * group.count * group.length, read + batch * group.count * group.queries
            yield group, slice(row, stop), slice(read, end)
            row, read = stop, end


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """[N, Q, heads, w / heads] of queries [N, heads, Q, w / heads], and keys and values of as many sequences."""
    if not torch.is_grad_enabled():
        mask = None if mask is None else mask.to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
    # With gradients plain products are faster on a CPU; in half precision they stay in it.
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    scores = scores if mask is None else scores + mask
    mixed: Tensor = scores.softmax(-1).to(value.dtype) @ value
    return mixed.transpose(1, 2)
