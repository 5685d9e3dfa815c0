"""A ground ferrite tile of an electric motor, grey, seen from above under a lamp from the side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from core.simline.canvas import SIZE, Field, Picture, clouds, paint, ragged, ramp, stroke


class Tile:
    """One tile: its place, shading and grain are drawn once; `damaged` adds a crack or a blowhole."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._angle = rng.uniform(-0.025, 0.025)
        self._box = (
            rng.uniform(44.0, 62.0),  # left
            rng.uniform(20.0, 34.0),  # top
            SIZE - rng.uniform(44.0, 62.0),  # right
            SIZE - rng.uniform(20.0, 34.0),  # bottom
        )
        self._surface = self._inside()
        self._picture = self._light(rng)

    def good(self) -> Picture:
        """float32, 480 x 480 x 3, RGB (grey)."""
        return self._picture

    def damaged(self, rng: np.random.Generator) -> Picture:
        """float32, 480 x 480 x 3, RGB (grey), with a crack or a blowhole in the surface."""
        return self._crack(rng) if rng.random() < 0.5 else self._blowhole(rng)

    def _inside(self) -> Field:
        """Coverage of the picture by the tile, with slightly soft edges."""
        left, top, right, bottom = self._box
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) - SIZE / 2
        cos, sin = np.cos(self._angle), np.sin(self._angle)
        turned = corners @ np.array([[cos, sin], [-sin, cos]]) + SIZE / 2
        stamp = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillConvexPoly(stamp, np.rint(turned * 16.0).astype(np.int32), 255, cv2.LINE_AA, 4)
        return np.asarray(cv2.GaussianBlur(stamp, (5, 5), 0).astype(np.float32) / 255.0, dtype=np.float32)

    def _light(self, rng: np.random.Generator) -> Picture:
        across = ramp(self._angle)
        shoulder = rng.uniform(-0.35, 0.35)  # where the curved surface faces the lamp
        arc = np.exp(-(((across - shoulder) / rng.uniform(0.75, 1.0)) ** 2))
        grind = cv2.blur(rng.standard_normal((SIZE, SIZE), dtype=np.float32), (61, 1)) * 22.0
        pores = cv2.blur(rng.standard_normal((SIZE // 2, SIZE // 2), dtype=np.float32), (3, 3)) * 6.0
        surface = (
            rng.uniform(92.0, 118.0) * (0.62 + 0.48 * arc)
            + grind
            + cv2.resize(pores, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
            + 5.0 * clouds(rng, (6, 9))
        )
        table = np.full((SIZE, SIZE), rng.uniform(18.0, 32.0), np.float32) + 3.0 * clouds(rng, (4, 4))
        grey = table + self._surface * (surface - table)
        return np.repeat(np.asarray(grey, np.float32)[..., None], 3, axis=2)

    def _crack(self, rng: np.random.Generator) -> Picture:
        """A thin dark line that wanders over the surface, with a branch now and then."""
        left, top, right, bottom = self._box
        heading = rng.uniform(0.0, 2.0 * np.pi)
        start = (rng.uniform(left + 40, right - 40), rng.uniform(top + 40, bottom - 40))
        width = int(rng.integers(2, 5))
        x, y = _wander(rng, start, heading, int(rng.integers(18, 42)))
        line = stroke(x, y, width)
        if rng.random() < 0.5:
            fork = int(rng.integers(4, len(x) - 4))
            turn = heading + rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.0)
            line = np.maximum(line, stroke(*_wander(rng, (x[fork], y[fork]), turn, len(x) // 2), max(1, width - 1)))
        dark = float(rng.uniform(14.0, 34.0))
        return paint(self._picture, self._worn(line), (dark, dark, dark))

    def _blowhole(self, rng: np.random.Generator) -> Picture:
        """Pits left by gas: dark, with a lit edge."""
        left, top, right, bottom = self._box
        x, y = rng.uniform(left + 36, right - 36), rng.uniform(top + 36, bottom - 36)
        picture = self._picture
        for number in range(int(rng.integers(1, 4))):
            size = rng.uniform(6.0, 15.0) / (1 + 0.6 * number)
            where = (x + number * rng.uniform(-24.0, 24.0), y + number * rng.uniform(-24.0, 24.0))
            slant = rng.uniform(0.0, np.pi)
            edge = ragged(rng, where, (1.25 * size, size), slant)
            pit = edge * ragged(rng, (where[0] - 0.12 * size, where[1]), (size, 0.8 * size), slant)
            dark = float(rng.uniform(10.0, 30.0))
            picture = paint(
                paint(picture, self._worn(edge), (178.0, 178.0, 178.0)), self._worn(pit), (dark, dark, dark)
            )
        return picture

    def _worn(self, coverage: Field) -> Field:
        """`coverage` on the tile alone."""
        return np.where(self._surface >= 0.5, coverage, np.float32(0.0))


def _wander(
    rng: np.random.Generator, start: tuple[float, float], heading: float, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points x and y of a walk from `start` that keeps about its `heading` (radians)."""
    bearing = heading + np.cumsum(rng.normal(0.0, 0.22, steps)) + rng.normal(0.0, 0.35, steps)
    length = rng.uniform(3.0, 9.0, steps)
    x = start[0] + np.concatenate([[0.0], np.cumsum(length * np.cos(bearing))])
    y = start[1] + np.concatenate([[0.0], np.cumsum(length * np.sin(bearing))])
    return x, y
