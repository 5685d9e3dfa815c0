"""The CLIP model: loading it, telling what it is, pixels and prompts into its terms."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from core.image import Rgb
from core.weights import ModelError, find

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
UNTRAINED = "untrained"
_UNTRAINED_CONFIG = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 240, "layers": 6, "width": 192, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
CLIP_MEAN: tuple[float, ...] = open_clip.OPENAI_DATASET_MEAN
CLIP_STD: tuple[float, ...] = open_clip.OPENAI_DATASET_STD
_TEXT_BATCH = 64


@dataclass(frozen=True, eq=False)
class Backbone:
    """A CLIP model on its device.

    Attributes:
        name: As in every verdict; begins with `untrained` when the weights are random.
        fingerprint: SHA-256, hexadecimal, of the weights in float32 and the preprocessing.
        device: Where it computes.
        dtype: In what it computes: `fp32`, `bf16` or `fp16`.
        visual: open_clip's vision transformer.
        size: Height and width of its input, pixels.
        mean: Of the input's channels, RGB, in [0, 1].
        std: Of the input's channels, RGB, in [0, 1].
    """

    name: str
    fingerprint: str
    device: torch.device
    dtype: str
    visual: Any
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    _clip: Any
    _tokenize: Callable[[list[str]], Tensor]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patch tokens."""
        rows, cols = self.visual.grid_size
        return int(rows), int(cols)

    def pixels(self, frames: Sequence[Rgb]) -> Tensor:
        """Frames as the model wants them: [B, 3, H, W] in its dtype, on its device.

        Each frame is squeezed to the model's size, so that all of it is inspected, with open_clip's own bicubic,
        antialiased interpolation; then the mean is taken off and the result divided by the standard deviation.
        """
        resized = torch.cat([self._resize(frame) for frame in frames])
        mean = torch.tensor(self.mean, device=self.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=self.device).view(1, 3, 1, 1)
        return ((resized.float() / 255.0 - mean) / std).to(DTYPES[self.dtype])

    def _resize(self, frame: Rgb) -> Tensor:
        image = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device).permute(2, 0, 1)[None]
        if image.shape[2:] == self.size:
            return image
        if self.device.type == "cpu":  # its 8-bit kernel rounds between the two directions, as Pillow does
            return F.interpolate(image, self.size, mode="bicubic", antialias=True, align_corners=False)
        fine = F.interpolate(image.float(), self.size, mode="bicubic", antialias=True, align_corners=False)
        return fine.round().clamp(0, 255)

    @torch.inference_mode()
    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """g(t) before normalisation, float32 [P, d]. A prompt longer than the model's context is cut off."""
        parts = []
        for start in range(0, len(prompts), _TEXT_BATCH):
            tokens = self._tokenize(list(prompts[start : start + _TEXT_BATCH])).to(self.device)
            parts.append(self._clip.encode_text(tokens).float())
        return torch.cat(parts)


def load_backbone(name: str, weights: str | None, device: str = "cpu", dtype: str = "auto") -> Backbone:
    """The model `name` of open_clip with `weights`, a pretrained tag or a file; `untrained` takes none.

    Weights are read without running any code that they may hold.

    Raises:
        ModelError: model, weights, device or dtype cannot be had as asked. Nothing else is used in their place.
    """
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    if name == UNTRAINED:
        return wrap_model(UNTRAINED, _untrained(), SimpleTokenizer(context_length=77), where, kind, CLIP_MEAN, CLIP_STD)
    if weights is None:
        raise ModelError(f"model {name!r} needs weights: a pretrained tag of open_clip or the path of a file")
    path, settings = find(name, weights)
    try:
        with _quiet():
            model = open_clip.create_model(
                name,
                str(path),
                device="cpu",
                force_quick_gelu=bool(settings.get("quick_gelu")),
                weights_only=True,
            )
    except Exception as error:  # the readers of three file formats, each with errors of its own
        raise ModelError(f"weights {path} do not load into {name}: {_first_line(error)}") from error
    mean, std = settings.get("mean", CLIP_MEAN), settings.get("std", CLIP_STD)
    return wrap_model(name, model, open_clip.get_tokenizer(name), where, kind, mean, std)


def resolve_device(device: str) -> torch.device:
    """The device called `device`; ModelError when it is not here."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ModelError(f"device {device!r} is no device; use cuda, cuda:0 ... or cpu") from None
    if found.type not in ("cuda", "cpu"):
        raise ModelError(f"device {device!r} is not supported; use cuda, cuda:0 ... or cpu")
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise ModelError(
                f"device {device!r}: torch {torch.__version__} sees no CUDA device; check the driver with nvidia-smi, "
                "or choose device cpu, which is slower"
            )
        if found.index is not None and found.index >= torch.cuda.device_count():
            raise ModelError(f"device {device!r}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0")
    return found


def resolve_dtype(dtype: str, device: torch.device) -> str:
    """`fp32`, `bf16` or `fp16` for what was asked; `auto` is fp16 on CUDA, bf16 on a CPU that has it, else fp32."""
    if dtype == "auto":
        return "fp16" if device.type == "cuda" else "bf16" if cpu_has_bf16() else "fp32"
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not known; use auto, {', '.join(DTYPES)}")
    if dtype == "fp16" and device.type == "cpu":
        raise ModelError("dtype 'fp16' needs a CUDA device; on a CPU use bf16, fp32 or auto")
    return dtype


def cpu_has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware, so that it is faster than float32."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def _untrained() -> CLIP:
    """A small CLIP with seeded random weights, the same on every machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIP(**_UNTRAINED_CONFIG)


def wrap_model(
    name: str,
    model: Any,
    tokenize: Callable[[list[str]], Tensor],
    device: torch.device,
    dtype: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Backbone:
    """A CLIP model of open_clip, moved to `device`, as a backbone."""
    model.eval().requires_grad_(False)
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    fingerprint = _fingerprint(model, (height, width), mean, std)
    model.to(device)
    model.visual.to(DTYPES[dtype])  # the text tower stays in float32: it runs once per pack
    return Backbone(
        name,
        fingerprint,
        device,
        dtype,
        model.visual,
        (height, width),
        tuple(mean),
        tuple(std),
        model,
        tokenize,
    )


def _fingerprint(model: Any, *preprocessing: object) -> str:
    digest = hashlib.sha256(repr(preprocessing).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().contiguous().numpy())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs each of its steps to the root logger; what matters of them is in the error that it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
