"""The pictures of a data set: which can be read, which are held out, and what a result calls them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from core.evaluate.datasets import Sample
from core.image import ImageError, read
from core.printable import encodable


def held_out(name: str, test: Sequence[Sample], shots: Sequence[int], notes: list[str]) -> list[Path]:
    """Half of the good test pictures, or as many as the shots take that leave one to be tested; `notes` says so."""
    goods = [sample.path for sample in test if not sample.anomalous]
    count = max(len(goods) // 2, *(count for count in (0, *shots) if count < len(goods)), 0)
    notes.append(f"Held out of the test, for shots and the threshold: {count} of {len(goods)} good pictures.")
    return sorted(random.Random(f"{name}:held out").sample(goods, count))


def not_run(shots: Sequence[int], train: int) -> list[str]:
    """What to say of numbers of shots that `train` good pictures do not suffice for."""
    return [
        f"Not run with {count} shots: the good pictures for them are only {train}." for count in shots if count > train
    ]


def opens(path: Path, broken: list[str]) -> bool:
    """Whether a picture can be read; if not `broken` says why."""
    try:
        read(path)
    except ImageError as error:
        broken.append(str(error))
        return False
    return True


def name_of(path: Path, root: Path) -> str:
    """What a result calls the file: its path below the data set's root."""
    return encodable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name)
