"""The CLIP model: loading it, telling what it is, pixels and prompts into its terms."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.clip import CLIP, SimpleTokenizer, open_clip
from core.model_error import ModelError
from core.models import BUNDLED as BUNDLED
from core.models import load_bundled
from core.preprocess import VERSION as PREPROCESS_VERSION
from core.preprocess import Preprocess
from core.text_tower import TextTower
from core.traits import CLIP_TRAITS, Traits
from core.weights.file import why_not_read
from core.weights.source import find
from core.weights.store import Store

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
UNTRAINED = "untrained"
DEFAULT = BUNDLED
"""What pictures are judged by where no model is named and no line is configured."""
_UNTRAINED_CONFIG = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 240, "layers": 6, "width": 192, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
CLIP_MEAN: tuple[float, ...] = open_clip.OPENAI_DATASET_MEAN
CLIP_STD: tuple[float, ...] = open_clip.OPENAI_DATASET_STD


@dataclass(frozen=True, eq=False)
class Backbone:
    """A CLIP model on its device.

    Attributes:
        name: As in every verdict; begins with `untrained` when the weights are random.
        fingerprint: SHA-256, hexadecimal, of the weights in float32 and the preprocessing.
        device: Where it computes.
        dtype: What windows are computed in: `fp32`, `bf16` or `fp16`.
        visual: open_clip's vision transformer, float32, on the device.
        pixels: Frames to the transformer's input, on the device.
        text: The other half of the model, which embeds sentences.
        traits: What suits it.
    """

    name: str
    fingerprint: str
    device: torch.device
    dtype: str
    visual: Any
    pixels: Preprocess
    text: TextTower
    traits: Traits = CLIP_TRAITS

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patch tokens."""
        rows, cols = self.visual.grid_size
        return int(rows), int(cols)

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """g(t) before normalisation, float32 [P, d], on the CPU. A prompt longer than the context is cut off."""
        return self.text.embed(prompts)


def load_backbone(
    name: str, weights: str | None, device: str = "cpu", dtype: str = "auto", store: Store | None = None
) -> Backbone:
    """The model `name` of open_clip with `weights`, a pretrained tag or a file.

    `bundled` is the model that comes with the package and `untrained` one with random weights; they take no `weights`.

    A tag is looked for in `store`, then where open_clip keeps what it fetched itself. Weights are read
    without running any code that they may hold.

    Raises:
        ModelError: model, weights, device or dtype cannot be had as asked. Nothing else is used in their place.
    """
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    if name == UNTRAINED:
        return wrap_model(UNTRAINED, _untrained(), _tokenize, where, kind, CLIP_MEAN, CLIP_STD, reload=_untrained)
    if name == BUNDLED:
        bundled, card = load_bundled()
        return wrap_model(
            card.name,
            bundled,
            _tokenize,
            where,
            kind,
            CLIP_MEAN,
            CLIP_STD,
            traits=card.traits,
            reload=lambda: load_bundled()[0],
        )
    if weights is None:
        raise ModelError(f"model {name!r} needs weights: a pretrained tag of open_clip or the path of a file")
    path, settings = find(name, weights, store)
    read = partial(read_model, name, path, settings)
    mean, std = settings.get("mean", CLIP_MEAN), settings.get("std", CLIP_STD)
    return wrap_model(name, read(), open_clip.get_tokenizer(name), where, kind, mean, std, reload=read)


def read_model(name: str, path: Path, settings: dict[str, Any], called: str | None = None) -> CLIP:
    """The model `name` of open_clip with the weights of a file, every one of them, read without running any code.

    Raises:
        ModelError: they do not load; it names the file as `called`, or by its path.
    """
    try:
        with _quiet():
            return open_clip.create_model(
                name,
                str(path),
                device="cpu",
                force_quick_gelu=bool(settings.get("quick_gelu")),
                weights_only=True,
            )
    except Exception as error:  # the readers of three file formats, each with errors of its own
        raise ModelError(f"weights {called or path} do not load into {name}: {why_not_read(error)}") from None


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


@cache
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer(context_length=77)


def _tokenize(sentences: list[str]) -> Tensor:
    """open_clip's own tokenizer, made when there is something to say: a start with compiled packs goes without."""
    tokens: Tensor = _tokenizer()(sentences)
    return tokens


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
    *,
    traits: Traits = CLIP_TRAITS,
    reload: Callable[[], Any] | None = None,
) -> Backbone:
    """A CLIP model of open_clip as a backbone, which takes it apart: only its vision transformer goes to `device`.

    With `reload`, which gives the model anew, the text half can be let go of.
    """
    model.eval().requires_grad_(False)
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    fingerprint = fingerprint_of(model, (height, width), tuple(mean), tuple(std), PREPROCESS_VERSION)
    visual = model.visual.to(device)
    del model.visual
    pixels = Preprocess((height, width), mean, std, device)
    text = TextTower(model, tokenize, None if reload is None else partial(_text_of, reload))
    return Backbone(name, fingerprint, device, dtype, visual, pixels, text, traits)


def _text_of(reload: Callable[[], Any]) -> Any:
    model = reload()
    model.eval().requires_grad_(False)
    del model.visual
    return model


def fingerprint_of(model: Any, *preprocessing: object) -> str:
    """SHA-256, hexadecimal, of the weights in float32 and of what is done to pictures before them."""
    digest = hashlib.sha256(repr(preprocessing).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().contiguous().numpy())
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs each of its steps to the root logger; what matters of them is in the error that it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
