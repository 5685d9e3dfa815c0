"""How large everything is: as it is to be measured on a GPU, or as small as it still runs for a dry run."""

from __future__ import annotations

import copy
import gc
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, load_backbone, resolve_dtype, wrap_model
from core.clip import CLIP, SimpleTokenizer, open_clip

MODEL = "ViT-B-16-plus-240"
TINY = "ViT-tiny"
TFLOP = 0.67
"""The arithmetic of the large model's pass, were each token of the image and of all windows seen by each layer."""
TINY_CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 80, "layers": 2, "width": 64, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
NO_CUDA = "there is no CUDA device"


@dataclass(frozen=True)
class Scale:
    """What differs between a measurement and a dry run.

    Attributes:
        device: Where it runs.
        dry: Whether that is no GPU.
        batches: Of frames, for the times.
        rounds: Of the smallest batch; larger ones have fewer.
    """

    device: torch.device
    dry: bool
    batches: tuple[int, ...]
    rounds: int

    @classmethod
    def here(cls) -> Scale:
        """What this machine allows."""
        if torch.cuda.is_available():
            return cls(torch.device("cuda", torch.cuda.current_device()), False, (1, 2, 4, 8, 16), 60)
        return cls(torch.device("cpu"), True, (1, 2), 2)

    @property
    def model(self) -> str:
        """The name of the large model, or of its stand-in."""
        return TINY if self.dry else MODEL

    @property
    def config(self) -> dict[str, Any]:
        """The shape of the large model. Its text tower has one layer: it runs on the CPU, before anything is timed."""
        config = copy.deepcopy(TINY_CONFIG if self.dry else open_clip.get_model_config(MODEL))
        config["text_cfg"]["layers"] = 1
        return config

    def dtypes(self, name: str) -> tuple[str, ...]:
        """The precisions to compare; a CPU has no fp16 here, and few have a bf16 that is fast."""
        return ("fp32", "fp16", "bf16") if not self.dry else ("fp32", "bf16") if name == TINY else ("fp32",)

    @property
    def fast(self) -> str:
        """The precision that a service has there."""
        return resolve_dtype("auto", self.device)

    def rounds_of(self, batch: int) -> int:
        """Rounds for a batch: no fewer than a third of the smallest one's."""
        return max(self.rounds // batch, -(-self.rounds // 3))

    def synchronize(self) -> None:
        """Waits for the device."""
        if not self.dry:
            torch.cuda.synchronize(self.device)

    def tidy(self) -> None:
        """Gives the device's memory back that nothing holds any more, and counts its peak anew."""
        gc.collect()
        if not self.dry:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def backbone(self, name: str, device: torch.device, dtype: str) -> Backbone:
        """The model `bundled`, or the large one."""
        if name == "bundled":
            return load_backbone(name, None, str(device), dtype)
        tokenize = SimpleTokenizer(context_length=77)
        return wrap_model(name, copy.deepcopy(_clip(self)), tokenize, device, dtype, CLIP_MEAN, CLIP_STD)


@cache
def _clip(scale: Scale) -> CLIP:
    """The large model with seeded random weights, its norms and biases too, so that none of them is idle."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIP(**scale.config)
        for parameter in model.visual.parameters():
            if parameter.ndim == 1:
                parameter.data += 0.05 * torch.randn_like(parameter)
    return model
