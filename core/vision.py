"""One pass: the whole image and all windows of all scales through the vision transformer together (`sequences`).

In half precision the windows' linear layers and attention compute in it; what is added up (the residual stream), norms
and the last projection stay in float32. The image itself, a twelfth of the tokens, is then passed on its own in
float32: prompts are chosen by comparing its similarities, and the least rounding can turn a choice over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.aligner import Values
from core.blocks import embed, in_precision
from core.sequences import Group, Stage
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
            tuple(scale[rows] for scale in self.windows),
            tuple(Values(scale.image[rows], scale.window[rows], scale.index) for scale in self.values),
            None if self.patches is None else self.patches[rows],
        )


class VisionPass(nn.Module):
    """The pass for one model and one set of windows.

    `torch.export` takes it, for batches of one size, once `torch.export.register_dataclass` knows `Features` and
    `Values`.

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
        image = Group(torch.arange(tokens, device=device)[None], tokens if patches else 1)
        local = [Group(F.pad(tables.index.to(device) + 1, (1, 0)), 1) for tables in windows]  # CLS first
        blocks = list(visual.transformer.resblocks)
        if dtype == torch.float32 or not local:
            self.stages = [Stage(blocks, [image, *local])]
        else:
            self.local_blocks = in_precision(visual.transformer.resblocks, dtype)
            self.stages = [Stage(blocks, [image]), Stage(list(self.local_blocks), local)]
        self._tables: dict[int, list[tuple[Tensor, Tensor]]] = {}

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Features:
        """Features of normalised images, float32 [B, 3, H, W] of the model's size."""
        embedded = embed(self.visual, pixels)
        passed = [
            group
            for stage, table in zip(self.stages, self._tables_of(len(pixels)), strict=True)
            for group in stage.run(self.visual.ln_post, embedded, table)
        ]
        (tokens, v_global), local = passed[0], passed[1:]
        image, *windows = [F.normalize(read[:, :, 0] @ self.visual.proj, dim=-1) for read, _ in passed]
        groups = [group for stage in self.stages for group in stage.groups]
        return Features(
            image[:, 0],
            tuple(windows),
            tuple(
                Values(v_global[:, 0], v_local, group.index)
                for (_, v_local), group in zip(local, groups[1:], strict=True)
            ),
            F.normalize(tokens[:, 0, 1:], dim=-1) if groups[0].queries > 1 else None,
        )

    def _tables_of(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """Of each stage."""
        if batch not in self._tables:
            tokens = self.stages[0].groups[0].length
            self._tables[batch] = [stage.table(batch, tokens) for stage in self.stages]
        return self._tables[batch]


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
    for tables in windows:
        if tables.grid != tuple(visual.grid_size):
            raise UnsupportedModelError(
                f"windows for a grid of {tables.grid}, but the model's is {tuple(visual.grid_size)}"
            )
