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

import cv2
import numpy as np
import pytest
from rich.console import Console

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.backbone import load_backbone
from core.bank.tiled_index import AnyIndex, TiledIndex
from core.calibration import calibrate
from core.evaluate.few_shot import FewShot, median_shape
from core.evaluate.metrics import image_metrics
from core.image import Rgb, read
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack
from core.regions import grown
from core.tiles import WHOLE, Tiles, Tiling, smallest_defect
from core.towers import LITE0, load_tower

SIDES = (12, 24, 48)
SMALLER = (3, 4, 6, 8)
SIZE = (2160, 3840)
AT = (1403, 2371)  # top left pixel of the square, anywhere on the sheet
SHOTS, GOOD, RATE = 4, 19, 0.05

PHOTOGRAPHS = Path(os.environ.get("ALFA_EDGE_PHOTOGRAPHS", Path(__file__).parents[2].parent / "shared" / "data"))
CLASSES = ("commutator", "magnetic_tile")
TILES: tuple[Tiles, ...] = ((1, 1), (2, 2), (1, 3), "auto")
TRAIN, TEST = 12, 16  # good pictures of a class; the first ones
PER_KIND = {"commutator": 16, "magnetic_tile": 3}  # of each kind of defect


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


@lru_cache(SHOTS + GOOD + 1)
def plate(number: int) -> Rgb:
    """Brushed metal: lines along it, lighter and darker areas, and the camera's noise. No dust, which tiles see too."""
    rng = np.random.default_rng(number)
    lines = cv2.blur(rng.normal(0, 1, SIZE).astype(np.float32), (201, 1)) * 60
    areas = cv2.resize(rng.normal(0, 4, (5, 9)).astype(np.float32), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    grey = 150 + lines + areas + rng.normal(0, 2, SIZE).astype(np.float32)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[:, :, None], 3, 2)


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
    text = alfa.text(compile_pack(alfa.backbone, load_pack("brushed_metal")))
    index = index_of(alfa, [plate(number) for number in range(SHOTS)], text, tiling)
    good = [alfa.inspect([plate(SHOTS + number)], [text], [index])[0].score for number in range(GOOD)]
    part, found = plate(SHOTS + GOOD), {}
    for side in (0, *SMALLER, *SIDES):
        one = alfa.inspect([with_square(part, side)], [text], [index])[0]
        mask = np.zeros(SIZE, bool)
        mask[AT[0] : AT[0] + side, AT[1] : AT[1] + side] = True
        near = grown(mask, (one.patch_map.shape[0], one.patch_map.shape[1]))
        found[str(side)] = {"score": one.score, "on it": bool(near[one.peak.y, one.peak.x])}
    tile = tiling.tile_size(SIZE)
    smallest = smallest_defect(tile, alfa.feature_maps(tile).sees)
    return {"good": good, "threshold": calibrate(good, RATE).threshold, "found": found, "smallest": smallest}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tiling", [WHOLE, Tiling(2, 4)], ids=lambda tiling: tiling.name or "whole")
def test_small_squares_on_a_large_plate(tiling: Tiling, kept: Callable[[str, Callable[[], Any]], Any]) -> None:
    """In tiles the score of each square is above the threshold that good parts give, and the peak lies on it.

    Where the whole frame is said to see a defect, it does; a square of half of that side may be seen or not.
    """
    result = kept(f"plate-{tiling.name or 'whole'}", lambda: squares(tiling))
    low, high, threshold = min(result["good"]), max(result["good"]), result["threshold"]
    print(f"\ntiles {tiling.name or '1x1'}: {GOOD} good {low:.3f} to {high:.3f}, threshold {threshold:.3f}")
    print(f"  the smallest defect that is seen, as doctor says it: {result['smallest']} px")
    for side, one in result["found"].items():
        words = "above" if one["score"] >= threshold else "below"
        print(f"  square of {side:>2} px: {one['score']:.3f}, {words}, the peak {'on' if one['on it'] else 'off'} it")
        if int(side) >= result["smallest"] or (tiling.count > 1 and int(side) in SIDES):
            assert one["score"] >= threshold
            assert one["on it"]
    assert result["found"]["0"]["score"] < threshold


def photographs(name: str, folder: Path) -> Iterator[Path]:
    """The first pictures of each kind of a class, linked into a data set of its own."""
    for part in ("train/good", *(f"test/{kind.name}" for kind in (PHOTOGRAPHS / name / "test").iterdir())):
        count = TRAIN if part.startswith("train") else TEST if part.endswith("good") else PER_KIND[name]
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
    return {"pictures": len(result.pictures), "metrics": metrics}


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


def by_place_or_pooled(name: str, tiling: Tiling) -> dict[str, Any]:
    """AUROC of pictures, percent, where a tile is compared with its place of the shots, and with all of their tiles.

    Without windows, which are the same either way. The first is what lines do: pooled was never better here, and each
    tile is then compared with as many times the features.
    """
    backbone = bundled().backbone
    alfa = Alfa(backbone, Method(windows="none"), patches=True, tower=bundled().tower)
    text = alfa.text(compile_pack(backbone, load_pack(name)))
    root = PHOTOGRAPHS / name
    shots = [read(file) for file in sorted((root / "train" / "good").iterdir())[:SHOTS]]
    shape = median_shape([(shot.shape[0], shot.shape[1]) for shot in shots])
    memories = [alfa.remember(shot, shape, tiling) for shot in shots]
    heard = [[alfa.text_scores(tile, text) for tile in tiling.cut(shot)] for shot in shots]
    index = alfa.index(memories, range(SHOTS), shape, tiling=tiling)
    places = [alfa.hear(tile, [said[place] for said in heard]) for place, tile in enumerate(index.tiles)]
    apart = [memory.take(place) for memory in memories for place in range(tiling.count)]
    (pool,) = alfa.index(apart, range(len(apart)), tiling.tile_size(shape)).tiles
    said = [one for of_shot in heard for one in of_shot]
    pool = alfa.hear(pool, [said[owner] for owner in pool.evidence.owners] if pool.evidence else said)
    indexes = {"by place": tuple(places), "pooled": (pool,) * tiling.count}
    scores: dict[str, list[float]] = {way: [] for way in indexes}
    labels = []
    for kind in sorted((root / "test").iterdir()):
        for file in sorted(kind.iterdir())[: TEST if kind.name == "good" else PER_KIND[name]]:
            labels.append(kind.name != "good")
            frames = [read(file)] * len(indexes)
            found = alfa.inspect(frames, [text] * 2, [TiledIndex(tiling, tiles) for tiles in indexes.values()])
            for way, one in zip(indexes, found, strict=True):
                scores[way].append(one.score)
    return {way: 100 * image_metrics(np.array(each), np.array(labels))[0] for way, each in scores.items()}


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs photographs of real parts")
@pytest.mark.timeout(3600)
def test_shots_by_place_of_the_tile_or_pooled(kept: Callable[[str, Callable[[], Any]], Any]) -> None:
    print()
    for name, tiling in (("commutator", Tiling(3, 1)), ("commutator", Tiling(2, 2)), ("magnetic_tile", Tiling(2, 2))):
        found = kept(f"pooled-{name}-{tiling.name}", partial(by_place_or_pooled, name, tiling))
        words = ", ".join(f"{way} {auroc:.1f}" for way, auroc in found.items())
        print(f"{name} {tiling.name}, {SHOTS} shots, AUROC: {words}")
