"""The simulated camera: lamp, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.image import Rgb
from core.simline.board import Field, Picture
from core.simline.draw import Rng
from core.simline.texture import blur, ramp


@dataclass(frozen=True, eq=False)
class Camera:
    """One exposure's lamp, lens and sensor; the same for the good and the damaged picture of a part.

    Attributes:
        light: float32 [size, size, 3], gain.
        blur: Standard deviation of the lens' blur in pixels; 0 for none.
        noise: float32 [size, size, 3], grey levels.
        grey: Whether the sensor sees no colour.
    """

    light: Picture
    blur: float
    noise: Picture
    grey: bool

    def see(self, picture: Picture) -> Picture:
        """What falls on the sensor, float32 [size, size, 3], without noise."""
        exposure: Picture = (picture * self.light).astype(np.float32)
        if self.grey:
            exposure = np.repeat((exposure @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, axis=2)
        if self.blur > 0.0:
            exposure = blur(exposure, self.blur)
        return np.clip(exposure, 0.0, 255.0)

    def expose(self, exposure: Picture) -> Rgb:
        """The pixels, uint8 RGB, of what `see` gave."""
        return np.clip(np.rint(exposure + self.noise), 0, 255).astype(np.uint8)


def draw_camera(look: Rng, part: Rng, size: int) -> Camera:
    """A line's camera (from `look`) as it happens to be at one part (from `part`)."""
    tint = 1.0 + look.normal(0.0, 0.03, 3)
    exposure = float(look.uniform(0.8, 1.12) * part.uniform(0.97, 1.03))
    light: Field = 1.0 + (look.uniform(0.0, 0.2) + part.normal(0, 0.01)) * ramp(size, float(look.uniform(0, 6.28)))
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    fall = np.float32(look.uniform(0.0, 0.12)) * (axis[None, :] ** 2 + axis[:, None] ** 2)
    gain = ((light - fall) * exposure)[..., None] * tint.astype(np.float32)
    grey = bool(look.random() < 0.2)
    blur = float(look.uniform(0.35, 0.9)) * size / 240
    level = float(look.uniform(0.5, 3.0))
    if grey:
        noise = np.repeat(part.standard_normal((size, size, 1), dtype=np.float32), 3, axis=2)
    else:
        noise = part.standard_normal((size, size, 3), dtype=np.float32)
    return Camera(gain.astype(np.float32), blur, noise * np.float32(level), grey)
