"""Checkpoints of the release: which tensors are FiLo's own, and whether the model around them is the one it was for.

A checkpoint is a pickle of one key, `filo`: a state dict of about a gigabyte. Besides the head it holds the whole CLIP
(`clip_model.*`, and its text half again as `text_encoder.*`), which is not taken from it: OpenAI's weights are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from core.clip import open_clip
from core.filo.head import FiloHead, HeadRecord, check_numbers, head_of, layers_of
from core.model_error import ModelError
from core.remedy import remedy
from core.weights.file import load_tensors

RELEASED_MODEL = "ViT-L-14-336"
RELEASED_SIZE = 518
"""Height and width of the input, pixels."""
_OWN = ("decoder_cov.", "decoder_linear.", "normal_prompt_learner.", "abnormal_prompt_learner.", "adapter.")
_AROUND = ("clip_model.", "text_encoder.")
_VISUAL = "clip_model.visual."
_BLOCK = re.compile(re.escape(f"{_VISUAL}transformer.resblocks.") + r"(\d+)\.")
_NAMINGS = (("attn.in_proj_weight", "attn.out_proj.weight"), ("attn.qkv.weight", "attn.proj.weight"))


@dataclass(frozen=True)
class Architecture:
    """The CLIP that a checkpoint has to be of.

    Attributes:
        name: open_clip's.
        size: Height and width of its input, pixels.
        patch: Side of a patch, pixels.
        depth: Blocks of its vision transformer.
        width: Dimensions of their tokens.
        joint: Of the joint space.
        text_width: Of the text encoder's tokens.
    """

    name: str
    size: int
    patch: int
    depth: int
    width: int
    joint: int
    text_width: int


def architecture_of(name: str, size: int = RELEASED_SIZE) -> Architecture:
    """The model `name` of open_clip at an input size.

    Raises:
        ModelError: open_clip has no such model, it is no plain ViT, or its patches do not fit the size.
    """
    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        raise ModelError(f"model {name!r} is not known to open_clip; the release's is {RELEASED_MODEL}")
    vision, text = config["vision_cfg"], config["text_cfg"]
    patch = vision.get("patch_size")
    if not patch or not isinstance(vision.get("layers"), int) or "width" not in text:
        raise ModelError(f"model {name!r} is no plain ViT; the release's is {RELEASED_MODEL}")
    if size < patch or size % patch:
        raise ModelError(f"size {size}: {name} has patches of {patch} px; use a multiple")
    return Architecture(
        name, size, int(patch), vision["layers"], int(vision["width"]), int(config["embed_dim"]), int(text["width"])
    )


def read_checkpoint(path: Path, model: Architecture, called: str | None = None) -> FiloHead:
    """The head in a checkpoint of the release, on the CPU; the file is read without running code that it may hold.

    Args:
        path: The file.
        model: What it has to be of.
        called: What messages call it; by default its path.

    Raises:
        ModelError: it is no such checkpoint, not whole, or of another model.
    """
    called = called or str(path)
    state = _state_of(load_tensors(path, called), called)
    own = {name: value for name, value in state.items() if name.startswith(_OWN)}
    if strangers := sorted(name for name in state.keys() - own.keys() if not name.startswith(_AROUND)):
        raise ModelError(f"{called} holds {_some(strangers)}, which no checkpoint of the release holds")
    _check_clip(state, model, called)
    context = own.get("normal_prompt_learner.ctx")
    record = HeadRecord(
        model=model.name,
        image_size=(model.size, model.size),
        activation="gelu",  # whatever OpenAI's weights were trained with
        depth=model.depth,
        width=model.width,
        joint=model.joint,
        text_width=model.text_width,
        layers=layers_of(model.depth),
        context=len(context) if context is not None and context.ndim == 2 and 1 <= len(context) <= 60 else 12,
        released=True,
        source=f"imported from {path.name}",
    )
    return head_of(record, own, f"{called} (held against {model.name})")


def _state_of(content: Any, called: str) -> dict[str, Tensor]:
    """The state dict under `filo`."""
    if not isinstance(content, Mapping) or "filo" not in content:
        keys = _some(sorted(map(str, content))) if isinstance(content, Mapping) and content else "no keys"
        raise ModelError(f"{called} is no checkpoint of FiLo: it has {keys}, and the release's has the one key filo")
    state = content["filo"]
    if not isinstance(state, Mapping) or not state:
        raise ModelError(f"{called} is no checkpoint of FiLo: what is under its key filo is no state dict")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(f"{called}: {name} under its key filo is no tensor; it is no checkpoint of the release")
        if name.startswith(_OWN):
            check_numbers(name, value, called)
    return dict(state)


def _check_clip(state: Mapping[str, Tensor], model: Architecture, called: str) -> None:
    """Raises ModelError: the CLIP in the checkpoint, where there is one, is not of the architecture."""
    if not any(name.startswith(_VISUAL) for name in state):
        return
    numbers = {int(found[1]) for name in state if (found := _BLOCK.match(name))}
    if numbers != set(range(model.depth)):
        raise ModelError(f"{called}: its CLIP has {len(numbers)} blocks, {model.name} has {model.depth}; {_remedy()}")
    patches = (model.size // model.patch) ** 2
    shapes: dict[str, tuple[int | None, ...]] = {
        f"{_VISUAL}conv1.weight": (model.width, 3, model.patch, model.patch),
        f"{_VISUAL}positional_embedding": (1 + patches, model.width),
        f"{_VISUAL}proj": (model.width, model.joint),
        "clip_model.token_embedding.weight": (None, model.text_width),
    }
    for number in sorted(numbers):
        block = f"{_VISUAL}transformer.resblocks.{number}."
        naming = next((names for names in _NAMINGS if all(block + name in state for name in names)), None)
        if naming is None:
            either = " nor ".join(names[0] for names in _NAMINGS)
            raise ModelError(f"{called}: block {number + 1} of its CLIP has neither {either}; it is not whole")
        shapes[block + naming[0]] = (3 * model.width, model.width)
        shapes[block + naming[1]] = (model.width, model.width)
    for name, wanted in shapes.items():
        if name not in state:
            raise ModelError(f"{called} lacks {name}; it is not whole")
        shape = tuple(state[name].shape)
        if len(shape) != len(wanted) or any(side not in (None, here) for here, side in zip(shape, wanted, strict=True)):
            sides = " x ".join("any" if side is None else str(side) for side in wanted)
            there = " x ".join(map(str, shape))
            raise ModelError(f"{called}: {name} is {there}, {model.name} at {model.size} px has {sides}; {_remedy()}")


def _remedy() -> str:
    return remedy("name head", "name the model that it is of, and its input size,")


def _some(names: list[str], most: int = 4) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
