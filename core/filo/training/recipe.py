"""How a head is trained: the numbers that can be chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Two stages: decoders and contexts by the maps, then the adapter alone by the image. The defaults are FiLo's own.

    Attributes:
        epochs: Of the first stage.
        adapter_epochs: Of the second stage.
        batch: Pictures in one step.
        decoder_rate: Learning rate of the decoders.
        context_rate: Learning rate of the learned contexts.
        adapter_rate: Learning rate of the adapter.
        fall: Share of each stage's steps over which its rates fall to zero at the end, 0 to 1.
        mosaics: Share of the samples that are 2 x 2 mosaics of a class, 0 to 1.
        prompts: Abnormal prompts that are drawn for each picture and step; 0: all states at all positions.
        seed: Of all draws.
    """

    epochs: int = 15
    adapter_epochs: int = 5
    batch: int = 1
    decoder_rate: float = 1e-4
    context_rate: float = 1e-3
    adapter_rate: float = 1e-5
    fall: float = 0.0
    mosaics: float = 0.2
    prompts: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("adapter_epochs", 0), ("batch", 1), ("prompts", 0), ("seed", 0)):
            if (value := getattr(self, name)) < least:
                raise ValueError(f"{name} {value}: it is {least} or more")
        for name in ("decoder_rate", "context_rate", "adapter_rate"):
            if not 0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} {value}: a learning rate is a finite number above 0")
        for name in ("fall", "mosaics"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} {value}: a share lies in [0, 1]")
        if self.epochs + self.adapter_epochs < 1:
            raise ValueError("epochs 0 and adapter_epochs 0: there is nothing to do")
