"""FiLo from frames to inspections: batches, names, normal shots, what can be trained, and what does not fit."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.alfa import Alfa
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.filo.naming import name_regions
from core.filo.positions import POSITIONS
from core.filo.prompts import wording_of
from core.identity import OtherIdentityError
from core.image import Rgb
from core.inspection import Inspection
from core.method import WINCLIP
from core.model_error import ModelError
from core.packs.pack import PromptPack, load_pack
from core.tiles import Tiling
from core.vision import UnsupportedModelError
from tests.core.filo.conftest import LAYERS, filo_on, frame, random_clip, wrapped


def test_an_inspection_is_what_alfas_are(clean: Filo, pack: PromptPack) -> None:
    picture, texts = frame(60, 90), clean.texts(pack)
    found = clean.inspect([picture], [texts])[0]
    assert isinstance(found, Inspection)
    assert 0 <= found.score <= 1
    assert found.patch_map.dtype == np.float32
    assert found.patch_map.shape == clean.backbone.pixels.size
    assert found.heatmap.shape == (60, 90)
    assert found.peak.value == pytest.approx(found.heatmap.max(), abs=1e-5)
    assert found.kept_normal.shape == (7,)
    assert found.kept_abnormal.sum() == 8  # three phrases and five generic states, at one position
    assert found.likeness is not None
    assert found.likeness.image.shape == (3,)
    assert found.likeness.patch.shape == clean.backbone.grid


def test_a_batch_is_as_one_by_one(clean: Filo, pack: PromptPack) -> None:
    other = clean.texts(load_pack("gear").model_copy(update={"defects": {"crack": ("a broken tooth",)}}))
    frames, texts = [frame(), frame(80, 50, seed=4)], [clean.texts(pack), other]
    together = clean.inspect(frames, texts)
    for found, picture, text in zip(together, frames, texts, strict=True):
        alone = clean.inspect([picture], [text])[0]
        assert found.score == pytest.approx(alone.score, abs=1e-5)
        assert found.position == alone.position
        np.testing.assert_allclose(found.patch_map, alone.patch_map, atol=1e-5)


def test_regions_have_the_packs_own_words(clean: Filo, pack: PromptPack) -> None:
    texts = clean.texts(pack)
    found = clean.inspect([frame()], [texts])[0]
    regions = name_regions(found, texts, found.peak.value)
    assert regions
    kinds = {phrase: kind for kind, phrases in pack.defects.items() for phrase in phrases}
    for region in regions:
        assert region.defect == kinds[region.description]  # a generic state names nothing
        assert region.region.score >= found.peak.value


def test_the_name_is_the_description_that_is_nearest(clean: Filo, pack: PromptPack) -> None:
    """By hand, at each patch, from the decoded tokens and the prompts of the position."""
    texts = clean.texts(pack)
    found = clean.inspect([frame()], [texts])[0]
    with torch.inference_mode():
        streams = clean.vision(clean.backbone.pixels([frame()]))
        shift = clean.shifting(streams.image, clean.adapted(streams.image))
        prompts = clean.prompts(shift, texts).abnormal[0, :, POSITIONS.index(found.position or "")]
        tokens = sum(clean.decode(streams))[0]  # type: ignore[index]
    assert found.likeness is not None
    wanted = [int((prompts[:3] @ token).argmax()) for token in tokens]
    assert found.likeness.patch.flatten().tolist() == wanted


def test_a_pack_without_phrases_is_judged_and_names_nothing(clean: Filo, pack: PromptPack) -> None:
    texts = clean.texts(pack.model_copy(update={"defects": {"crack": ()}}))
    found = clean.inspect([frame()], [texts])[0]
    assert found.likeness is None
    assert {region.description for region in name_regions(found, texts, 0.0)} == {""}


def test_all_of_the_head_learns_and_nothing_else(clean: Filo, pack: PromptPack) -> None:
    """As training uses it: the pass once without gradients, then prompts, maps and the image's score with them."""
    filo = filo_on(clean.backbone)
    texts = filo.texts(pack)
    with torch.no_grad():
        streams = filo.vision(filo.backbone.pixels([frame(), frame(seed=2)]))
    adapted = filo.adapted(streams.image)
    prompts = filo.prompts(filo.shifting(streams.image, adapted), texts)
    maps = filo.layer_maps(filo.decode(streams), prompts.labels)
    assert [tuple(one.shape) for one in maps] == [(2, 2, 98, 98)] * 7
    similarity = torch.einsum("bd,btd->bt", adapted, prompts.labels)
    (sum(one[:, 1].mean() for one in maps) + similarity.sum()).backward()  # type: ignore[union-attr]
    assert [name for name, one in filo.head.named_parameters() if one.grad is None or not one.grad.any()] == []
    assert all(one.grad is None for one in filo.backbone.visual.parameters())
    assert all(one.grad is None for one in filo.encoder.parameters())


def test_it_judges_beside_normal_shots(clean: Filo, pack: PromptPack) -> None:
    texts, shape = clean.texts(pack), (98, 98)
    shots = [frame(98, 98, seed) for seed in range(4)]
    memories = [clean.remember(shot, shape) for shot in shots]
    index = clean.index(memories, range(4), shape)
    index = clean.hear(index, [clean.text_scores(shot, texts) for shot in shots])
    alone, beside = (clean.inspect([shots[0]], [texts], [one])[0] for one in (None, index))
    assert alone.memory_score is None
    assert beside.memory_score is not None
    assert 0 < beside.score < 1
    assert beside.patch_map.shape == alone.patch_map.shape
    assert not np.array_equal(beside.patch_map, alone.patch_map)
    assert beside.position == alone.position
    strange: Rgb = np.zeros((98, 98, 3), np.uint8)
    assert clean.inspect([strange], [texts], [index])[0].score > beside.score


SHARED = ("inspect", "warm_up", "feature_maps", "remember", "index", "index_in_steps", "hear", "text_scores")


@pytest.mark.parametrize("name", SHARED)
def test_what_asks_alfa_can_ask_filo(name: str) -> None:
    """A line, an evaluation or a detector takes either: by position FiLo takes what ALFA takes."""
    alfas, filos = (list(inspect.signature(getattr(method, name)).parameters.values()) for method in (Alfa, Filo))
    assert len(filos) >= len(alfas)
    for ours, theirs in zip(filos, alfas, strict=False):
        assert ours.kind is theirs.kind
        assert ours.default == theirs.default
    assert all(extra.default is not extra.empty for extra in filos[len(alfas) :])


def test_as_many_texts_as_frames(clean: Filo, pack: PromptPack) -> None:
    texts = clean.texts(pack)
    with pytest.raises(ValueError, match="2 frames and 1 texts; give as many, one for each frame"):
        clean.inspect([frame()] * 2, [texts])
    with pytest.raises(ValueError, match="1 frames and 2 indexes"):
        clean.inspect([frame()], [texts], [None, None])
    with pytest.raises(ValueError, match="1 frames and 0 thresholds"):
        clean.inspect([frame()], [texts], thresholds=[])
    with pytest.raises(ValueError, match="there is no frame; give one or more"):
        clean.inspect([], [])
    with pytest.raises(ValueError, match=r"texts\[0\] is .*; give FiloTexts"):
        clean.inspect([frame()], [pack])  # type: ignore[list-item]


def test_texts_of_another_model_are_refused(clean: Filo, pack: PromptPack) -> None:
    texts = replace(clean.texts(pack), fingerprint="0" * 64)
    with pytest.raises(OtherIdentityError, match=r"texts cannot be compared with the frames: model 000000000000, not"):
        clean.inspect([frame()], [texts])


def test_a_frame_in_tiles_has_the_place_of_its_most_anomalous_tile(clean: Filo, pack: PromptPack) -> None:
    texts, tiling = clean.texts(pack), Tiling(1, 2, overlap=0.0)
    picture = frame(100, 200)
    whole = clean.inspect([picture], [texts], None, [tiling])[0]
    halves = clean.inspect([picture[:, :100], picture[:, 100:]], [texts] * 2)
    top = max(halves, key=lambda half: half.score)
    assert whole.size == (100, 200)
    assert whole.score == pytest.approx(top.score, abs=1e-5)
    assert whole.position == top.position
    assert whole.heatmap.shape == (100, 200)


def test_shots_of_the_papers_own_kind_are_refused(clean: Filo) -> None:
    with pytest.raises(ValueError, match="few_shot 'alfa' averages windows, which FiLo has not; use evidence"):
        Filo(clean.backbone, clean.head, method=WINCLIP)


def test_a_head_of_another_model_is_refused(clean: Filo) -> None:
    small = clean.head.record
    for changes, message in (
        ({"depth": 12}, "for 12 blocks, small has 5; name the model"),
        ({"width": 48}, "for 48 dimensions a token, small has 32"),
        ({"joint": 64}, "for 64 joint dimensions, small has 48"),
        ({"text_width": 24}, "for 24 dimensions a text token, small has 20"),
        ({"image_size": (112, 98)}, "for pictures of 112 x 98, small takes 98 x 98: load it for 112 x 98"),
        ({"fingerprint": "0" * 64}, r"trained on other weights of it \(000000000000, not .*train a head on these"),
    ):
        with pytest.raises(ModelError, match=message):
            Filo(clean.backbone, FiloHead(small.model_copy(update=changes)))


def test_quickgelu_is_refused_where_the_head_was_trained_with_gelu(clean: Filo) -> None:
    """A head of the release is for GELU, although OpenAI's weights, which it is for, are loaded with QuickGELU."""
    quick = wrapped(random_clip(98, quick_gelu=True))
    head = FiloHead(clean.head.record.model_copy(update={"fingerprint": None, "released": True}))
    with pytest.raises(ModelError, match=r"trained with gelu, small computes with quick_gelu: load the same weights"):
        Filo(quick, head)
    assert record_for(quick, layers=LAYERS).activation == "quick_gelu"


def test_the_activation_changes_the_map(pack: PromptPack) -> None:
    """Why that is refused: the same weights with the other activation give another map."""
    maps = []
    for quick in (False, True):
        filo = filo_on(wrapped(random_clip(98, quick_gelu=quick)), released=True)
        maps.append(filo.inspect([frame()], [filo.texts(pack)])[0].patch_map)
    assert np.abs(maps[0] - maps[1]).max() > 1e-3


def test_a_text_half_that_is_no_causal_transformer_is_refused(clean: Filo) -> None:
    backbone = wrapped(random_clip(98))
    backbone.text.load().text_pool_type = "first"
    with pytest.raises(UnsupportedModelError, match="causal text transformer that is read at its end token"):
        Filo(backbone, FiloHead(record_for(backbone, layers=LAYERS)))


def test_long_phrases_are_cut_where_the_encoder_ends(clean: Filo, pack: PromptPack) -> None:
    texts = clean.texts(pack.model_copy(update={"defects": {"crack": ("long " * 23 + "line",)}}))
    assert int(texts.abnormal.ends.max()) <= 77 - 1 - 12 - 1
    assert 0 <= clean.inspect([frame()], [texts])[0].score <= 1


def test_prompts_are_states_at_positions_position_fastest(pack: PromptPack) -> None:
    wording = wording_of(pack)
    assert wording.normal == (
        "bottle.",
        "flawless bottle.",
        "perfect bottle.",
        "unblemished bottle.",
        "bottle without flaw.",
        "bottle without defect.",
        "bottle without damage.",
    )
    assert len(wording.abnormal) == 8 * 9
    assert wording.abnormal[:2] == (
        "abnormal bottle with a fine line through the glass at top left.",
        "abnormal bottle with a fine line through the glass at top.",
    )
    assert wording.abnormal[-1] == "bottle with damage at bottom right."
    assert wording.phrases == ("a fine line through the glass", "a dark crater", "a chip on the rim")
    assert wording.defects[:4] == ("crack", "pit", "pit", "")
