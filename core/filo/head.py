"""All of FiLo that is trained, and the record of what it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from core import files
from core.backbone import Backbone
from core.filo.adapter import Adapter
from core.filo.context import LENGTH, LearnedContext
from core.filo.decoders import KERNELS, ConvolutionDecoder, LinearDecoder
from core.filo.maps import SCALE
from core.filo.vision import check_layers
from core.model_error import ModelError, first_line
from core.remedy import remedy

LAYERS = 4
"""Blocks whose tokens are decoded."""
_RECORD = "filo"
_WIDEST = 1 << 14  # dimensions; larger ones are of no model, and their tensors of no memory
_DEEPEST = 1000


def layers_of(depth: int) -> tuple[int, ...]:
    """The blocks, counted from 1, that are decoded in a model of `depth` blocks: 6, 12, 18 and 24 of 24."""
    return tuple(sorted({-(-depth * quarter // LAYERS) for quarter in range(1, LAYERS + 1)}))


class HeadRecord(BaseModel):
    """What a head is, and the model that it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    schema_: Literal[1] = Field(default=1, alias="schema")
    """Version of this format."""
    model: str
    """Name of the model."""
    fingerprint: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the model that it was trained on; null where the head came without one."""
    image_size: tuple[Annotated[int, Field(ge=1, le=_WIDEST)], Annotated[int, Field(ge=1, le=_WIDEST)]]
    """Height and width of the model's input, pixels."""
    activation: Literal["gelu", "quick_gelu"]
    """Of the model's feed-forward networks."""
    depth: int = Field(ge=2, le=_DEEPEST)
    """Blocks of the model's vision transformer."""
    width: int = Field(ge=1, le=_WIDEST)
    """w, dimensions of their tokens."""
    joint: int = Field(ge=2, le=_WIDEST)
    """d, dimensions of the joint space."""
    text_width: int = Field(ge=1, le=_WIDEST)
    """t, dimensions of the text encoder's tokens."""
    layers: tuple[int, ...]
    """Blocks that are decoded, ascending, counted from 1."""
    start: int | None = None
    """Block behind which the value-value stream starts; null: the first of `layers`."""
    context: int = Field(default=LENGTH, ge=1, le=60)
    """n, vectors of each learned context."""
    kernels: tuple[str, ...] = Field(default=tuple(KERNELS), min_length=1)
    """The parallel convolutions; keys of `decoders.KERNELS`."""
    bottleneck: int | None = Field(default=None, ge=1, le=_WIDEST)
    """Dimensions that tokens are taken to before the convolutions; null: their own."""
    scale: float = Field(default=SCALE, gt=0, le=1000)
    """What cosines are multiplied by before the softmax over the labels. Where a tower tells the labels well apart, the
    release's number makes nearly all of a map 0 or 1, and what lies between is lost."""
    released: bool = False
    """Whether it was trained by the release, with all that the release does besides the method."""
    source: str = ""
    """Where it comes from, in words."""
    notes: dict[str, Any] = Field(default_factory=dict)
    """What else is known of its training."""

    @model_validator(mode="after")
    def _consistent(self) -> HeadRecord:
        check_layers(self.layers, self.start, self.depth)
        if self.released and self.start is not None:
            raise ValueError("start: in the release the value-value stream starts behind the first of the layers")
        if unknown := set(self.kernels) - set(KERNELS):
            raise ValueError(f"kernels {sorted(unknown)} are not known; use some of {', '.join(KERNELS)}")
        return self


def record_for(backbone: Backbone, **changes: Any) -> HeadRecord:
    """The record of a head that is to be trained on a model; `changes` are fields of `HeadRecord`.

    Raises:
        ValueError: a change is not possible.
    """
    depth, width, joint, text_width = shape_of(backbone)
    facts: dict[str, Any] = {
        "model": backbone.name,
        "fingerprint": backbone.fingerprint,
        "image_size": backbone.pixels.size,
        "activation": activation_of(backbone),
        "depth": depth,
        "width": width,
        "joint": joint,
        "text_width": text_width,
        "layers": layers_of(depth),
    }
    return HeadRecord(**(facts | changes))


def shape_of(backbone: Backbone) -> tuple[int, int, int, int]:
    """Of a model: blocks, width of their tokens, joint dimensions, and width of the text encoder's tokens."""
    width, joint = backbone.visual.proj.shape
    text = backbone.text.load()
    half = text if hasattr(text, "token_embedding") else text.text
    return len(backbone.visual.transformer.resblocks), int(width), int(joint), int(half.token_embedding.weight.shape[1])


def activation_of(backbone: Backbone) -> str:
    """`gelu`, or `quick_gelu` as OpenAI's own models have it."""
    layer = type(backbone.visual.transformer.resblocks[0].mlp.gelu).__name__
    return {"GELU": "gelu", "QuickGELU": "quick_gelu"}.get(layer, layer)


class FiloHead(nn.Module):
    """The decoders, the learned contexts and the adapter, named as in the release's checkpoints.

    Args:
        record: What it is.
        seed: Of its first weights.
    """

    def __init__(self, record: HeadRecord, seed: int = 0) -> None:
        super().__init__()
        self.record = record
        width, joint, count = record.width, record.joint, len(record.layers)
        start = record.layers[0] if record.start is None else record.start
        behind = sum(layer > start for layer in record.layers)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.decoder_linear = LinearDecoder(width, joint, count)
            self.decoder_cov = ConvolutionDecoder(width, joint, behind, record.kernels, record.bottleneck)
            self.normal_prompt_learner = LearnedContext(joint, record.text_width, record.context)
            self.abnormal_prompt_learner = LearnedContext(joint, record.text_width, record.context)
            self.adapter = Adapter(joint)

    @property
    def fingerprint(self) -> str:
        """SHA-256, hexadecimal, of record and weights."""
        return _digest(self.record, self.state_dict())

    def save(self, path: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Writes the head as safetensors, with its record; a file that is there is replaced at once.

        Raises:
            OSError: the file cannot be written.
        """
        tensors = {name: value.detach().cpu().to(dtype).contiguous() for name, value in self.state_dict().items()}
        facts = {_RECORD: self.record.model_dump_json(by_alias=True), "sha256": _digest(self.record, tensors)}
        with files.replacing(path, sync=True) as draft:
            save_file(tensors, draft, facts)


def load_head(path: Path) -> FiloHead:
    """The head of a file that `FiloHead.save` wrote, float32, on the CPU.

    Raises:
        ModelError: it is no such file, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except FileNotFoundError:
        raise ModelError(f"FiLo head {path}: no such file") from None
    except (OSError, SafetensorError) as error:
        if path.suffix != ".safetensors" and path.is_file():
            advice = remedy("import head", "bring a checkpoint of the release here")
            raise ModelError(f"{path} holds no FiLo head, which is a file of safetensors; {advice}") from None
        raise ModelError(f"FiLo head {path} cannot be read: {first_line(error)}; bring it here again") from None
    if _RECORD not in facts:
        raise ModelError(
            f"{path} holds no FiLo head; {remedy('import head', 'bring a checkpoint of the release here')}"
        )
    try:
        record = HeadRecord.model_validate_json(facts[_RECORD])
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "as a whole"
        raise ModelError(
            f"FiLo head {path}: its record is not right ({where}: {problem['msg']}); make it anew"
        ) from None
    for name, value in tensors.items():
        check_numbers(name, value, f"FiLo head {path}")
    if facts.get("sha256") != _digest(record, tensors):
        raise ModelError(f"FiLo head {path} is damaged: its tensors are not those it was written with; bring it again")
    return head_of(record, tensors, f"FiLo head {path}")


def head_of(record: HeadRecord, tensors: Mapping[str, Tensor], called: str) -> FiloHead:
    """The head of a record with these tensors, in float32: all that it has, of its shapes, finite, and no others.

    Raises:
        ModelError: that is not so.
    """
    with torch.device("meta"):  # a head of the release is a gigabyte, which need not be drawn at random first
        head = FiloHead(record)
    wanted = head.state_dict()
    if missing := sorted(wanted.keys() - tensors.keys()):
        raise ModelError(f"{called} lacks {_some(missing)}")
    if others := sorted(tensors.keys() - wanted.keys()):
        raise ModelError(f"{called} holds {_some(others)}, which a head has no place for")
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)} there, {tuple(value.shape)} by its record"
            raise ModelError(f"{called}: {name} is {shapes}")
        if not bool(tensors[name].float().isfinite().all()):  # not every type knows what is finite
            raise ModelError(f"{called}: {name} holds what is no finite number; train it anew")
    head.load_state_dict({name: value.float() for name, value in tensors.items()}, assign=True)
    return head.eval()


def check_numbers(name: str, value: Tensor, called: str) -> None:
    """Raises ModelError: a tensor is no plain one of real floating numbers, all of which are there."""
    if not value.is_floating_point():
        raise ModelError(f"{called}: {name} holds {str(value.dtype).removeprefix('torch.')}, not floating numbers")
    if value.layout != torch.strided or value.is_meta:
        raise ModelError(f"{called}: {name} is a tensor without all of its numbers; save it dense, from the CPU")


def _some(names: list[str], most: int = 4) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _digest(record: HeadRecord, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(record.model_dump_json(by_alias=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
