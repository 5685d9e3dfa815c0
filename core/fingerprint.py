"""What tells one model from another: its weights, how it computes with them, and what comes out.

Weights alone say little. The same tensors with another activation, number of heads or constant of a norm are another
model, and a library that computes something else under the same names makes one too. So a fingerprint covers three
things: the weights, the architecture as it was built, and the model's output on a fixed picture and sentence.

The output differs by processor in its last digits, and what was embedded on one machine has to hold on the next. So it
is computed in float32 on the CPU, whatever device and precision the lines use, and enters the fingerprint coarsely: a
few projections of unit vectors, in steps of `STEP`. Between instruction sets they were measured to differ by 3e-7 on
average and 2e-6 at most, so that of some 40,000 models one falls apart on two machines, at the very edge of a step. Its
shots are then embedded anew from their pictures, as after any other change. A stored vector and a tolerance would not
fail even then, but a fingerprint is a name: in verdicts, in files' names and in keys of tables, where only what is
equal is the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from core.image import Rgb
from core.model_error import ModelError

STEP = 0.25
"""Of a projection of the output, which has a standard deviation of 1 over directions."""
_PROJECTIONS = 4
# What a module computes by, besides its type, its place and its tensors.
_CONSTANTS = (
    "approximate",
    "context_length",
    "dilation",
    "eps",
    "final_ln_after_pool",
    "grid_size",
    "groups",
    "head_dim",
    "image_size",
    "kernel_size",
    "no_causal_mask",
    "num_heads",
    "padding",
    "patch_size",
    "pool_type",
    "scale",
    "stride",
    "text_eos_id",
    "text_pool_type",
    "vocab_size",
)


def fingerprint_of(model: Any, output: Sequence[Tensor], *described: object) -> str:
    """SHA-256, hexadecimal, of a model.

    Args:
        model: The network, in float32.
        output: What it gives for `picture` and `sentence`: float32 [..., d] each, of any length.
        described: What else its features depend on, for instance the preprocessing.
    """
    digest = hashlib.sha256(repr(described).encode())
    for line in architecture(model):
        digest.update(f"{line}\n".encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().float().contiguous().numpy())
    digest.update(repr(coarse(output)).encode())
    return digest.hexdigest()


def architecture(model: Any) -> Iterator[str]:
    """Each module of a network with its type and the constants that it computes by."""
    for name, module in model.named_modules():
        constants = {key: getattr(module, key, None) for key in _CONSTANTS}
        known = {key: value for key, value in constants.items() if _is_plain(value)}
        yield f"{name} {type(module).__name__} {known}"


def coarse(output: Sequence[Tensor]) -> list[list[int]]:
    """Of each output, projections of its unit vectors' mean onto fixed directions, in steps of `STEP`."""
    return [[math.floor(value / STEP) for value in projections(vectors)] for vectors in output]


def projections(output: Tensor) -> list[float]:
    """Of the mean of vectors [..., d], at unit length, onto fixed directions of ones and minus ones."""
    mean = F.normalize(output.detach().cpu().double().flatten(0, -2).mean(0), dim=0).numpy()
    return [float(mean @ _direction(index, len(mean))) for index in range(_PROJECTIONS)]


def picture(size: tuple[int, int]) -> Rgb:
    """The fixed picture, at the size of the model's input, so that nothing is resized: ramps and a checkerboard."""
    rows, cols = np.mgrid[: size[0], : size[1]]
    ramps = rows * 255 // max(1, size[0] - 1), cols * 255 // max(1, size[1] - 1)
    squares = (rows // 12 + cols // 20) % 2 * 255
    return np.ascontiguousarray(np.stack([*ramps, squares], -1).astype(np.uint8))


def sentence(context: int, vocabulary: int) -> Tensor:
    """The fixed sentence as tokens, int64 [1, context]: `a photo of a part` in CLIP's vocabulary."""
    words = (320, 1125, 539, 320, 1080)
    tokens = [vocabulary - 2, *(word % (vocabulary - 2) for word in words), vocabulary - 1]
    return F.pad(torch.tensor([tokens[:context]]), (0, max(0, context - len(tokens))))


def refuse_not_finite(model: Any, called: str, remedy: str = "fetch them again") -> None:
    """Raises ModelError when a network holds a number that is none; it names the first such tensor."""
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"weights {called}: {key} holds values that are not finite numbers; {remedy}")


def _direction(index: int, length: int) -> NDArray[np.float64]:
    """Of ones and minus ones, from a hash: no generator of random numbers is the same for ever."""
    drawn = hashlib.shake_256(f"direction {index}".encode()).digest(-(-length // 8))
    return 2.0 * np.unpackbits(np.frombuffer(drawn, np.uint8))[:length].astype(np.float64) - 1.0


def _is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, (bool, int, float, str))
