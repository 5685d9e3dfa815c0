"""Frames to a model's pixels: open_clip's own transform, decided here and nowhere else.

Each frame is squeezed to the model's square, so that all of a part is inspected (open_clip's resize mode `squash`),
with its bicubic, antialiased interpolation, one axis after the other and rounded to 8 bits after each, as Pillow 13
does; then mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.image import Rgb
from core.picture import check_frames

VERSION = 1
"""Part of the model's fingerprint: features of another preprocessing are features of another model."""


class Preprocess:
    """The transform of one model on one device. Not for several threads at once.

    Args:
        size: Height and width of the model's input, pixels.
        mean: Of the channels, RGB, in [0, 1].
        std: Of the channels, RGB, in [0, 1].
        device: Where the result is wanted; there it is also resized.
    """

    def __init__(
        self, size: tuple[int, int], mean: Sequence[float], std: Sequence[float], device: torch.device
    ) -> None:
        self.size = size
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.device = device
        self._scale = 1.0 / (255.0 * torch.tensor(self.std, device=device).view(1, 3, 1, 1))
        self._shift = torch.tensor(self.mean, device=device).view(1, 3, 1, 1) * -255.0 * self._scale
        self._pinned: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, frames: Sequence[Rgb]) -> Tensor:
        """float32 [B, 3, H, W] of frames uint8 [h, w, 3], RGB, of any sizes.

        Raises:
            ImageError: there is none, or one is something else; floats, for instance, would be judged as nearly black.
        """
        check_frames(frames)
        resized = torch.cat([self._resize(self._load(slot, frame)) for slot, frame in enumerate(frames)])
        return torch.addcmul(self._shift, resized, self._scale)

    def _load(self, slot: int, frame: Rgb) -> Tensor:
        """The frame as uint8 [1, 3, h, w] on the device, by way of page-locked memory that is kept for its slot."""
        image = torch.from_numpy(np.ascontiguousarray(frame))
        if self.device.type == "cuda":
            key = (slot, *frame.shape)
            if key not in self._pinned:
                self._pinned = {one: kept for one, kept in self._pinned.items() if one[0] != slot}
                self._pinned[key] = torch.empty(frame.shape, dtype=torch.uint8, pin_memory=True)
            image = self._pinned[key].copy_(image).to(self.device, non_blocking=True)
        return image.permute(2, 0, 1)[None]

    def _resize(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        rows, cols = self.size
        # The order in which Pillow 13 takes the axes, found by trying: rows first where they shrink by so much more.
        rows_first = height > rows and 2 * rows * width < cols * (height + rows)
        between = (rows, width) if rows_first else (height, cols)
        for size in (between, self.size):
            image = _resample(image, size)
        return image.float()


def _resample(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic with antialiasing, rounded to 8 bits."""
    if image.shape[2:] == size:
        return image
    if image.device.type == "cpu":  # has a kernel for 8 bits, several times as fast
        return F.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False)
    fine = F.interpolate(image.float(), size, mode="bicubic", antialias=True, align_corners=False)
    return fine.round().clamp(0, 255)
