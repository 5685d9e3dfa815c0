"""Drawing for simulated parts: smooth fields, streaks, ragged shapes, and the sensor that turns light into pixels."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from core.image import Rgb

SIZE = 480
"""Height and width of a picture in pixels."""

Picture: TypeAlias = NDArray[np.float32]
"""Light before the sensor: float32, SIZE x SIZE x 3, RGB, 0..255 (values outside are clipped by `expose`)."""
Field: TypeAlias = NDArray[np.float32]
"""One float32 value per pixel, height x width."""

_SUB = 4  # fractional bits of OpenCV's drawing coordinates


def expose(picture: Picture, speckle: Field) -> Rgb:
    """Pixels, uint8, of `picture` with the sensor's `speckle` (grey levels, height x width) added."""
    noisy = cv2.add(picture, cv2.merge([speckle, speckle, speckle]))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def clouds(rng: np.random.Generator, cells: tuple[int, int], shape: tuple[int, int] = (SIZE, SIZE)) -> Field:
    """A smooth random field of `shape` (height, width), about -1..1, with about `cells` (down, across) bumps."""
    coarse = rng.standard_normal(cells, dtype=np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth * np.float32(0.5), dtype=np.float32)


def ramp(angle: float) -> Field:
    """A linear field over the picture, about -1..1, rising towards `angle` (radians, clockwise from right)."""
    axis = np.linspace(-1.0, 1.0, SIZE, dtype=np.float32)
    return np.asarray(np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None], dtype=np.float32)


def ragged(rng: np.random.Generator, centre: tuple[float, float], radii: tuple[float, float], angle: float) -> Field:
    """Coverage in [0, 1] of an irregular closed shape: an ellipse at `centre` (x, y) with `radii` along and across
    `angle` (radians), its outline broken up."""
    count = 18
    turn = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    reach = 1.0 + 0.28 * rng.uniform(-1.0, 1.0, count)
    along, across = radii[0] * reach * np.cos(turn), radii[1] * reach * np.sin(turn)
    x = centre[0] + along * np.cos(angle) - across * np.sin(angle)
    y = centre[1] + along * np.sin(angle) + across * np.cos(angle)
    stamp = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(stamp, [_fixed(x, y)], 255, cv2.LINE_AA, _SUB)
    return np.asarray(stamp / 255.0, np.float32)


def stroke(x: NDArray[np.float64], y: NDArray[np.float64], width: int) -> Field:
    """Coverage in [0, 1] of a line of `width` pixels through the points (x, y)."""
    stamp = np.zeros((SIZE, SIZE), np.uint8)
    cv2.polylines(stamp, [_fixed(x, y)], False, 255, width, cv2.LINE_AA, _SUB)
    return np.asarray(stamp / 255.0, np.float32)


def paint(picture: Picture, coverage: Field, colour: Picture | tuple[float, float, float]) -> Picture:
    """`picture` with `colour` (an RGB triple, 0..255, or a picture) laid over it where `coverage` is above 0."""
    alpha = coverage[..., None]
    return np.asarray(picture + alpha * (np.asarray(colour, np.float32) - picture), dtype=np.float32)


def _fixed(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(np.stack([x, y], axis=1) * (1 << _SUB)).astype(np.int32)
