"""A brown glass bottle on a light table, seen from above into its neck."""

from __future__ import annotations

import cv2
import numpy as np

from core.simline.canvas import SIZE, Field, Picture, clouds, paint, ragged, ramp

_TABLE = 470  # radius in pixels up to which the table is drawn, before scaling
_ANGLES = 512

# The glass from the axis outwards: radius in pixels, and colour there.
_GLASS: tuple[tuple[float, tuple[float, float, float]], ...] = (
    (0, (92, 58, 30)),
    (46, (84, 52, 27)),
    (58, (34, 22, 15)),
    (88, (22, 15, 11)),
    (100, (30, 20, 14)),  # bore
    (104, (118, 84, 52)),
    (112, (74, 48, 29)),  # lip
    (132, (88, 58, 34)),
    (140, (150, 116, 78)),
    (146, (40, 26, 17)),
    (156, (28, 19, 14)),  # shoulder
    (180, (44, 28, 18)),
    (196, (62, 38, 22)),
    (201, (24, 17, 13)),
    (204, (206, 208, 207)),  # table
    (_TABLE, (226, 228, 228)),
)
_RIM = (102.0, 140.0)
_BORE = 92.0


class Bottle:
    """One bottle: its place, tilt and light are drawn once; `damaged` adds a chip at the rim or a contamination."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._centre = (SIZE / 2 + rng.uniform(-9.0, 9.0), SIZE / 2 + rng.uniform(-9.0, 9.0))
        self._scale = rng.uniform(0.96, 1.03)
        self._tilt = (rng.uniform(0.0, 7.0), rng.uniform(0.0, 2.0 * np.pi))
        self._picture = self._light(rng, self._unroll(rng))

    def good(self) -> Picture:
        """float32, 480 x 480 x 3, RGB."""
        return self._picture

    def damaged(self, rng: np.random.Generator) -> Picture:
        """float32, 480 x 480 x 3, RGB, with a chip at the rim or a contamination in the neck."""
        return self._chip(rng) if rng.random() < 0.5 else self._contaminate(rng)

    def _unroll(self, rng: np.random.Generator) -> Picture:
        """The bottle in polar coordinates: angle down, radius across."""
        angle = np.linspace(0.0, 2.0 * np.pi, _ANGLES, endpoint=False, dtype=np.float32)[:, None]
        radius = np.arange(_TABLE, dtype=np.float32)[None, :]
        amount, towards = self._tilt
        depth = np.clip(1.0 - radius / _RIM[0], 0.0, 1.0)  # the bottom shifts under the mouth as the bottle tilts
        seen = np.asarray(np.abs(radius + amount * depth * np.cos(angle - towards)), dtype=np.float32)
        stops = np.array([stop for stop, _ in _GLASS], np.float32)
        colours = np.array([colour for _, colour in _GLASS], np.float32)
        fine = np.arange(_TABLE + 16, dtype=np.float32)
        profile = np.stack([np.interp(fine, stops, colours[:, band]) for band in range(3)], axis=1)
        polar = cv2.remap(profile[None].astype(np.float32), seen, np.zeros_like(seen), cv2.INTER_LINEAR)
        shine = np.zeros((_ANGLES, _TABLE), np.float32)
        for _ in range(int(rng.integers(2, 5))):  # the lamps, mirrored in the lip and the shoulder
            at, span = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(0.10, 0.45)
            away = np.abs((angle - at + np.pi) % (2.0 * np.pi) - np.pi)
            arc = np.exp(-((away / span) ** 4))
            for ring, width, strength in ((122.0, 5.0, 0.9), (143.0, 2.0, 0.7), (188.0, 4.0, 0.5)):
                shine += strength * arc * np.exp(-(((radius - ring) / width) ** 2))
        return np.asarray(polar + np.minimum(shine, 1.0)[..., None] * (238.0 - polar), dtype=np.float32)

    def _light(self, rng: np.random.Generator, polar: Picture) -> Picture:
        flags = cv2.WARP_INVERSE_MAP | cv2.WARP_POLAR_LINEAR | cv2.INTER_LINEAR
        flat = cv2.warpPolar(polar, (SIZE, SIZE), self._centre, _TABLE * self._scale, flags)
        gain = rng.uniform(0.9, 1.06) * (
            1.0 + rng.uniform(0.0, 0.06) * ramp(rng.uniform(0.0, 2.0 * np.pi)) + 0.02 * clouds(rng, (5, 5))
        )
        return np.asarray(flat * gain[..., None], dtype=np.float32)

    def _at(self, radius: float, angle: float) -> tuple[float, float]:
        return (
            self._centre[0] + self._scale * radius * np.cos(angle),
            self._centre[1] + self._scale * radius * np.sin(angle),
        )

    def _chip(self, rng: np.random.Generator) -> Picture:
        """A piece broken out of the lip: pale, shell-shaped glass with a dark edge."""
        angle = rng.uniform(0.0, 2.0 * np.pi)
        where = self._at(_RIM[int(rng.integers(2))], angle)
        size = rng.uniform(9.0, 24.0)
        along = angle + np.pi / 2
        outline: Field = ragged(rng, where, (1.3 * size, 0.8 * size), along)
        core: Field = outline * ragged(rng, where, (0.95 * size, 0.5 * size), along)
        shells = 0.5 + 0.5 * np.sin(ramp(angle) * rng.uniform(70.0, 120.0))
        pale = np.asarray((150.0 + 70.0 * shells)[..., None] * np.array([0.98, 0.93, 0.82]), dtype=np.float32)
        return paint(paint(self._picture, outline, (12.0, 9.0, 7.0)), core, pale)

    def _contaminate(self, rng: np.random.Generator) -> Picture:
        """A speck, or a few, of foreign matter in the bore."""
        colours = ((214.0, 208.0, 196.0), (168.0, 142.0, 88.0), (196.0, 92.0, 64.0))
        colour = colours[int(rng.integers(len(colours)))]
        picture = self._picture
        home, spread = rng.uniform(0.0, 0.7 * _BORE), rng.uniform(0.0, 2.0 * np.pi)
        for number in range(int(rng.integers(1, 4))):
            size = rng.uniform(7.0, 18.0) / (1 + number)
            radius = min(home + rng.uniform(-12.0, 12.0) * number, _BORE - size)
            speck = ragged(rng, self._at(radius, spread + 0.35 * number), (size, 0.7 * size), rng.uniform(0.0, np.pi))
            grain = np.asarray(np.array(colour) * (1.0 + 0.12 * clouds(rng, (60, 60)))[..., None], np.float32)
            picture = paint(picture, speck, grain)
        return picture
