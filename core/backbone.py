"""The CLIP model on its device: what it is, pixels and prompts into its terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from core.fingerprint import fingerprint_of, picture, sentence
from core.model_error import ModelError
from core.models import BUNDLED as BUNDLED
from core.overrides import NONE, Overrides
from core.preprocess import VERSION as PREPROCESS_VERSION
from core.preprocess import Preprocess
from core.text_tower import TextTower
from core.traits import CLIP_TRAITS, Traits
from core.vision import UnsupportedModelError, VisionPass
from core.weights.clip_weights import CLIP_MEAN as CLIP_MEAN
from core.weights.clip_weights import CLIP_STD as CLIP_STD
from core.weights.clip_weights import UNTRAINED as UNTRAINED
from core.weights.clip_weights import load_clip
from core.weights.store import Store
from core.windows import Windows

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DEFAULT = BUNDLED
"""What pictures are judged by where no model is named and no line is configured."""


@dataclass(frozen=True, eq=False)
class Backbone:
    """A CLIP model on its device.

    Attributes:
        name: As in every verdict; begins with `untrained` when the weights are random.
        fingerprint: SHA-256, hexadecimal, of weights, architecture, preprocessing and output; see `core.fingerprint`.
        device: Where it computes.
        dtype: What windows are computed in: `fp32`, `bf16` or `fp16`.
        visual: open_clip's vision transformer, float32, on the device.
        pixels: Frames to the transformer's input, on the device.
        text: The other half of the model, which embeds sentences.
        traits: What suits it.
        assumed: What nobody said of its weights, in words; empty where all is known.
    """

    name: str
    fingerprint: str
    device: torch.device
    dtype: str
    visual: Any
    pixels: Preprocess
    text: TextTower
    traits: Traits = CLIP_TRAITS
    assumed: str = ""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patch tokens."""
        rows, cols = self.visual.grid_size
        return int(rows), int(cols)

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """g(t) before normalisation, float32 [P, d], on the CPU. A prompt longer than the context is cut off."""
        return self.text.embed(prompts)


def load_backbone(
    name: str,
    weights: str | None,
    device: str = "cpu",
    dtype: str = "auto",
    store: Store | None = None,
    overrides: Overrides = NONE,
) -> Backbone:
    """The model `name` of open_clip with `weights`, a pretrained tag or a file.

    `bundled` is the model that comes with the package and `untrained` one with random weights; they take no `weights`.

    A tag is looked for in `store`, then where open_clip keeps what it fetched itself. A file there is known by its
    record; of any other `Backbone.assumed` says what is taken for granted, unless `overrides` say it. Weights are read
    without running any code that they may hold.

    Raises:
        ModelError: model, weights, device, dtype or input size cannot be had as asked. Nothing else is used in their
            place.
    """
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    network, known = load_clip(name, weights, store, overrides)
    return wrap_model(
        known.name,
        network,
        known.tokenize,
        where,
        kind,
        known.mean,
        known.std,
        traits=known.traits,
        reload=known.reload,
        assumed=known.assumed,
    )


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


def wrap_model(
    name: str,
    model: Any,
    tokenize: Callable[[list[str]], Tensor],
    device: torch.device,
    dtype: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    traits: Traits = CLIP_TRAITS,
    reload: Callable[[], Any] | None = None,
    assumed: str = "",
) -> Backbone:
    """A CLIP model of open_clip as a backbone, which takes it apart: only its vision transformer goes to `device`.

    With `reload`, which gives the model anew, the text half can be let go of.

    Raises:
        ModelError: the method's pass cannot run it.
    """
    model.eval().requires_grad_(False)
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    described = ((height, width), tuple(mean), tuple(std), PREPROCESS_VERSION)
    here = Preprocess((height, width), mean, std, torch.device("cpu"))
    try:
        fingerprint = fingerprint_of(model, _output(model, here), described)
    except UnsupportedModelError as error:
        raise ModelError(f"model {name!r} cannot be used: {error}") from error
    visual = model.visual.to(device)
    del model.visual
    pixels = Preprocess((height, width), mean, std, device)
    text = TextTower(model, tokenize, None if reload is None else partial(_text_of, reload))
    return Backbone(name, fingerprint, device, dtype, visual, pixels, text, traits, assumed)


@torch.inference_mode()
def _output(model: Any, pixels: Preprocess) -> list[Tensor]:
    """What the method's own pass and the text half make of the fixed picture and sentence."""
    rows, cols = (int(side) for side in model.visual.grid_size)
    corner = torch.tensor([[0, 1, cols, cols + 1]])  # the one window that is needed
    windows = [Windows(2, (rows, cols), corner, torch.ones(1, rows * cols))] if min(rows, cols) > 1 else []
    features = VisionPass(model.visual, windows, patches=True)(pixels([picture(pixels.size)]))
    assert features.patches is not None
    half = model if hasattr(model, "context_length") else model.text
    tokens = sentence(int(half.context_length), int(half.vocab_size))
    return [features.image, *features.windows, features.patches, model.encode_text(tokens)]


def _text_of(reload: Callable[[], Any]) -> Any:
    model = reload()
    model.eval().requires_grad_(False)
    del model.visual
    return model
