"""Random pictures that have a photograph's spectrum: large shapes are strong, fine grain is weak."""

from __future__ import annotations

import cv2
import numpy as np

from core.image import Rgb


def random_photograph(seed: int, height: int = 700, width: int = 900) -> Rgb:
    """A picture of noise on every scale, each half as strong as the next coarser one, with one bright scratch."""
    generator = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    cells, strength = 3, 64.0
    while cells < max(height, width):
        noise = generator.standard_normal((cells, cells, 3)).astype(np.float32)
        picture += strength * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        cells, strength = 2 * cells, strength / 2
    start, end = (tuple(int(one) for one in generator.integers(0, (width, height))) for _ in range(2))
    image = np.ascontiguousarray((picture + 128).clip(0, 255).astype(np.uint8))
    return np.asarray(cv2.line(image, start, end, (250, 245, 240), 3), np.uint8)
