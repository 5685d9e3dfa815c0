"""The two-stream pass: the vision transformer, and beside its later blocks a stream of value-value attention.

In each block of the second part values attend to values (queries and keys are the values too), and what comes out of
the block's own output projection is added to the value-value stream, without the feed-forward network. That stream
starts as the ordinary one is before those blocks. Its values are the ordinary stream's: it listens, and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.blocks import complete, embed, in_precision, project
from core.sequences import Group, Stage
from core.vision import check


@dataclass(frozen=True, eq=False)
class Streams:
    """What the pass sees of B images, of N patches each.

    Attributes:
        image: f(x), float32 [B, d], of no set length.
        ordinary: Patch tokens of the ordinary stream behind each chosen block, float32 [B, N, w].
        values: Those of the value-value stream behind each chosen block that comes after its start, the same.
    """

    image: Tensor
    ordinary: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def take(self, rows: list[int] | slice) -> Streams:
        """The streams of some of the images."""
        return Streams(
            self.image[rows],
            tuple(tokens[rows] for tokens in self.ordinary),
            tuple(tokens[rows] for tokens in self.values),
        )


class TwoStreamPass(nn.Module):
    """The pass for one model.

    Args:
        visual: `open_clip.transformer.VisionTransformer` with class-token pooling, in float32.
        layers: The chosen blocks, ascending, counted from 1.
        start: The block behind which the value-value stream starts; None: the first chosen one.
        dtype: What linear layers and attention compute in; what is added up stays in float32.
        released: Collect what the release does: tokens that later blocks have added to.

    Raises:
        UnsupportedModelError: another architecture.
        ValueError: the model has no such blocks.
    """

    def __init__(
        self,
        visual: Any,
        layers: Sequence[int],
        start: int | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        released: bool = False,
    ) -> None:
        super().__init__()
        check(visual, ())
        depth = len(visual.transformer.resblocks)
        check_layers(layers, start, depth)
        self.visual = visual
        self.layers = tuple(layers)
        self.start = layers[0] if start is None else start
        self.released = released
        rows, cols = visual.grid_size
        tokens = 1 + int(rows) * int(cols)
        everything = Group(torch.arange(tokens, device=visual.conv1.weight.device)[None], tokens)
        resblocks = visual.transformer.resblocks
        self.blocks = resblocks if dtype == torch.float32 else in_precision(resblocks, dtype)
        self._stage = Stage(list(self.blocks), [everything])

    def forward(self, pixels: Tensor) -> Streams:
        """Streams of normalised images, float32 [B, 3, H, W] of the model's size."""
        batch = len(pixels)
        embedded = embed(self.visual, pixels)
        x = values = embedded.flatten(0, 1)
        ordinary: dict[int, Tensor] = {}  # what is collected of each stream, by block
        among_values: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks, 1):
            qkv = project(block, x)
            attended = self._stage.attend(block, qkv, batch)
            if self.released and number - 1 in ordinary:
                # The release adds attention's output in place, to the tokens that were collected before this block.
                ordinary[number - 1] = ordinary[number - 1] + block.ls_1(block.attn.out_proj(attended))
            if number > self.start:
                value = qkv.chunk(3, -1)[2]
                mixed = self._stage.attend(block, torch.cat([value, value, value], -1), batch)
                values = values + block.ls_1(block.attn.out_proj(mixed))
            x = complete(block, x, attended)
            if number == self.start:
                values = x
            if number in self.layers:
                ordinary[number], among_values[number] = x, values
        if self.released:
            # There the stream starts on the first block's collected tokens, and all of it is that one tensor.
            ordinary[self.start] = values
            among_values = dict.fromkeys(among_values, values)

        def patches(tokens: Tensor) -> Tensor:
            return tokens.view(embedded.shape)[:, 1:]

        image = self.visual.ln_post(x.view(embedded.shape)[:, 0]) @ self.visual.proj
        return Streams(
            image,
            tuple(patches(ordinary[number]) for number in self.layers),
            tuple(patches(among_values[number]) for number in self.layers if number > self.start),
        )


def check_layers(layers: Sequence[int], start: int | None, depth: int) -> None:
    """Raises ValueError: the pass cannot choose these blocks of `depth`, or none of them lies behind `start`."""
    if not layers or list(layers) != sorted(set(layers)) or not 1 <= layers[0] <= layers[-1] <= depth:
        raise ValueError(f"layers {list(layers)}: name some of the blocks 1 to {depth}, ascending")
    if start is None and len(layers) < 2:
        raise ValueError(f"layers {list(layers)}: name two or more, or a start before them")
    if start is not None and not 1 <= start < layers[-1]:
        raise ValueError(f"start {start}: name a block from 1 to {layers[-1] - 1}, before the last of the layers")
