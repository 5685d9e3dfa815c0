"""The pictures that training goes round and round: rendered once, kept in a file, varied at every use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.simline import SIZE, render
from core.training.split import ANY, TRAINED_CLASSES, TRAINED_DEFECTS, trained_defects_of

PATCH = 16
_GRID = SIZE // PATCH
_SHOWN = (*TRAINED_CLASSES, *[ANY] * (len(TRAINED_CLASSES) // 2 - 1))  # every third line makes parts of no known kind
_OFTEN = 3.0
_LINE = 2  # pictures of one line, one pair, before the next design: what a model must not learn is the design


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures and what is known of them.

    Attributes:
        images: uint8 [B, 240, 240, 3], RGB.
        damage: int64 [B, 15, 15], pixels of each patch that a defect changed.
        classes: int64 [B], place in `TRAINED_CLASSES`.
        defects: int64 [B], place in `TRAINED_DEFECTS` of the only defect; -1 for none or several.
    """

    images: NDArray[np.uint8]
    damage: NDArray[np.int64]
    classes: NDArray[np.int64]
    defects: NDArray[np.int64]


class Pool:
    """`count` pictures in `folder`, rendered by `workers` processes when they are not there yet.

    Those of the classes in `often` are drawn `_OFTEN` times as often as others.
    """

    def __init__(self, folder: Path, count: int, seed: int, workers: int, often: Sequence[str] = ()) -> None:
        name = folder / f"pictures-{count}-{seed}.npz"
        images = folder / f"pictures-{count}-{seed}.npy"
        if not name.exists():
            folder.mkdir(parents=True, exist_ok=True)
            file = np.lib.format.open_memmap(images, mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE, 3))
            damage = np.empty((count, _GRID, _GRID), np.int64)
            defects = np.empty(count, np.int64)
            with ProcessPoolExecutor(workers, get_context("spawn")) as pool:  # a fork of torch's threads hangs
                jobs = pool.map(_render, range(count), [seed] * count, chunksize=64)
                for index, (picture, pixels, defect) in enumerate(jobs):
                    file[index], damage[index], defects[index] = picture, pixels, defect
            file.flush()
            classes = np.array([TRAINED_CLASSES.index(_SHOWN[index // _LINE % len(_SHOWN)]) for index in range(count)])
            np.savez(name, damage=damage, defects=defects, classes=classes)
        self._images = np.load(images, mmap_mode="r")
        facts = np.load(name)
        self._damage, self._defects, self._classes = facts["damage"], facts["defects"], facts["classes"]
        weights = np.where(np.isin(self._classes[::2], [TRAINED_CLASSES.index(name) for name in often]), _OFTEN, 1.0)
        self._drawn_below = np.cumsum(weights / weights.sum())

    def patches(self, rng: np.random.Generator, count: int) -> NDArray[np.float32]:
        """Patches of the pictures for statistics: float32 [n, 3, 16, 16], 0..1."""
        rows = np.sort(rng.integers(len(self._images), size=count))
        cut = self._images[rows].reshape(count, _GRID, PATCH, _GRID, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)
        return np.asarray(cut.reshape(-1, 3, PATCH, PATCH), np.float32) / np.float32(255.0)

    def draw(self, rng: np.random.Generator, count: int) -> Batch:
        """`count` pictures: pairs of one part with its defects and without, turned, mirrored, recoloured by chance.

        All that differs within a pair is what makes the part a bad one.
        """
        rows = np.minimum(np.searchsorted(self._drawn_below, rng.random(count // 2)), len(self._images) // 2 - 1)
        rows = np.stack([2 * rows, 2 * rows + 1], axis=1).flatten()
        images = np.empty((count, SIZE, SIZE, 3), np.uint8)
        damage = np.empty((count, _GRID, _GRID), np.int64)
        for place, row in enumerate(rows):
            image, pixels = self._images[row], self._damage[row]
            if place % 2 == 0:
                turns, mirrored, tones = int(rng.integers(4)), rng.random() < 0.5, _tones(rng)
            image, pixels = np.rot90(image, turns), np.rot90(pixels, turns)
            if mirrored:
                image, pixels = image[:, ::-1], pixels[:, ::-1]
            images[place], damage[place] = tones(image), pixels
        return Batch(images, damage, self._classes[rows], self._defects[rows])


def _tones(rng: np.random.Generator) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """A change of contrast, brightness and colours."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255.0)
    gamma, gain, lift = rng.uniform(0.7, 1.4), rng.uniform(0.75, 1.2), rng.uniform(-0.06, 0.06)
    curves = [np.clip(levels**gamma * gain * rng.uniform(0.93, 1.07) + lift, 0.0, 1.0) * 255.0 for _ in range(3)]
    table = np.stack(curves, axis=1).astype(np.uint8)
    order = rng.permutation(3) if rng.random() < 0.4 else np.arange(3)
    grey = rng.random() < 0.2

    def change(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        toned = cv2.LUT(np.ascontiguousarray(image[..., order]), table[None])
        if grey:
            toned = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return np.asarray(toned, np.uint8)

    return change


def _render(index: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
    cv2.setNumThreads(1)
    line = index // _LINE
    name = _SHOWN[line % len(_SHOWN)]
    rate = 0.0 if index % 2 else 1.0
    sample = render(name, seed + line, index // 2, rate, trained_defects_of(name))
    pixels = (sample.mask > 0).reshape(_GRID, PATCH, _GRID, PATCH).sum(axis=(1, 3)).astype(np.int64)
    only = TRAINED_DEFECTS.index(sample.defects[0]) if len(sample.defects) == 1 else -1
    return sample.image, pixels, only
