"""Simulated data sets on disk, in MVTec AD's layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from numpy.typing import NDArray

from core.simline.world import SIZE, Sample, defects_of, render

_TEST = 1_000_000  # first part of the line that is for testing


class DatasetExists(FileExistsError):  # noqa: N818 - part of the public interface
    """There is something already where a class would be written."""


@dataclass(frozen=True)
class Amount:
    """Pictures of each class: normal ones for training, normal ones for testing, and of each defect."""

    train: int = 20
    good: int = 20
    defective: int = 5


def write_dataset(
    out: Path, classes: Sequence[str], amount: Amount = Amount(), seed: int = 0, size: int = SIZE
) -> Iterator[Path]:
    """Writes `<class>/train/good`, `test/good`, `test/<defect>` and `ground_truth/<defect>`; yields each picture.

    Every defective picture shows its folder's defect alone. The same arguments write the same files.

    Raises:
        UnknownName: one of `classes` is not simulated.
        DatasetExists: one of them is in `out` already; nothing is written.
        OSError: a file cannot be written.
    """
    kinds = {name: defects_of(name) for name in classes}
    for name in classes:
        if (out / name).exists():
            raise DatasetExists(f"{out / name} is there already; choose another folder or remove it")
    for name in classes:
        for kind, start, count in (("train", 0, amount.train), ("test", _TEST, amount.good)):
            for index in range(count):
                sample = render(name, seed, start + index, 0.0, size=size)
                yield _save(out / name / kind / "good" / f"{index:03d}.png", sample.image[..., ::-1])
        for place, defect in enumerate(kinds[name]):
            parts = _showing(name, seed, _TEST * (2 + place), defect, size)
            for index in range(amount.defective):
                sample = next(parts)
                _save(out / name / "ground_truth" / defect / f"{index:03d}_mask.png", sample.mask)
                yield _save(out / name / "test" / defect / f"{index:03d}.png", sample.image[..., ::-1])


def _showing(name: str, seed: int, start: int, defect: str, size: int) -> Iterator[Sample]:
    """Parts on which the defect shows."""
    while True:
        sample = render(name, seed, start, 1.0, [defect], size)
        start += 1
        if sample.defects:
            yield sample


def _save(path: Path, pixels: NDArray) -> Path:  # type: ignore[type-arg]
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise OSError(f"{path}: cannot be encoded as PNG")
    path.write_bytes(data.tobytes())
    return path
