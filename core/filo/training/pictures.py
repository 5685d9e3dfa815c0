"""What there is to learn from: pictures with exact masks, of data sets on disk or of the simulated world."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from core.evaluate.datasets import DataClass, DatasetError, Sample, read_mask
from core.image import Rgb, read
from core.simline import render
from core.training.split import ANY, TRAINED_CLASSES, trained_defects_of

Mask = NDArray[np.bool_]

SIMLINE = "simline"
"""The simulated world, in the place of a folder."""
_SIMLINE_SEED = 20_000_000  # neither the lines of the bundled model's training nor those of its figures


class Example(Protocol):
    """One picture to learn from, read or rendered when it is wanted."""

    @property
    def class_name(self) -> str:
        """Whose prompt pack describes it."""

    @property
    def key(self) -> str:
        """What tells its content from any other's, for the cache."""

    @property
    def anomalous(self) -> bool:
        """Whether it shows a defect."""

    def load(self, size: tuple[int, int]) -> tuple[Rgb, Mask]:
        """The picture, uint8 [h, w, 3] of its own size, and its mask, bool [H, W] of `size`.

        Raises:
            ImageError: the picture or its mask cannot be read.
        """


@dataclass(frozen=True)
class FileExample:
    """A test picture of a data set."""

    class_name: str
    sample: Sample

    @property
    def anomalous(self) -> bool:
        """Whether it shows a defect."""
        return self.sample.anomalous

    @property
    def key(self) -> str:
        """By path, size and time of change of the picture and its masks: their content is not read for it."""
        stats = [(path, path.stat()) for path in (self.sample.path, *self.sample.masks)]
        return repr([(str(path.absolute()), stat.st_size, stat.st_mtime_ns) for path, stat in stats])

    def load(self, size: tuple[int, int]) -> tuple[Rgb, Mask]:
        """As `Example.load`."""
        image = read(self.sample.path)
        return image, read_mask(self.sample, size, (image.shape[0], image.shape[1]))


@dataclass(frozen=True)
class SimulatedExample:
    """A part of a simulated line, with the defects that training may show, or without any."""

    class_name: str
    seed: int
    index: int
    anomalous: bool

    @property
    def key(self) -> str:
        """By the arguments of `render`."""
        return f"{SIMLINE} {self.class_name} {self.seed} {self.index} {self.anomalous}"

    def load(self, size: tuple[int, int]) -> tuple[Rgb, Mask]:
        """As `Example.load`; rendered at the larger side of `size`, and 64 pixels at least."""
        side = max(64, *size)
        defects = trained_defects_of(self.class_name)
        part = render(self.class_name, self.seed, self.index, float(self.anomalous), defects, side)
        return part.image, shrunk(part.mask > 0, size)


def from_classes(classes: Iterable[DataClass]) -> list[Example]:
    """The test pictures of data sets' classes, without defects that have no mask.

    Raises:
        DatasetError: there are no defects with masks, or no good parts.
    """
    samples = [(data.name, sample) for data in classes for sample in data.test]
    kept: list[Example] = [
        FileExample(name, sample) for name, sample in samples if sample.masks or not sample.anomalous
    ]
    _check(kept, "of the test pictures")
    return kept


def from_simline(count: int, seed: int = 0) -> list[Example]:
    """`count` pictures of simulated lines, each line giving one part with defects and the same part without.

    Classes and defects are those that the bundled model saw, in its shares; its held-out ones are held out here too.

    Args:
        count: An even number of pictures, 2 or more.
        seed: Another one gives other lines.

    Raises:
        ValueError: `count` is odd or below 2.
    """
    if count < 2 or count % 2:
        raise ValueError(f"{count} pictures of the simulated world: they come in pairs, so ask for an even number")
    shown = (*TRAINED_CLASSES, *[ANY] * (len(TRAINED_CLASSES) // 2 - 1))  # as in `core.training.pool`
    lines = ((shown[line % len(shown)], _SIMLINE_SEED + seed * 10_000_000 + line, line) for line in range(count // 2))
    return [SimulatedExample(*line, anomalous) for line in lines for anomalous in (True, False)]


def hold_out(names: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...]:
    """The classes that are measured and not trained on: those asked for, else every fifth, and one at least.

    A data set of one class holds none out unless it is asked to.

    Raises:
        DatasetError: one that is asked for is not there, or none would be left to train on.
    """
    known = sorted(set(names))
    if asked is None:
        return tuple(known[4::5] or known[1:][-1:])
    if missing := sorted(set(asked) - set(known)):
        raise DatasetError(f"held out {missing[0]!r}: there is no such class; there are {', '.join(known)}")
    if set(asked) == set(known):
        raise DatasetError(f"held out {', '.join(known)}: none is left to train on; hold fewer out")
    return tuple(name for name in known if name in asked)


def mosaic(parts: Sequence[tuple[Rgb, Mask]], size: tuple[int, int]) -> tuple[Rgb, Mask]:
    """Four pictures and masks as a 2 x 2 mosaic: uint8 [H, W, 3] and bool [H, W] of `size`, row by row."""
    height, width = size
    rows, cols = (0, height // 2, height), (0, width // 2, width)
    image, mask = np.empty((height, width, 3), np.uint8), np.empty(size, np.bool_)
    for place, (part, marked) in enumerate(parts):
        row, col = divmod(place, 2)
        tile = (slice(rows[row], rows[row + 1]), slice(cols[col], cols[col + 1]))
        shape = (rows[row + 1] - rows[row], cols[col + 1] - cols[col])
        image[tile], mask[tile] = _squeezed(part, shape), shrunk(marked, shape)
    return image, mask


def shrunk(mask: Mask, size: tuple[int, int]) -> Mask:
    """The mask [H, W] of another `size`: a pixel is marked where any that falls into it is, so that none vanishes."""
    if mask.shape == size:
        return mask
    share = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(share > 0, np.bool_)


def partners(examples: Sequence[Example], index: int, rng: np.random.Generator) -> list[int]:
    """Three others of the same class for a mosaic; fewer than three others are taken several times."""
    name = examples[index].class_name
    others = [place for place, example in enumerate(examples) if example.class_name == name and place != index]
    others = others or [index]
    return [int(place) for place in rng.choice(others, 3, replace=len(others) < 3)]


def shuffled(count: int, seed: int, epoch: int) -> list[int]:
    """The order of an epoch; the same arguments give the same."""
    order = list(range(count))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return order


def _squeezed(image: Rgb, size: tuple[int, int]) -> Rgb:
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=way), np.uint8)


def _check(examples: Sequence[Example], what: str) -> None:
    if not any(example.anomalous for example in examples):
        raise DatasetError(f"{what} none shows a defect with a mask; FiLo learns from masks, so add them")
    if all(example.anomalous for example in examples):
        raise DatasetError(f"{what} none shows a good part; FiLo learns from both, so add some")
