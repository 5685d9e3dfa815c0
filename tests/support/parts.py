"""A small data set of simulated parts, in MVTec AD's layout."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from core.simline import render


def write_dataset(
    root: Path, classes: tuple[str, ...] = ("tile",), train: int = 6, good: int = 4, bad: int = 5
) -> Path:
    """`<root>/<class>/{train,test,ground_truth}/...` with defects and exact masks, 160 x 160."""
    for name in classes:
        for kind, start, count, rate in (("train/good", 0, train, 0.0), ("test/good", 100, good, 0.0)):
            for index in range(count):
                _save(root / name / kind / f"{index:03d}.png", render(name, 1, start + index, rate, size=480).image)
        for index in range(bad):
            part = render(name, 1, 200 + index, 1.0, size=480)
            _save(root / name / "test" / "defect" / f"{index:03d}.png", part.image)
            _save(root / name / "ground_truth" / "defect" / f"{index:03d}_mask.png", part.mask)
    return root


def _save(path: Path, pixels: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels[::3, ::3]).save(path)  # type: ignore[index]
