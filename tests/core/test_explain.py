import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.backbone import Backbone
from core.explain import Likeness, describe, reasons
from tests.core.test_alfa import frame, text_of

PHRASES = ("a crack", "a scratch", "a stain", "a hole", "a dent", "a burr")


def test_the_nearest_five_come_nearest_first() -> None:
    likeness = Likeness(np.array([0.1, 0.5, -0.2, 0.3, 0.2, 0.4], np.float32), np.zeros((3, 3), np.int64))
    found = reasons(likeness, PHRASES)
    assert [one.text for one in found] == ["a scratch", "a burr", "a hole", "a dent", "a crack"]
    assert found[0].similarity == pytest.approx(0.5)


def test_a_point_gets_the_descriptor_of_its_patch() -> None:
    likeness = Likeness(np.zeros(6, np.float32), np.arange(6).reshape(2, 3))
    assert describe(likeness, PHRASES, (0, 0), (100, 300)) == "a crack"
    assert describe(likeness, PHRASES, (299, 99), (100, 300)) == "a burr"
    assert describe(likeness, PHRASES, (150, 20), (100, 300)) == "a scratch"


def test_each_patch_is_described_by_its_most_anomalous_window(backbone: Backbone) -> None:
    alfa = Alfa(backbone)
    plain = text_of(128)
    generator = torch.Generator().manual_seed(4)
    text = TextFeatures(
        plain.normal, plain.abnormal, F.normalize(torch.randn(6, 128, generator=generator), dim=-1), PHRASES
    )
    frames = [frame(seed=1), frame(seed=2)]
    inspected = alfa.inspect(frames, [text, text])
    features = alfa.vision(backbone.pixels(frames))
    labels = alfa.adapt(features.image, text)
    scores = alfa.window_scores(features, labels.embedding)
    assert text.descriptors is not None
    for row, one in enumerate(inspected):
        assert one.likeness is not None
        assert np.allclose(one.likeness.image, (text.descriptors @ features.image[row]).numpy(), atol=1e-6)
        for patch in (0, 7, 112, 224):
            over = [
                (float(scores[k][row, w]), k, w)
                for k, windows in enumerate(alfa.windows)
                for w in range(len(windows.index))
                if patch in windows.index[w]
            ]
            _, k, w = max(over)
            nearest = int((text.descriptors @ features.windows[k][row, w]).argmax())
            assert one.likeness.patch.ravel()[patch] == nearest


def test_a_pack_without_descriptors_gives_no_likeness(backbone: Backbone) -> None:
    assert Alfa(backbone).inspect([frame()], [text_of(128)])[0].likeness is None
