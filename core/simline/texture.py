"""Random fields of which surfaces are made, each float32 [size, size], about zero mean and unit spread."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.simline.board import Board, Field, Picture


def blur(values: Field | Picture, sigma: float) -> Field:
    """`values`, [size, size] or [size, size, 3], smoothed by a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(np.asarray(values, np.float32), (0, 0), sigma), np.float32)


def warp(values: Field | Picture, matrix: NDArray[Any]) -> Field:
    """`values` moved by an affine `matrix` [2, 3]; what comes in at the border is mirrored."""
    side = values.shape[0]
    moved = cv2.warpAffine(np.asarray(values, np.float32), matrix, (side, side), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32)


def clouds(rng: np.random.Generator, size: int, cells: float) -> Field:
    """A smooth field with about `cells` bumps across."""
    count = max(2, round(cells) + 1)
    coarse = rng.standard_normal((count, count), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.float32)


def fractal(rng: np.random.Generator, size: int, cells: float, octaves: int = 4, fall: float = 0.6) -> Field:
    """Clouds within clouds: each octave has twice the bumps and `fall` times the height."""
    total = clouds(rng, size, cells)
    for octave in range(1, octaves):
        total = total + fall**octave * clouds(rng, size, min(cells * 2**octave, size / 2))
    return total / np.float32(np.sqrt(sum(fall ** (2 * octave) for octave in range(octaves))))


def grain(rng: np.random.Generator, size: int, width: float) -> Field:
    """Fine noise whose grains are about `width` pixels wide."""
    noise = rng.standard_normal((size, size), dtype=np.float32)
    if width <= 0.6:
        return noise
    return blur(noise, width / 2) * np.float32(1.2 * width)


def streaks(rng: np.random.Generator, size: int, angle: float, length: float, width: float = 1.0) -> Field:
    """Lines along `angle` (radians), about `length` pixels long and `width` wide."""
    side = int(size * 1.5)
    rows = max(8, int(side / width))
    noise = rng.standard_normal((rows, max(4, int(side / length * 2))), dtype=np.float32)
    lines = cv2.resize(noise, (side, side), interpolation=cv2.INTER_LINEAR)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), -float(np.degrees(angle)), 1.0)
    turn[:, 2] = turn[:, 2] - (side - size) / 2
    return np.asarray(cv2.warpAffine(lines, turn, (size, size), flags=cv2.INTER_LINEAR), np.float32)


def wrinkles(rng: np.random.Generator, size: int, cells: float) -> Field:
    """Cells with dark creases between them, as on leather."""
    folds = np.minimum(np.abs(clouds(rng, size, cells)), np.abs(clouds(rng, size, cells * 1.3)))
    return np.minimum(folds * 4.0, 1.0) * 2.0 - 1.0


def weave(board: Board, pitch: float, twill: float = 0.0) -> tuple[Field, Field]:
    """Woven threads, `pitch` units apart: brightness, and +1 where warp lies on top, -1 where weft does."""
    across, down = board.x / pitch, board.y / pitch
    over = np.sign(np.sin(np.pi * (across + twill * down)) * np.sin(np.pi * down))
    warp = np.abs(np.sin(np.pi * across))
    weft = np.abs(np.sin(np.pi * down))
    return np.where(over > 0, warp, weft) * 2.0 - 1.0, over


def lit(height: Field, angle: float, strength: float) -> Field:
    """Gain of a relief under a lamp at `angle` (radians): slopes towards it are brighter."""
    across = cv2.Sobel(height.astype(np.float32), cv2.CV_32F, 1, 0, ksize=3)
    down = cv2.Sobel(height.astype(np.float32), cv2.CV_32F, 0, 1, ksize=3)
    slope = np.float32(np.cos(angle)) * across + np.float32(np.sin(angle)) * down
    return 1.0 + np.clip(strength * slope, -0.6, 0.6)


def ramp(size: int, angle: float) -> Field:
    """A field that rises linearly towards `angle` (radians), -1..1 or a little more at the corners."""
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    return np.float32(np.cos(angle)) * axis[None, :] + np.float32(np.sin(angle)) * axis[:, None]
