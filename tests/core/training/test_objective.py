import json
from importlib.resources import files

import numpy as np
import pytest
import torch
from open_clip.model import CLIP

from core.training.captions import Captions
from core.training.objective import Regime, draw_windows, embed_texts, encode, losses, sentences
from core.training.pool import Batch
from core.training.split import (
    HELD_OUT_CLASSES,
    HELD_OUT_DEFECTS,
    TRAINED_CLASSES,
    TRAINED_DEFECTS,
    trained_defects_of,
)


def test_what_is_held_out_is_not_trained() -> None:
    assert len(HELD_OUT_CLASSES) >= 3
    assert len(HELD_OUT_DEFECTS) >= 2
    assert not set(HELD_OUT_CLASSES) & set(TRAINED_CLASSES)
    assert not {one for name in TRAINED_CLASSES for one in trained_defects_of(name)} & set(HELD_OUT_DEFECTS)


def test_windows_lie_over_damage_and_know_how_much() -> None:
    damage = torch.zeros(2, 15, 15, dtype=torch.int64)
    damage[0, 4, 7] = 40
    for scale in (2, 3):
        patches, hit = draw_windows(damage, scale, np.random.default_rng(0))
        assert patches.shape[2] == scale**2
        assert torch.equal(hit, damage.flatten(1).gather(1, patches.flatten(1)).reshape(patches.shape).sum(2))
        assert (hit[0] == 40).sum() >= min(5, scale**2)
        assert not hit[1].any()


def test_short_sentences_are_embedded_as_by_open_clip() -> None:
    model = CLIP(**json.loads((files("core.models") / "clip.json").read_text("utf-8"))).eval()
    tokens = Captions().defects(np.random.default_rng(0), 1)[:, 0]
    padded = torch.zeros(len(tokens), 77, dtype=torch.int64)
    padded[:, : tokens.shape[1]] = tokens
    with torch.inference_mode():
        assert torch.allclose(encode(model, tokens), model.encode_text(padded), atol=1e-5)


@pytest.mark.parametrize("regime", [Regime(), Regime(scales=(), patches=False)])
def test_a_step_lowers_the_loss_of_its_own_batch(regime: Regime) -> None:
    torch.manual_seed(0)
    model = CLIP(**json.loads((files("core.models") / "clip.json").read_text("utf-8")))
    captions = Captions()
    draw = np.random.default_rng(1)
    damage = np.zeros((4, 15, 15), np.int64)
    damage[:2, 3, 3] = 60
    batch = Batch(np.zeros((4, 240, 240, 3), np.uint8), damage, np.array([0, 1, 0, 1]), np.array([2, 3, -1, -1]))
    pixels = torch.from_numpy(draw.standard_normal((4, 3, 240, 240), dtype=np.float32))
    states, kinds = captions.states(draw, [0, 1], sentences()), captions.defects(draw, 2)
    assert len(kinds) == len(TRAINED_DEFECTS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(4):
        texts = embed_texts(model, states, kinds)
        place = torch.from_numpy(batch.classes)
        parts = losses(model.visual, pixels, batch, place, texts, regime, np.random.default_rng(2))
        total = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]
    assert ("patch" in parts) == regime.patches
