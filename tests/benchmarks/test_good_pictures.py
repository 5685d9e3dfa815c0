"""How many good pictures are refused as showing nothing, and how many of pictures that show nothing are not.

Good ones are the photographs of ALFA_EDGE_PHOTOGRAPHS, a folder of data sets in MVTec AD's layout, where there are any,
and ALFA_EDGE_BENCH_PARTS (30) simulated parts of each class, 4 times as many of the plainest. Each is looked at as it
is and as a JPEG, without shots and with four of its kind. `pytest -s` prints a line for each kind.
"""

import os
from collections.abc import Iterator, Sequence
from time import process_time

import cv2
import numpy as np
import pytest

from core.image import Rgb, read
from core.picture_check import ShotFigures, flat, over_exposed
from core.picture_files import pictures_in
from core.simline import CLASSES, render
from core.structure import Structure, structure_of
from edge.settings import HealthSettings
from tests.support.photographs import ROOT

PARTS = int(os.environ.get("ALFA_EDGE_BENCH_PARTS", "30"))
PLAINEST = ("glass", "ground_metal", "metal_plate", "painted_panel")
SHOTS = 4
BLUR = (0.05, 0.08)  # of the longer side
RANDOM = np.random.default_rng(1)
PHOTOGRAPHS = sorted(path.name for path in ROOT.glob("*") if (path / "train" / "good").is_dir())


def photographs(name: str) -> Iterator[Rgb]:
    for folder in ("train", "test"):
        for path in pictures_in(ROOT / name / folder / "good"):
            yield read(path)


def parts(name: str) -> Iterator[Rgb]:
    """Of eight lines that look at the same kind of part, one after the other."""
    count = PARTS * (4 if name in PLAINEST else 1)
    for number in range(count):
        yield render(name, 500 + number * 8 // count, number, 0.0).image


def refused(structures: Sequence[Structure], shots: ShotFigures | None) -> int:
    most = HealthSettings().saturated
    return sum(bool(flat(one, shots) or over_exposed(one, shots, most)) for one in structures)


def as_jpeg(picture: Rgb) -> Rgb:
    done = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_COLOR)
    return np.asarray(done, np.uint8)


def out_of_focus(picture: Rgb, share: float) -> Rgb:
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), share * max(picture.shape))
    return np.clip(np.rint(smooth + RANDOM.normal(0, 1, smooth.shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", [*PHOTOGRAPHS, *CLASSES])
def test_no_good_picture_is_refused(name: str) -> None:
    """And, said but not asked for, how many out of focus are, without shots and with them."""
    real = name in PHOTOGRAPHS
    pictures = list(photographs(name) if real else parts(name))
    found = [structure_of(picture) for picture in pictures]
    coded = [structure_of(as_jpeg(picture)) for picture in pictures]
    line = len(pictures) if real else len(pictures) // 8  # pictures that are of one line
    wrong = refused(found, None) + refused(coded, None)
    few = pictures[:: max(1, len(pictures) // 16)]
    blurred = {share: [structure_of(out_of_focus(picture, share)) for picture in few] for share in BLUR}
    caught = {share: [0, 0] for share in BLUR}
    for share, some in blurred.items():
        caught[share][0] = refused(some, None)
    for start in range(0, len(pictures), max(1, line)):
        shots = ShotFigures.of(found[start : start + min(SHOTS, line)])
        wrong += refused(found[start : start + line], shots)
    of_first = ShotFigures.of(found[:SHOTS])
    for share in BLUR:
        mine = [one for place, one in enumerate(blurred[share]) if place * max(1, len(pictures) // 16) < line]
        caught[share][1] = refused(mine, of_first)
        caught[share].append(len(mine))
    said = ", ".join(
        f"blurred by {share:.0%}: {alone} of {len(few)} refused, {with_shots} of {count} with shots"
        for share, (alone, with_shots, count) in caught.items()
    )
    print(f"{name}: {len(pictures)} good pictures, {wrong} refusals; {said}")
    assert wrong == 0


def test_what_it_costs() -> None:
    """Milliseconds of one core for 1920 x 1080, at the best of many: other work only adds."""
    picture = RANDOM.integers(0, 256, (1080, 1920, 3)).astype(np.uint8)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    took = []
    for _ in range(50):
        began = process_time()
        structure_of(picture)
        took.append((process_time() - began) * 1000)
    cv2.setNumThreads(threads)
    print(f"{min(took):.2f} ms at best, {float(np.median(took)):.2f} ms in the middle")
    assert min(took) < 2
