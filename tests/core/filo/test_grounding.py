"""Grounding DINO: `transformers`' own model, small and with random weights, through the whole path."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.filo.filo import Filo
from core.filo.grounding import GENERAL, Box, Grounding, caption_of, gate, keep, load_grounding, names, place
from core.filo.positions import POSITIONS, position_at
from core.filo.prompts import wording_of
from core.model_error import ModelError
from core.packs.pack import PromptPack, load_pack
from tests.core.filo.conftest import frame

WORDS = (*GENERAL, "a", "fine", "line", "through", "the", "glass", "dark", "crater", "chip", "on", "rim", ".", ",")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `save_pretrained` leaves it: a small Swin, a small BERT, two decoder layers, 12 queries."""
    import transformers  # of the test tools: without it, this must not pass

    path = tmp_path_factory.mktemp("grounding")
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    tokenizer = transformers.BertTokenizer(str(path / "vocab.txt"))
    config = transformers.GroundingDinoConfig(
        backbone_config=transformers.SwinConfig(
            image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=transformers.BertConfig(
            vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ),
        d_model=32, encoder_layers=1, decoder_layers=2, num_queries=12, encoder_ffn_dim=16, decoder_ffn_dim=16,
        encoder_attention_heads=2, decoder_attention_heads=2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = transformers.GroundingDinoForObjectDetection(config)
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(path)
    images = transformers.GroundingDinoImageProcessor()
    transformers.GroundingDinoProcessor(images, tokenizer).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def grounding(folder: Path) -> Grounding:
    return load_grounding(folder)


def test_boxes_come_from_a_folder_in_shares_of_a_frame_that_is_not_square(
    grounding: Grounding, pack: PromptPack
) -> None:
    boxes = grounding.boxes(frame(90, 120), wording_of(pack))
    assert boxes
    assert [box.score for box in boxes] == sorted((box.score for box in boxes), reverse=True)
    for box in boxes:
        assert 0 <= box.left <= box.right <= 1
        assert 0 <= box.top <= box.bottom <= 1
        assert names(box.phrase, (*wording_of(pack).phrases, *GENERAL))


def test_the_model_sees_the_frame_at_518_px(
    grounding: Grounding, pack: PromptPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own default, 800, is another size than the release's."""
    shapes: list[tuple[int, ...]] = []
    model = grounding._model

    def seen(**inputs: Any) -> Any:
        shapes.append(tuple(inputs["pixel_values"].shape))
        return model(**inputs)

    monkeypatch.setattr(grounding, "_model", seen)
    grounding.boxes(frame(100, 120), wording_of(pack))
    assert shapes == [(1, 3, 518, 621)]


def test_it_places_prompts_and_gates_the_map(grounding: Grounding, clean: Filo, pack: PromptPack) -> None:
    filo = Filo(clean.backbone, clean.head, grounding=grounding)
    picture, texts = frame(90, 120), clean.texts(pack)
    found = filo.inspect([picture], [texts])[0]
    boxes = grounding.boxes(picture, texts.wording)
    assert found.boxes == boxes
    position = place(boxes)
    assert position is not None
    assert found.position == POSITIONS[position]
    assert np.flatnonzero(found.kept_abnormal).tolist() == list(range(position, 72, 9))
    factor = gate(torch.ones(found.patch_map.shape), boxes).numpy()
    assert 0.7 <= factor.min() <= factor.max() <= 1
    assert (found.patch_map / factor).max() == pytest.approx(found.local_score)  # the score is of before the gate
    assert filo.remark == ""


def test_suspects_only_are_asked_about(grounding: Grounding, clean: Filo, pack: PromptPack) -> None:
    filo = Filo(clean.backbone, clean.head, grounding=grounding, gate="suspects")
    texts = clean.texts(pack)
    plain = clean.inspect([frame()], [texts])[0]
    above, below = filo.inspect([frame()] * 2, [texts] * 2, thresholds=[plain.score + 0.01, plain.score - 0.01])
    assert (above.boxes, above.position) == (None, plain.position)
    np.testing.assert_allclose(above.patch_map, plain.patch_map, atol=1e-5)
    assert below.boxes is not None
    assert (above.looked_again, below.looked_again) == (False, True)
    assert filo.inspect([frame()], [texts])[0].boxes is None, "without a threshold nothing is a suspect"


def test_beside_shots_a_suspect_is_one_by_the_score_with_them(
    grounding: Grounding, clean: Filo, pack: PromptPack
) -> None:
    filo = Filo(clean.backbone, clean.head, grounding=grounding, gate="suspects")
    texts, shape = clean.texts(pack), (150, 210)
    index = clean.index([clean.remember(frame(seed=seed)) for seed in (1, 2, 3)], (1, 2, 3), shape)
    alone = clean.inspect([frame()], [texts])[0].score
    beside = clean.inspect([frame()], [texts], [index])[0].score
    assert beside != pytest.approx(alone, abs=0.01)
    between = (alone + beside) / 2
    found = filo.inspect([frame()], [texts], [index], thresholds=[between])[0]
    assert found.looked_again is (beside > between)


def test_a_threshold_holds_whether_suspects_are_asked_about_or_not(grounding: Grounding, clean: Filo) -> None:
    """Calibrated without the gate, it promises no less with it: what is no suspect is no anomaly."""
    suspects = Filo(clean.backbone, clean.head, grounding=grounding, gate="suspects")
    everything = Filo(clean.backbone, clean.head, grounding=grounding)
    assert suspects.basis == clean.basis != everything.basis
    assert clean.head.fingerprint in clean.basis


def test_without_it_the_maps_peak_is_the_position_and_nothing_is_gated(clean: Filo, pack: PromptPack) -> None:
    assert clean.remark == "without Grounding DINO: positions are those of the map's peak, and no gate"
    found = clean.inspect([frame()], [clean.texts(pack)])[0]
    assert found.boxes is None
    assert found.patch_map.max() == pytest.approx(found.local_score)


def test_a_pack_of_more_words_than_it_reads_is_asked_for_in_parts(grounding: Grounding) -> None:
    phrases = tuple(f"a fine line {'crater ' * number}" for number in range(1, 30))
    pack = load_pack("bottle").model_copy(update={"defects": {"crack": phrases}})
    captions = list(grounding._captions(wording_of(pack)))
    assert len(captions) > 1
    assert all(grounding._length(caption) <= 256 for caption in captions)
    assert all(caption.startswith("anomaly . damage . broken . defect . contamination . ") for caption in captions)
    asked = " . ".join(caption.removesuffix(".") for caption in captions)
    assert all(phrase.strip() in asked for phrase in phrases)


def test_the_question_is_in_the_models_own_form() -> None:
    asked = caption_of(["Uneven rim", "a chip"])
    assert asked == "anomaly . damage . broken . defect . contamination . uneven rim . a chip."


BOXES = torch.tensor([[0.0, 0.0, 0.9, 0.9], [0.1, 0.1, 0.3, 0.2], [0.5, 0.5, 0.6, 0.6]])


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.9, 0.3, 0.26], [1, 2]),  # too large; sure; sure
        ([0.9, 0.25, 0.1], [0]),  # none is left: the best one, however large
        ([0.1, 0.2, 0.05], [1]),
    ],
)
def test_boxes_that_are_sure_and_small_are_kept(scores: list[float], kept: list[int]) -> None:
    assert keep(BOXES, torch.tensor(scores)) == kept


@pytest.mark.parametrize(
    ("phrase", "asked", "clean", "released"),
    [
        ("damage", ["damage"], True, True),
        ("crack damage", ["damage"], True, True),  # an entry and more
        ("radial line", ["a radial line through the ring"], True, False),  # a part of an entry
        ("uneven rim", ["Uneven rim"], True, False),  # a capital in the pack, none in the question
        ("off - centre ring", ["off-centre ring"], True, False),  # as a tokenizer sets it
        ("damages", ["damage"], False, True),  # by letters, not by words
        ("", ["damage"], False, False),
        (".", ["damage"], False, False),
        ("glass", ["damage"], False, False),
    ],
)
def test_a_phrase_counts_where_it_names_what_was_asked(
    phrase: str, asked: list[str], clean: bool, released: bool
) -> None:
    assert names(phrase, asked) is clean
    assert names(phrase, asked, released=True) is released


def box(left: float, top: float, right: float, bottom: float, score: float = 0.5) -> Box:
    return Box(left, top, right, bottom, score, "damage")


def test_the_best_boxs_centre_is_the_position() -> None:
    assert place([box(0, 0, 0.1, 0.1, 0.3), box(0.8, 0.8, 1, 1, 0.9)]) == POSITIONS.index("bottom right")
    assert place([]) == POSITIONS.index("center")


@pytest.mark.parametrize(
    ("pixel", "cell"),
    [(0, 0), (172, 0), (172.5, None), (173, 1), (344, 1), (344.5, None), (345, 2), (517, 2), (517.5, None)],
)
def test_a_centre_on_a_seam_is_in_no_cell_of_the_release(pixel: float, cell: int | None) -> None:
    share = pixel / 518
    assert position_at(share, 0.0, released=True) == cell
    assert position_at(0.0, share, released=True) == (None if cell is None else 3 * cell)
    assert position_at(share, 0.0) == min(int(3 * share), 2)


def test_a_seam_averages_all_nine_in_the_release(
    released: Filo, pack: PromptPack, monkeypatch: pytest.MonkeyPatch, grounding: Grounding
) -> None:
    seam = 172.5 / 518
    boxes = (box(seam - 0.1, 0.1, seam + 0.1, 0.2),)
    monkeypatch.setattr(grounding, "boxes", lambda *_, **__: boxes)
    filo = Filo(released.backbone, released.head, grounding=grounding)
    texts = filo.texts(pack)
    found = filo.inspect([frame()], [texts])[0]
    assert found.position is None
    assert found.kept_abnormal.all()
    monkeypatch.setattr(grounding, "boxes", lambda *_, **__: (box(seam - 0.11, 0.1, seam + 0.09, 0.2),))
    assert filo.inspect([frame()], [texts])[0].position == "top left"


def test_the_gate_lowers_the_map_outside_all_boxes_only() -> None:
    s_map = torch.full((10, 20), 0.5)
    gated = gate(s_map, [box(0.5, 0.2, 0.6, 0.5), box(0.0, 0.9, 0.1, 1.0)])
    inside = torch.zeros(10, 20, dtype=torch.bool)
    inside[2:5, 10:12] = inside[9:10, 0:2] = True
    torch.testing.assert_close(gated, torch.where(inside, 0.5, 0.35))
    torch.testing.assert_close(gate(s_map, []), s_map * 0.7)


def test_classes_of_one_noun_share_the_last_ones_prompts_in_the_release(released: Filo, clean: Filo) -> None:
    first, last = (load_pack(name).model_copy(update={"class_name": "macaroni"}) for name in ("macaroni1", "macaroni2"))
    packs = [first, load_pack("bottle"), last]
    assert wording_of(first) != wording_of(last)
    assert [texts.wording for texts in clean.texts_of(packs)] == list(map(wording_of, packs))
    wanted = [wording_of(last), wording_of(packs[1]), wording_of(last)]
    assert [texts.wording for texts in released.texts_of(packs)] == wanted


def test_what_is_not_there_is_not_fetched(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it used a network"))
    with pytest.raises(ModelError, match=r"Grounding DINO .*grounding-dino-tiny cannot be loaded: .*; name a folder"):
        load_grounding(cache_that_is_empty(tmp_path, monkeypatch))
    with pytest.raises(ModelError, match=r"cannot be loaded: .*; name a folder that holds it"):
        load_grounding(tmp_path)


def cache_that_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return "IDEA-Research/grounding-dino-tiny"


def test_weights_that_are_not_whole_are_refused(tmp_path: Path, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "bbox_embed" in name)
    save_file({key: value for key, value in weights.items() if key != name}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"lacks .* of its weights"):
        load_grounding(tmp_path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "bbox_embed" in name)
    broken = weights | {name: torch.full_like(weights[name], torch.nan)}
    save_file(broken, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"Grounding DINO .* holds values that are not finite numbers; fetch them again"
    ):
        load_grounding(tmp_path)


def test_boxes_that_are_no_numbers_are_refused_in_words(folder: Path, pack: PromptPack) -> None:
    """As a device that fails leaves them: it is neither a box nor none."""
    failing = load_grounding(folder)
    for parameter in failing._model.parameters():
        parameter.data.fill_(torch.nan)
    with pytest.raises(ModelError, match="boxes are no finite numbers; check the device, and fetch it again"):
        failing.boxes(frame(90, 120), wording_of(pack))


def test_without_the_extra_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "transformers":
            raise ModuleNotFoundError("No module named 'transformers'")
        return real(name, *rest)

    for name in [name for name in sys.modules if name.split(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ModelError, match=r"needs transformers \(No module .*: install the extra grounding with "):
        load_grounding(tmp_path)
