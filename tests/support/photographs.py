"""Pictures of parts for the streams: real photographs where they are at hand, else simulated ones."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from core.simline import render

ROOT = Path(os.environ.get("ALFA_EDGE_PHOTOGRAPHS", Path(__file__).parents[2].parent / "shared" / "data"))
"""Where data sets of photographs are, in MVTec AD's layout."""
_STAND_IN = {"magnetic_tile": "tile", "commutator": "tile"}


def photographs(name: str, count: int, folder: Path) -> Path:
    """A folder with `count` pictures of the class `name`, half of them defective."""
    folder.mkdir(parents=True)
    real = [
        sorted(one for one in (ROOT / name / "test").glob(pattern) if one.is_file())[: (count + 1) // 2]
        for pattern in ("good/*", "crack/*")
    ]
    found = [one for pair in zip(*real, strict=False) for one in pair][:count]
    for index in range(count):
        target = folder / f"{index:03d}.png"
        if found:
            with Image.open(found[index % len(found)]) as picture:
                picture.save(target)
        else:
            Image.fromarray(render(_STAND_IN[name], 1, index, 0.5, size=480).image).save(target)
    return folder
