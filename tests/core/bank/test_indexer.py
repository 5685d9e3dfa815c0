"""What is kept of normal shots, and what parts are compared with."""

import numpy as np
import pytest
import torch

from core.alfa import ALFA, Alfa, Method
from core.backbone import Backbone
from core.bank.indexer import Indexer
from core.bank.memory import remember
from tests.core.test_alfa import frame

SHAPE = (240, 240)


@pytest.fixture(scope="module")
def alfa(backbone: Backbone) -> Alfa:
    return Alfa(backbone, Method(windows="none"), patches=True)


def test_a_memory_lies_on_the_cpu_in_tensors_of_its_own(alfa: Alfa) -> None:
    features = alfa.vision(alfa.backbone.pixels([frame()]))
    memory = Indexer(alfa.backbone, None, alfa.method).remember(features, [frame()], SHAPE)
    assert torch.equal(memory.patches, remember(features).patches)
    assert features.patches is not None
    assert memory.patches.data_ptr() != features.patches.data_ptr()  # of a captured graph they are overwritten
    assert [kind.shape[0] for kind in memory.maps] == [1]


def test_the_papers_way_keeps_no_maps_and_hears_no_text(backbone: Backbone) -> None:
    alfa = Alfa(backbone, Method(windows="none", few_shot="alfa"), patches=True)
    memory = alfa.remember(frame())
    assert memory.maps == ()
    index = alfa.index([memory], [0], SHAPE)
    assert index.evidence is None
    assert alfa.hear(index, [(0.5, 0.5)]) is index
    assert Indexer(backbone, None, alfa.method).maps_of([index], [frame()]) == [()]


def test_an_index_compares_the_maps_of_the_shape_that_it_was_made_for(alfa: Alfa) -> None:
    shots = [frame(seed=seed) for seed in (1, 2)]
    index = alfa.index([alfa.remember(shot, SHAPE) for shot in shots], [7, 8], SHAPE)
    assert index.evidence is not None
    assert index.evidence.owners == (7, 8)
    indexer = Indexer(alfa.backbone, None, alfa.method)
    frames = [frame(300, 400), frame(), frame(200, 90)]
    maps, none, other = indexer.maps_of([index, None, index], frames)
    assert [kind.shape for kind in maps] == [(1, *kind.shape[1:]) for kind in index.evidence.maps]
    assert none == ()
    alone = indexer.maps_of([index], frames[2:])[0]
    assert all(torch.allclose(*kinds, atol=1e-5) for kinds in zip(other, alone, strict=True))
    heard = alfa.hear(index, [(0.4, 0.4), (0.6, 0.6)])  # without windows S_G stands twice, and is heard once
    assert heard.evidence is not None
    assert [level.source for level in heard.evidence.text] == ["text"]
    assert np.isclose(heard.evidence.text[0].mean[0], 0.5)


def test_what_makes_maps_is_made_once_for_a_shape(alfa: Alfa) -> None:
    indexer = Indexer(alfa.backbone, None, ALFA.on(alfa.backbone.traits))
    assert indexer.feature_maps(SHAPE) is indexer.feature_maps(SHAPE)
    assert indexer.feature_maps((240, 480)) is not indexer.feature_maps(SHAPE)
