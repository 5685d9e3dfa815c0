"""Procedural parts under a simulated camera: good and defective pictures with exact masks, from a seed alone."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.image import Rgb
from core.simline import bottle, tile
from core.simline.canvas import Picture, expose

__all__ = ["PARTS", "UnknownPart", "render"]


class Part(Protocol):
    """A part as the camera sees it, posed and lit; both pictures are float32 RGB, 0..255, of `canvas.SIZE`."""

    def good(self) -> Picture:
        """The part without a defect."""

    def damaged(self, rng: np.random.Generator) -> Picture:
        """The same part in the same pose and light with one defect drawn from `rng`."""


class Maker(Protocol):
    """Makes a part whose normal variation (pose, light, texture) is drawn from a generator."""

    def __call__(self, rng: np.random.Generator, /) -> Part: ...


_MAKERS: Mapping[str, Maker] = MappingProxyType({"bottle": bottle.Bottle, "tile": tile.Tile})

PARTS: tuple[str, ...] = tuple(_MAKERS)
"""Names of the parts that can be rendered."""


class UnknownPart(ValueError):  # noqa: N818 - part of the public interface
    """A part that is not simulated; the message names those that are."""

    def __init__(self, part: str) -> None:
        close = difflib.get_close_matches(part, PARTS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"no simulated part {part!r}; known: {', '.join(PARTS)}{hint}")


def render(part: str, seed: int, index: int, defect_rate: float) -> tuple[Rgb, NDArray[np.uint8]]:
    """Picture `index` of the endless line of `part` that `seed` starts.

    The same arguments give the same pixels in every process. The part, its pose, light and noise depend on `part`,
    `seed` and `index` alone, so that `defect_rate` 0 and 1 show one part without and with its defect.

    Args:
        part: one of `PARTS`.
        seed: non-negative; the line.
        index: non-negative; the place on the line.
        defect_rate: probability in [0, 1] that a part has a defect.

    Returns:
        The picture, uint8, 480 x 480 x 3, RGB; and its mask, uint8, 480 x 480: 255 at exactly the pixels that the
        defect changed, else 0. A good part's mask is all zero.

    Raises:
        UnknownPart: `part` is not in `PARTS`.
        ValueError: `seed` or `index` is negative, or `defect_rate` lies outside [0, 1].
    """
    maker = _MAKERS.get(part)
    if maker is None:
        raise UnknownPart(part)
    if seed < 0 or index < 0:
        raise ValueError(f"seed {seed} and index {index}: neither may be negative")
    if not 0.0 <= defect_rate <= 1.0:
        raise ValueError(f"defect_rate {defect_rate}: a probability lies in [0, 1]")
    looks, noise, fate = np.random.SeedSequence([zlib.crc32(part.encode()), seed, index]).spawn(3)
    subject = maker(np.random.default_rng(looks))
    grain = np.random.default_rng(noise)
    chance = np.random.default_rng(fate)
    level = float(grain.uniform(1.0, 3.0))
    speckle = level * grain.standard_normal(subject.good().shape[:2], dtype=np.float32)
    image = expose(subject.good(), speckle)
    if chance.random() >= defect_rate:
        return image, np.zeros(image.shape[:2], np.uint8)
    defective = expose(subject.damaged(chance), speckle)
    changed = (defective != image).any(axis=2)
    return defective, np.where(changed, np.uint8(255), np.uint8(0))
