"""What there is to learn from: pictures with exact masks, of data sets on disk or of the simulated world."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from core.evaluate.datasets import DataClass, DatasetError, MaskSurvey, Sample, read_mask
from core.image import ImageError, Rgb, read
from core.packs.pack import PromptPack, load_pack
from core.simline import render
from core.training.split import ANY, HELD_OUT_DEFECTS, HELD_OUT_WORDS, TRAINED_CLASSES, trained_defects_of

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
    inverted: bool = False
    """Whether the masks of its class mark what is no defect; see `MaskSurvey`."""

    @property
    def anomalous(self) -> bool:
        """Whether it shows a defect."""
        return self.sample.anomalous

    @property
    def key(self) -> str:
        """By path, size and time of change of the picture and its masks: their content is not read for it."""
        stats = [(path, path.stat()) for path in (self.sample.path, *self.sample.masks)]
        files = [(str(path.absolute()), stat.st_size, stat.st_mtime_ns) for path, stat in stats]
        return f"{files} {self.inverted}"

    def load(self, size: tuple[int, int]) -> tuple[Rgb, Mask]:
        """As `Example.load`."""
        image = read(self.sample.path)
        return image, read_mask(self.sample, size, (image.shape[0], image.shape[1]), self.inverted)


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


@dataclass(frozen=True)
class MosaicExample:
    """Four pictures of a class as one, so that defects are seen at half their size too."""

    parts: tuple[Example, Example, Example, Example]

    @property
    def class_name(self) -> str:
        """Of all four."""
        return self.parts[0].class_name

    @property
    def key(self) -> str:
        """By those of the four."""
        return f"mosaic {[part.key for part in self.parts]}"

    @property
    def anomalous(self) -> bool:
        """Whether any of the four shows a defect."""
        return any(part.anomalous for part in self.parts)

    def load(self, size: tuple[int, int]) -> tuple[Rgb, Mask]:
        """As `Example.load`; the picture is of `size` too."""
        return mosaic([part.load(size) for part in self.parts], size)


def mosaics_of(examples: Sequence[Example], seed: int) -> list[MosaicExample]:
    """Of each example a mosaic with three others of its class, where there are three; always the same."""
    by_class: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        by_class.setdefault(example.class_name, []).append(place)
    mosaics = []
    for place, example in enumerate(examples):
        others = [other for other in by_class[example.class_name] if other != place] or [place]
        rng = np.random.default_rng([seed, place])
        drawn = [example, *(examples[other] for other in rng.choice(others, 3, replace=len(others) < 3))]
        first, second, third, fourth = (drawn[part] for part in rng.permutation(4))
        mosaics.append(MosaicExample((first, second, third, fourth)))
    return mosaics


def from_classes(classes: Iterable[DataClass], root: Path) -> tuple[list[Example], list[str]]:
    """The test pictures of a data set's classes, and what was left out or is odd, a sentence each.

    Left out are defects without a mask, and pictures and masks that cannot be read: each is read once here, so that
    none ends a training of hours.

    Args:
        classes: Of the data set.
        root: Its folder.
    """
    found: list[Example] = []
    notes: list[str] = []
    for data in classes:
        survey, kept, bare = MaskSurvey(), [], 0
        for sample in data.test:
            if sample.anomalous and not sample.masks:
                bare += 1
                continue
            try:
                height, width = read(sample.path).shape[:2]
                survey.look(sample, (height, width))
            except ImageError as error:
                notes.append(f"{data.name}: left out: {error}")
            else:
                kept.append(sample)
        if bare:
            notes.append(f"{data.name}: left out: defective pictures without a mask, {bare} of {len(data.test)}")
        notes += [f"{data.name}: {note}" for note in survey.notes(root)]
        found += [FileExample(data.name, sample, survey.inverted) for sample in kept]
    return found, notes


def require_both_kinds(examples: Sequence[Example]) -> None:
    """Raises DatasetError: there are no defects with masks, or no good parts."""
    if not any(example.anomalous for example in examples):
        raise DatasetError("no test picture shows a defect with a mask; FiLo learns from masks, so add some")
    if all(example.anomalous for example in examples):
        raise DatasetError("no test picture shows a good part; FiLo learns from both kinds, so add some")


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


def trained_pack(name: str) -> PromptPack:
    """The pack of a simulated class without what it says of held-out defects."""
    pack = load_pack(name)
    kept = {
        kind: tuple(phrase for phrase in phrases if not any(word in phrase.lower() for word in HELD_OUT_WORDS))
        for kind, phrases in pack.defects.items()
        if kind not in HELD_OUT_DEFECTS
    }
    return pack.model_copy(update={"defects": {kind: phrases for kind, phrases in kept.items() if phrases}})


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


def _squeezed(image: Rgb, size: tuple[int, int]) -> Rgb:
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=way), np.uint8)
