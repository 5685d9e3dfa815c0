"""What tiles find that whole frames do not: small squares on a large plate, and photographs of real parts.

Results are kept by setting in the folder `ALFA_EDGE_RESULTS`, where it is set: a run that was cut short then goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.backbone import load_backbone
from core.bank.tiled_index import AnyIndex, TiledIndex
from core.calibration import calibrate
from core.image import Rgb
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack
from core.simline import render
from core.tiles import WHOLE, Tiles, Tiling
from core.towers import LITE0, load_tower

SIDES = (12, 24, 48)
SIZE = (2160, 3840)
AT = (1403, 2371)  # top left pixel of the square, anywhere on the sheet
SHOTS, GOOD, RATE = 4, 19, 0.05

PHOTOGRAPHS = Path(os.environ.get("ALFA_EDGE_PHOTOGRAPHS", Path(__file__).parents[2].parent / "shared" / "data"))
CLASSES = ("commutator", "magnetic_tile")
TILES: tuple[Tiles, ...] = ((1, 1), (2, 2), (1, 3), "auto")
TRAIN, TEST = 16, 20  # pictures of a class, of each kind; the first ones


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[], Any]], Any]:
    """What a measurement gave, from the run before where that was kept."""
    folder = Path(os.environ.get("ALFA_EDGE_RESULTS") or tmp_path_factory.mktemp("results"))
    folder.mkdir(parents=True, exist_ok=True)

    def get(name: str, measure: Callable[[], Any]) -> Any:
        file = folder / f"{name}.json"
        if not file.exists():
            found = json.dumps(measure())
            file.with_suffix(".draft").write_text(found)
            file.with_suffix(".draft").rename(file)
        return json.loads(file.read_text())

    return get


@cache
def bundled() -> Alfa:
    backbone = load_backbone("bundled", None, "cpu", "fp32")
    return Alfa(backbone, Method(), patches=True, tower=load_tower(LITE0))


@lru_cache(32)
def plate(number: int) -> Rgb:
    """A rolled sheet of metal."""
    picture = render("metal_plate", 3, number, 0.0, size=SIZE[1]).image
    top = (SIZE[1] - SIZE[0]) // 2
    return np.ascontiguousarray(picture[top : top + SIZE[0]])


def with_square(picture: Rgb, side: int) -> Rgb:
    marked = picture.copy()
    marked[AT[0] : AT[0] + side, AT[1] : AT[1] + side] = 0
    return marked


def index_of(alfa: Alfa, shots: Sequence[Rgb], text: TextFeatures, tiling: Tiling) -> AnyIndex:
    """Of shots, with what the text side says of them, as a line has it."""
    memories = [alfa.remember(shot, tiling=tiling) for shot in shots]
    index = alfa.index(memories, range(len(shots)), SIZE, tiling=tiling)
    tiles = [
        alfa.hear(tile, [alfa.text_scores(tiling.cut(shot)[place], text) for shot in shots])
        for place, tile in enumerate(index.tiles)
    ]
    return TiledIndex(tiling, tuple(tiles)) if tiling.count > 1 else tiles[0]


def squares(tiling: Tiling) -> dict[str, Any]:
    """Scores of good parts, the threshold from them, and for a square of each side the score and the peak."""
    alfa = bundled()
    text = alfa.text(compile_pack(alfa.backbone, load_pack("metal_plate")))
    index = index_of(alfa, [plate(number) for number in range(SHOTS)], text, tiling)
    good = [alfa.inspect([plate(SHOTS + number)], [text], [index])[0].score for number in range(GOOD)]
    part, found = plate(SHOTS + GOOD), {}
    for side in (0, *SIDES):
        one = alfa.inspect([with_square(part, side)], [text], [index])[0]
        found[str(side)] = {"score": one.score, "peak": (one.peak.x, one.peak.y)}
    return {"good": good, "threshold": calibrate(good, RATE).threshold, "found": found}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tiling", [WHOLE, Tiling(4, 7)], ids=lambda one: one.name or "whole")
def test_small_squares_on_a_large_plate(tiling: Tiling, kept: Callable[[str, Callable[[], Any]], Any]) -> None:
    result = kept(f"plate-{tiling.name or 'whole'}", lambda: squares(tiling))
    low, high, threshold = min(result["good"]), max(result["good"]), result["threshold"]
    print(f"\ntiles {tiling.name or '1x1'}: {GOOD} good {low:.3f} to {high:.3f}, threshold {threshold:.3f}")
    for side, one in result["found"].items():
        (x, y), score = one["peak"], one["score"]
        near = all(abs(at + int(side) / 2 - place) <= int(side) for at, place in zip(AT, (y, x), strict=True))
        words = "above" if score >= threshold else "below"
        print(f"  square of {side:>2} px: {score:.3f}, {words}, the peak {'on' if near else 'off'} it")
        if tiling.count > 1 and int(side):
            assert score >= threshold
            assert near
    assert result["found"]["0"]["score"] < threshold


def photographs(name: str, folder: Path) -> Iterator[Path]:
    """The first pictures of each kind of a class, linked into a data set of its own."""
    for part in ("train/good", "test/good", *(f"test/{one.name}" for one in (PHOTOGRAPHS / name / "test").iterdir())):
        kinds = len(list((PHOTOGRAPHS / name / "test").iterdir())) - 1
        count = TRAIN if part.startswith("train") else TEST if part.endswith("good") else -(-TEST // kinds)
        for file in sorted((PHOTOGRAPHS / name / part).iterdir())[:count]:
            yield _link(file, folder / name / part / file.name)
            mask = PHOTOGRAPHS / name / "ground_truth" / file.parent.name / f"{file.stem}_mask.png"
            if mask.exists():
                _link(mask, folder / name / "ground_truth" / file.parent.name / mask.name)


def _link(file: Path, link: Path) -> Path:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(file)
    return link


def evaluated(name: str, tiles: Tiles, root: Path) -> dict[str, Any]:
    """Percent, by number of shots."""
    from core.evaluate.few_shot import FewShot
    from edge.tools.evaluate import Choice, Evaluator

    choice = Choice(
        root=root / name,
        classes=None,
        pack=name,
        shots=(0, SHOTS),
        seeds=1,
        method="alfa",
        scales=(2, 3),
        windows="exact",
        ablate=False,
        batch=1,
        cache=root / "cache",
        resume=True,
        few=FewShot(),
        tiles=tiles,
    )
    evaluator = Evaluator(bundled().backbone, choice, Console(quiet=True), bundled().tower)
    (result,) = evaluator.run().classes
    metrics = {
        str(run.shots): {key: 100 * value for key, value in run.metrics.model_dump().items() if value is not None}
        for run in result.runs
    }
    return {"pictures": len(result.pictures), "ms": float(np.mean(evaluator.pace.taken)), "metrics": metrics}


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs photographs of real parts")
@pytest.mark.timeout(3600)
def test_photographs_in_tiles(kept: Callable[[str, Callable[[], Any]], Any], tmp_path: Path) -> None:
    print()
    for name in CLASSES:
        list(photographs(name, tmp_path))
        for tiles in TILES:
            words = tiles if tiles == "auto" else f"{tiles[0]}x{tiles[1]}"
            result = kept(f"photographs-{name}-{words}", partial(evaluated, name, tiles, tmp_path))
            for shots, found in result["metrics"].items():
                figures = " ".join(f"{key} {value:5.1f}" for key, value in found.items())
                print(f"{name} {words:>4} {shots} shots, {result['pictures']} pictures: {figures}")
