import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from torch.nn.functional import normalize

from core.models import architecture
from core.training.captions import Captions
from core.training.objective import (
    SENTENCES,
    DamageHead,
    Regime,
    changed_cells,
    draw_anchors,
    draw_windows,
    embed_texts,
    embed_windows,
    encode,
    losses,
    pair_loss,
)
from core.training.pool import Batch
from core.training.split import (
    HELD_OUT_CLASSES,
    HELD_OUT_DEFECTS,
    TRAINED_CLASSES,
    TRAINED_DEFECTS,
    trained_defects_of,
)
from core.vision import VisionPass
from core.windows import make_windows


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
        assert (hit[0] == 40).sum() >= min(patches.shape[1] // 2, scale**2)
        assert not hit[1].any()


@pytest.mark.parametrize("layer_scale", [None, 0.3])
def test_short_sentences_are_embedded_as_by_open_clip(layer_scale: float | None) -> None:
    model = scaled(layer_scale)
    tokens = Captions().defects(np.random.default_rng(0), 1)[:, 0]
    padded = torch.zeros(len(tokens), 77, dtype=torch.int64)
    padded[:, : tokens.shape[1]] = tokens
    with torch.inference_mode():
        assert torch.allclose(encode(model, tokens), model.encode_text(padded), atol=1e-5)


@pytest.mark.parametrize("regime", [Regime(), Regime(scales=(), patches=False)])
def test_a_step_lowers_the_loss_of_its_own_batch(regime: Regime) -> None:
    torch.manual_seed(0)
    model = CLIP(**architecture())
    captions = Captions()
    draw = np.random.default_rng(1)
    damage = np.zeros((4, 15, 15), np.int64)
    damage[:2, 3, 3] = 60
    batch = Batch(np.zeros((4, 240, 240, 3), np.uint8), damage, np.array([0, 1, 0, 1]), np.array([2, 3, -1, -1]))
    pixels = torch.from_numpy(draw.standard_normal((4, 3, 240, 240), dtype=np.float32))
    states, kinds = captions.states(draw, [0, 1], SENTENCES), captions.defects(draw, 2)
    assert len(kinds) == len(TRAINED_DEFECTS)
    anchors = draw_anchors(2, len(TRAINED_DEFECTS), 128, 0)
    head = DamageHead(256)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=1e-3)
    totals = []
    for _ in range(4):
        texts, apart = embed_texts(model, states, kinds, anchors)
        place = torch.from_numpy(batch.classes)
        parts = losses(model.visual, head, pixels, batch, place, (texts, anchors), regime, np.random.default_rng(2))
        parts["text"] = apart
        total = torch.stack(list(parts.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]
    assert ("patch" in parts) == regime.patches


def test_anchors_hold_states_and_classes_apart() -> None:
    anchors = draw_anchors(24, 14, 128, 1)
    assert torch.equal(anchors.states, draw_anchors(24, 14, 128, 1).states)
    assert torch.allclose(anchors.states.norm(dim=-1), torch.ones(24, 2))
    state = anchors.states[:, 1] - anchors.states[:, 0]
    assert (torch.nn.functional.normalize(state, dim=-1) @ torch.nn.functional.normalize(state, dim=-1).T).min() > 0.8
    same, other = anchors.states[0, 0] @ anchors.states[0, 1], anchors.states[0, 0] @ anchors.states[1, 0]
    assert same < 0.3
    assert other < 0.8
    assert torch.equal(anchors.of(torch.tensor([3, 1])).states, anchors.states[[3, 1]])
    of_any_part = anchors.states[-1]
    assert torch.allclose(of_any_part[0], -of_any_part[1])


def test_in_a_pair_only_the_defect_counts() -> None:
    normal, abnormal = torch.eye(4)[:2]
    sides = torch.stack([normal, abnormal]).expand(4, 2, 4)
    bad = torch.tensor([True, False, True, True])  # the second is no pair: both have defects
    aware = torch.stack([abnormal, normal, normal, abnormal])
    blind = torch.stack([abnormal, abnormal, normal, normal])  # a design that looks bad, with its defect and without
    assert pair_loss(aware, sides, bad) < 1e-6
    assert torch.isclose(pair_loss(blind, sides, bad), torch.tensor(2.0).log())
    assert pair_loss(blind, sides, torch.zeros(4, dtype=torch.bool)) == 0.0


def scaled(layer_scale: float | None = 0.3) -> CLIP:
    """The model's shape with LayerScale, whose factors differ."""
    parts = architecture()
    for tower in ("vision_cfg", "text_cfg"):
        parts[tower] = {**parts[tower], "ls_init_value": layer_scale}
    torch.manual_seed(0)
    model = CLIP(**parts).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.data *= torch.rand_like(parameter) + 0.5
    return model


def test_training_embeds_images_and_windows_as_the_pass_that_judges() -> None:
    """Red on the old code, which had a pass of its own that dropped LayerScale."""
    visual = scaled().visual
    windows = [make_windows((15, 15), scale) for scale in (2, 3)]
    pixels = torch.randn(2, 3, 240, 240, generator=torch.Generator().manual_seed(0))
    judged = VisionPass(visual, windows, patches=True)(pixels)
    drawn = [torch.tensor([[5, 60, 100], [0, 7, 9]]), torch.tensor([[3], [11]])]  # windows of each picture
    patches = [tables.index[places] for tables, places in zip(windows, drawn, strict=True)]
    tokens, embedded = embed_windows(visual, pixels, patches)  # with gradients, as training does
    assert tokens.requires_grad
    assert torch.allclose(normalize(tokens[:, 0] @ visual.proj, dim=-1), judged.image, atol=1e-6)
    assert torch.allclose(normalize(tokens[:, 1:], dim=-1), judged.patches, atol=1e-6)
    for found, wanted, places in zip(embedded, judged.windows, drawn, strict=True):
        for picture in range(2):
            assert torch.allclose(found[picture], wanted[picture, places[picture]], atol=1e-6)


def test_every_weight_of_both_towers_learns() -> None:
    """Red on the old code: LayerScale got no gradient."""
    model, captions, draw = scaled(), Captions(), np.random.default_rng(0)
    damage = np.zeros((2, 15, 15), np.int64)
    damage[0, 3, 3] = 60
    batch = Batch(np.zeros((2, 240, 240, 3), np.uint8), damage, np.array([0, 0]), np.array([2, -1]))
    anchors = draw_anchors(1, len(TRAINED_DEFECTS), 128, 0)
    texts, loss = embed_texts(model, captions.states(draw, [0], SENTENCES), captions.defects(draw, 1), anchors)
    pixels = torch.from_numpy(draw.standard_normal((2, 3, 240, 240), dtype=np.float32))
    place = torch.zeros(2, dtype=torch.int64)
    parts = losses(model.visual, DamageHead(256), pixels, batch, place, (texts,), Regime(), draw)
    torch.stack([loss, *parts.values()]).sum().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert idle == ["logit_scale"]  # which the loss's own temperature stands for


def test_cells_are_where_a_pair_differs() -> None:
    images = np.full((4, 240, 240, 3), 100, np.uint8)
    images[2, 16:20, 36:40] = 120  # the first row of cells of patch (1, 2), and its second column
    images[2, 100, 100] = 104  # too faint
    cells = changed_cells(images)
    assert cells.shape == (4, 225, 16)
    assert cells[2, 1 * 15 + 2].reshape(4, 4)[0].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert cells.sum() == 1.0
    head = DamageHead(8)
    assert head.loss(torch.zeros(4, 225, 8), cells).item() > 0
