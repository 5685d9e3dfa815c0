"""What makers of parts draw by lot: poses and colours, the line's from `look`, the single part's from `part`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from core.simline.board import Board, Colour, place
from core.simline.scene import Scene
from core.simline.scene import table as empty
from core.simline.texture import clouds

Rng: TypeAlias = np.random.Generator
Maker: TypeAlias = Callable[[Rng, Rng, int], Scene]
"""Makes a part `size` pixels high and wide: all parts of a line have one design (drawn from the first generator), each
its own pose and variation (from the second)."""


def pose(look: Rng, part: Rng, size: int, zoom: tuple[float, float] = (0.9, 1.1), spin: float = 0.5) -> Board:
    """A part near the middle; lines let parts lie at any angle with probability `spin`, else nearly straight."""
    scale = float(look.uniform(*zoom))
    base = float(look.choice([0.0, np.pi / 2])) if look.random() < 0.3 else 0.0
    free = look.random() < spin
    turn = float(part.uniform(0.0, 2.0 * np.pi)) if free else base + float(part.normal(0.0, 0.03))
    shift = (float(part.normal(0.0, 0.025)), float(part.normal(0.0, 0.025)))
    return place(size, turn, shift, scale * float(part.uniform(0.98, 1.02)))


def colour(rng: Rng, low: float = 40.0, high: float = 220.0, vivid: float = 0.6) -> Colour:
    """Any colour, its brightest channel within `low`..`high`; `vivid` is the most that a channel falls short of it."""
    value = rng.uniform(low, high)
    dull = 1.0 - rng.uniform(0.0, vivid) * rng.permutation([1.0, float(rng.uniform(0.0, 1.0)), 0.0])
    red, green, blue = (float(channel) for channel in value * dull)
    return red, green, blue


def metal(rng: Rng, low: float = 90.0, high: float = 200.0) -> Colour:
    """Steel, aluminium, brass or copper."""
    tints = ((1.0, 1.0, 1.0), (0.97, 0.99, 1.02), (1.02, 1.0, 0.95), (1.08, 0.94, 0.66), (1.1, 0.82, 0.66))
    tint = tints[int(rng.choice(len(tints), p=[0.35, 0.2, 0.2, 0.15, 0.1]))]
    value = float(rng.uniform(low, high))
    return value * tint[0], value * tint[1], value * tint[2]


def scaled(tone: Colour, gain: float) -> Colour:
    """`tone` times `gain`."""
    return tone[0] * gain, tone[1] * gain, tone[2] * gain


def table(look: Rng, part: Rng, board: Board) -> Scene:
    """A background: dark, bright or coloured, plain or with a soft texture."""
    kind = look.random()
    tone = colour(look, 12, 60, 0.3) if kind < 0.45 else colour(look, 190, 245, 0.1) if kind < 0.75 else colour(look)
    depth = float(look.uniform(0.0, 5.0))
    return empty(board, tone, depth * clouds(part, board.size, float(look.uniform(3, 40))))
