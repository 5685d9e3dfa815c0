"""The drawing board: where a part lies in the picture, and shapes as signed distances in its own coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.floating[Any]]
"""One float32 value per pixel, [size, size]."""
Picture: TypeAlias = NDArray[np.floating[Any]]
"""Light before the sensor: float32 [size, size, 3], RGB, about 0..255."""
Colour: TypeAlias = tuple[float, float, float]
"""RGB, 0..255."""
Point: TypeAlias = tuple[float, float]
"""x and y in a part's units."""


@dataclass(frozen=True, eq=False)
class Board:
    """A picture's pixels in a part's coordinates: origin at its centre, one unit = half of the picture's side.

    Attributes:
        size: Height and width of the picture in pixels.
        x: float32 [size, size], to the part's right.
        y: float32 [size, size], downwards on the part.
        unit: Pixels per unit.
        origin: Column and row of the part's centre.
        turn: Rotation of the part, radians, clockwise.
    """

    size: int
    x: Field
    y: Field
    unit: float
    origin: tuple[float, float]
    turn: float

    def cover(self, distance: Field) -> Field:
        """Coverage in [0, 1] of the shape whose signed distance (units, negative inside) is given; edges are smooth."""
        return np.asarray(np.clip(0.5 - distance * self.unit, 0.0, 1.0), np.float32)

    def disc(self, radius: float, x: float = 0.0, y: float = 0.0) -> Field:
        """Distance to a disc."""
        return np.asarray(np.hypot(self.x - x, self.y - y) - radius, np.float32)

    def ring(self, radius: float, width: float, x: float = 0.0, y: float = 0.0) -> Field:
        """Distance to a ring of `width` round a circle."""
        return np.asarray(np.abs(np.hypot(self.x - x, self.y - y) - radius) - width / 2, np.float32)

    def box(self, width: float, height: float, corner: float = 0.0, x: float = 0.0, y: float = 0.0) -> Field:
        """Distance to a box with rounded corners."""
        across = np.abs(self.x - x) - width / 2 + corner
        down = np.abs(self.y - y) - height / 2 + corner
        outside = np.hypot(np.maximum(across, 0.0), np.maximum(down, 0.0))
        return np.asarray(outside + np.minimum(np.maximum(across, down), 0.0) - corner, np.float32)

    def radius(self) -> Field:
        """Distance from the part's centre in units."""
        return np.hypot(self.x, self.y)

    def angle(self) -> Field:
        """Direction from the part's centre in radians."""
        return np.arctan2(self.y, self.x)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Where the point (x, y) of the part lies in the picture: column and row."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        col, row = self.origin
        return col + self.unit * (cos * x - sin * y), row + self.unit * (sin * x + cos * y)

    def lines(self, strokes: Sequence[tuple[Point, Point]], width: float) -> Field:
        """Coverage in [0, 1] of straight strokes from point to point, all at once."""
        stamp = np.zeros((self.size, self.size), np.uint8)
        pixels = max(1, round(width * self.unit))
        for stroke in strokes:
            ends = [tuple(round(16 * coordinate) for coordinate in self.pixel(*end)) for end in stroke]
            cv2.line(stamp, ends[0], ends[1], 255, pixels, cv2.LINE_AA, 4)
        return stamp.astype(np.float32) / np.float32(255.0)


def place(size: int, turn: float, shift: tuple[float, float], zoom: float) -> Board:
    """A part at `shift` (units, right and down) from the picture's centre, turned by `turn`, `zoom` times as large."""
    axis = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size / 2)) - np.float32(1.0)
    right, down = (axis - np.float32(shift[0]))[None, :], (axis - np.float32(shift[1]))[:, None]
    cos, sin = np.float32(np.cos(turn) / zoom), np.float32(np.sin(turn) / zoom)
    origin = (size / 2 * (1.0 + shift[0]) - 0.5, size / 2 * (1.0 + shift[1]) - 0.5)
    return Board(size, right * cos + down * sin, down * cos - right * sin, size / 2 * zoom, origin, turn)
