"""An evaluation in tiles scores pictures as lines would."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.alfa import Alfa, Method
from core.backbone import load_backbone
from core.bank.tiled_index import TiledIndex
from core.evaluate.cache import FeatureCache
from core.evaluate.datasets import find_classes
from core.evaluate.evaluator import ClassEvaluator
from core.evaluate.few_shot import FewShot, MapStore
from core.evaluate.plan import Plan, Variant
from core.image import read
from core.packs.pack import load_pack
from core.tiles import Tiles, Tiling
from tests.support.parts import write_dataset


@pytest.mark.parametrize(("few", "tiles"), [(None, (1, 2)), (FewShot(), (1, 2)), (FewShot(), "auto")])
def test_pictures_in_tiles_score_as_on_a_line(tmp_path: Path, few: FewShot | None, tiles: Tiles) -> None:
    root, pack = write_dataset(tmp_path / "data", train=2, good=1, bad=1), load_pack("magnetic_tile")
    backbone = load_backbone("untrained", None, "cpu", "fp32")
    method = Method(scales=(3,), windows="strided", few_shot="alfa" if few is None else "evidence")
    alfa = Alfa(backbone, method, patches=True)
    cache = FeatureCache(tmp_path / "cache", alfa, [alfa.method.aligner], 4, lambda *_: None)
    store = MapStore(backbone, None, tmp_path / "cache", 4, lambda *_: None)
    plan = Plan((Variant("it", method, few=few),), (0, 2), 1, (240, 240), tiles, 0.2)
    evaluator = ClassEvaluator(alfa, cache, plan, lambda: None, store)
    (data,) = find_classes(root)
    result = evaluator.evaluate(data, pack, root)
    tiling = Tiling(1, 2) if tiles != "auto" else Tiling()
    text, shape = alfa.embed(pack.prompts()), (160, 160)
    pictures = [read(root / picture.path) for picture in result.pictures]
    zero, two = result.runs
    found = alfa.inspect(pictures, [text] * 2, None, [tiling] * 2)
    assert zero.scores == pytest.approx([one.score for one in found], abs=2e-3)
    shots = [read(root / path) for path in two.shot_paths]
    index = alfa.index([alfa.remember(shot, tiling=tiling) for shot in shots], [0, 1], shape, tiling=tiling)
    heard = [
        alfa.hear(tile, [alfa.text_scores(tiling.cut(shot)[place], text) for shot in shots])
        for place, tile in enumerate(index.tiles)
    ]
    index = replace(index, tiles=tuple(heard)) if isinstance(index, TiledIndex) else heard[0]
    found = alfa.inspect(pictures, [text] * 2, [index] * 2)
    assert two.scores == pytest.approx([one.score for one in found], abs=5e-3)
    paths = [root / picture.path for picture in result.pictures]
    (heatmap, _) = evaluator.heatmap(paths, pack, "it", [root / path for path in two.shot_paths])
    assert heatmap == pytest.approx(found[0].patch_map, abs=5e-3)
