"""The index of tiles, without one of its shots."""

import numpy as np
import torch

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.backbone import Backbone
from core.bank.tiled_index import TiledIndex
from core.method import Method
from core.tiles import Tiling


def test_without_a_shot_it_is_that_of_the_others_at_each_place(backbone: Backbone) -> None:
    alfa, tiling = Alfa(backbone, Method(few_shot="alfa"), patches=True), Tiling(1, 2)
    frames = list(np.random.default_rng(0).integers(0, 256, (4, 40, 80, 3), dtype=np.uint8))
    memories = [alfa.remember(frame, tiling=tiling) for frame in frames[:3]]
    index = alfa.index(memories, [7, 8, 9], (40, 80), tiling=tiling)
    assert isinstance(index, TiledIndex)
    text = TextFeatures(torch.eye(128)[:3], torch.eye(128)[3:5])
    others = alfa.index([memories[0], memories[2]], [7, 9], (40, 80), tiling=tiling)
    found, expected = (alfa.inspect(frames[3:], [text], [each])[0] for each in (index.without(8), others))
    assert found.score == expected.score
    assert np.array_equal(found.patch_map, expected.patch_map)
    alone = alfa.index(memories[:1], [7], (40, 80), tiling=tiling)
    assert alone.without(7) is None
