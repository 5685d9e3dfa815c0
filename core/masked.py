"""Windows with one token each: a class token that looks at the window's patches in the image's own keys and values.

The exact pass (`vision.py`) runs the transformer once per window, on copies of its patches that see nothing else. Here
the image goes through once, and beside it for each window a token that starts as the class token. In each layer it
attends to itself and to the image's tokens of the window's patches; the image's tokens do not attend to it. Those have
seen the whole image, so that what is around a window shows in its embedding: it is another feature than the exact one,
and must not be compared with it. With scales [2, 3] on a grid of 15 x 15 there are 591 tokens in place of 2,896.

A window that is the whole grid has the image's own embedding: its token attends to what the image's class token does.

In half precision the window tokens' linear layers and attention compute in it, on the image's keys and values rounded
to it. The image is passed in float32 as in the exact pass, and is then most of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from core.aligner import Values
from core.blocks import complete, embed, in_precision, project
from core.vision import Features, VisionPass, check
from core.windows import Windows


class MaskedPass(VisionPass):
    """As `VisionPass`, with one token a window; its features have the same shapes.

    In the `Values` of a scale token 0 of a window is its own, and the others are the image's at the window's patches.

    Args:
        visual: `open_clip.transformer.VisionTransformer` with class-token pooling, in float32.
        windows: The windows of each scale, on the model's grid; at least one scale.
        dtype: What the window tokens are computed in.
        patches: Also return the last layer's patch tokens.

    Raises:
        UnsupportedModelError: another architecture, or windows of another grid.
    """

    def __init__(
        self, visual: Any, windows: Sequence[Windows], *, dtype: torch.dtype = torch.float32, patches: bool = False
    ) -> None:
        check(visual, windows)
        super().__init__(visual, (), patches=patches)
        blocks = visual.transformer.resblocks
        self.local_blocks = blocks if dtype == torch.float32 else in_precision(blocks, dtype)
        self._patches = [tables.index.to(visual.conv1.weight.device) for tables in windows]  # [W, n] of each scale
        self._counts = [len(patches) for patches in self._patches]
        self._tokens = [F.pad(patches + 1, (1, 0)) for patches in self._patches]  # [W, 1 + n], CLS first

    @torch.inference_mode()
    def forward(self, pixels: Tensor) -> Features:
        """Features of normalised images, float32 [B, 3, H, W] of the model's size."""
        batch, stage = len(pixels), self.stages[0]
        embedded = embed(self.visual, pixels)
        x = embedded.flatten(0, 1)
        window = embedded[:, :1].expand(-1, sum(self._counts), -1).flatten(0, 1)
        *blocks, last = zip(stage.blocks, self.local_blocks, strict=True)
        for block, local in blocks:
            qkv = project(block, x)
            window, _ = self._look(local, window, qkv, batch)
            x = complete(block, x, stage.attend(block, qkv, batch))
        block, local = last
        qkv = project(block, x)
        window, values = self._look(local, window, qkv, batch)
        _, read = self._tables_of(batch)[0]
        x, value = stage.last(x, qkv, batch, read)
        return self._features(x.view(batch, -1, x.shape[-1]), value.view(batch, -1, x.shape[-1]), window, values)

    def _look(self, block: Any, window: Tensor, image: Tensor, batch: int) -> tuple[Tensor, list[Tensor]]:
        """The block for the window tokens [B * W, w], beside the image's queries, keys and values [B * (1 + N), 3w].

        Also the values [B, W, 1 + n, w] that the tokens of each scale attended to; W counts all scales' in the tokens.
        """
        heads, width = block.attn.num_heads, window.shape[-1]
        tokens = project(block, window).view(batch, -1, 3, width)
        patches = image.view(batch, -1, 3, width)[:, 1:, 1:].to(tokens.dtype)
        attended, values = [], []
        for token, held in zip(torch.split(tokens, self._counts, 1), self._patches, strict=True):
            both = torch.cat([token[:, :, None, 1:], patches[:, held]], 2)  # [B, W, 1 + n, 2, w]
            query = token[:, :, 0].reshape(-1, 1, heads, width // heads).transpose(1, 2)
            key, value = both.view(-1, both.shape[2], 2, heads, width // heads).permute(2, 0, 3, 1, 4)
            attended.append(F.scaled_dot_product_attention(query, key, value).view(batch, -1, width))
            values.append(both[:, :, :, 1])
        return complete(block, window, torch.cat(attended, 1).flatten(0, 1)), values

    def _features(self, image: Tensor, value: Tensor, window: Tensor, values: Sequence[Tensor]) -> Features:
        """From the last layer: read tokens [B, Q, w], values [B, 1 + N, w], window tokens [B * W, w], their values."""
        visual = self.visual
        image = visual.ln_post(image)
        window = visual.ln_post(window).view(len(image), -1, image.shape[-1])
        return Features(
            F.normalize(image[:, 0] @ visual.proj, dim=-1),
            torch.split(F.normalize(window @ visual.proj, dim=-1), self._counts, 1),
            tuple(Values(value, scale, index) for scale, index in zip(values, self._tokens, strict=True)),
            F.normalize(image[:, 1:], dim=-1) if image.shape[1] > 1 else None,
        )
