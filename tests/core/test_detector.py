"""Three lines judge a picture; each step of a vision engineer's first hour does what it says."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import core
from core import Detector, Judgement
from core.alfa import Alfa, Method
from core.backbone import CLIP_MEAN, CLIP_STD, Backbone, wrap_model
from core.bank.tiled_index import TiledIndex, left_out
from core.calibration import calibrate, provisional_threshold
from core.clip import CLIP, open_clip
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.image import Rgb
from core.model_error import NotFiniteError
from core.overlay import Caption, overlay
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack
from core.simline import render
from core.tiles import Tiling


def part(index: int, defects: float = 0.0) -> Rgb:
    return render("bottle", 7, index, defects).image


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A small CLIP with random weights: what is tested here is the same with any model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = CLIP(
            embed_dim=32,
            vision_cfg={"image_size": 80, "layers": 3, "width": 64, "head_width": 16, "patch_size": 16},
            text_cfg={"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        )
    tokenize = open_clip.get_tokenizer("ViT-B-16")
    return wrap_model("untrained", model, tokenize, torch.device("cpu"), "fp32", CLIP_MEAN, CLIP_STD)


@pytest.fixture(scope="module")
def detector(backbone: Backbone) -> Detector:
    return Detector("bottle", model=backbone)


@pytest.fixture(scope="module")
def taught(backbone: Backbone) -> Detector:
    """With three normal pictures, compared by the model's own blocks alone."""
    return Detector("bottle", model=backbone, tower=None, normal=map(part, range(3)))


def test_import_of_core_does_not_wait_for_torch() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import core, sys; print('torch' in sys.modules, 'Detector' in dir(core))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["False", "True"]


def test_core_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match=r"module 'core' has no attribute 'Detektor'"):
        core.Detektor  # noqa: B018


def test_a_judgement_is_what_the_method_says(detector: Detector, backbone: Backbone) -> None:
    picture = part(3, 1.0)
    alfa = Alfa(backbone, patches=True)
    text = alfa.text(compile_pack(backbone, load_pack("bottle")))
    expected = alfa.inspect([picture], [text])[0]
    judgement = detector.judge(picture)
    assert judgement.score == expected.score
    assert np.array_equal(judgement.heatmap, expected.heatmap)
    assert judgement.heatmap.shape == picture.shape[:2]
    assert judgement.verdict == ("anomaly" if expected.score >= 0.5 else "normal")
    assert (judgement.threshold, judgement.provisional) == (0.5, True)
    drawn = judgement.overlay(caption=False)
    assert np.array_equal(drawn, overlay(picture, expected.heatmap, 0.5))
    captioned = judgement.overlay()
    said = Caption(judgement.verdict, expected.score, 0.5, provisional=True)
    assert np.array_equal(captioned, overlay(picture, expected.heatmap, 0.5, said))
    assert np.array_equal(captioned[: picture.shape[0], : picture.shape[1]], drawn)


def test_a_head_has_filo_judge(backbone: Backbone) -> None:
    head = FiloHead(record_for(backbone))
    named = Detector("bottle", model=backbone, method=head, tower=None, threshold=0.0)
    judgement = named.judge(part(1))
    filo = Filo(backbone, head)
    assert judgement.score == pytest.approx(filo.inspect([part(1)], [filo.texts(named.pack)])[0].score, abs=1e-5)
    assert {reason.text for reason in judgement.reasons} <= set(named.pack.kinds)
    assert named.enrol([part(2), part(3)]).judge(part(4)).inspection.memory_score is not None
    with pytest.raises(ValueError, match=r"give a core\.method\.Method, or a head of FiLo"):
        Detector("bottle", model=backbone, method="filo")  # type: ignore[arg-type]


def test_all_ways_to_hand_a_picture_in_give_one_answer(detector: Detector, tmp_path: Path) -> None:
    picture = part(3, 1.0)
    Image.fromarray(picture).save(tmp_path / "part.png")
    score = detector.judge(picture).score
    for same in (Image.fromarray(picture), tmp_path / "part.png", str(tmp_path / "part.png")):
        assert detector.judge(same).score == score
    assert detector.judge(picture[..., ::-1], colour="bgr").score == score
    assert Detector("bottle", model=detector.backbone, colour="bgr").judge(picture[..., ::-1]).score == score


def test_an_anomaly_says_where_and_why_and_a_normal_part_neither(backbone: Backbone) -> None:
    detector = Detector("bottle", model=backbone, threshold=0.0)
    anomaly = detector.judge(part(3, 1.0))
    assert (anomaly.verdict, anomaly.provisional, detector.threshold_source) == ("anomaly", False, "hand")
    assert anomaly.regions
    assert len(anomaly.reasons) == 5
    assert {reason.text for reason in anomaly.reasons} <= set(load_pack("bottle").descriptors)
    detector.threshold = 1.0
    normal = detector.judge(part(3, 1.0))
    assert (normal.verdict, normal.regions, normal.reasons) == ("normal", (), ())


def test_a_judgement_is_frozen(detector: Detector) -> None:
    judgement = detector.judge(part(0))
    for field in fields(Judgement):
        with pytest.raises(FrozenInstanceError):
            setattr(judgement, field.name, 0)
    for array in (judgement.picture, judgement.heatmap):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    judgement.overlay()[:] = 0  # is for drawing on


def test_it_shows_itself_in_words_and_in_a_notebook(detector: Detector) -> None:
    judgement = detector.judge(np.repeat(part(3, 1.0), 3, axis=0))
    words = f"score {judgement.score:.3f} (threshold 0.500, provisional)"
    assert words in repr(judgement)
    assert "240 x 720 pixels" in repr(judgement)
    shown = judgement._repr_html_()
    assert words in shown
    assert '<img src="data:image/jpeg;base64,' in shown
    assert repr(detector).startswith("<Detector of bottle: untrained on cpu in fp32; 0 normal")


def test_many_pictures_are_those_one_by_one_in_their_order(taught: Detector) -> None:
    pictures = [part(index, 1.0)[: 236 + index] for index in range(5)]
    alone = [taught.judge(picture).score for picture in pictures]
    together = taught.judge_all((picture for picture in pictures), batch=2)
    assert [one.score for one in together] == pytest.approx(alone, abs=1e-5)
    assert [one.heatmap.shape for one in together] == [picture.shape[:2] for picture in pictures]
    stack = np.stack([part(0), part(1)])
    assert [one.score for one in taught.judge_all(stack)] == pytest.approx(
        [taught.judge(picture).score for picture in stack], abs=1e-5
    )


def test_normal_pictures_are_the_evidence_of_lines(taught: Detector, backbone: Backbone) -> None:
    alfa = Alfa(backbone, patches=True)
    text = alfa.text(compile_pack(backbone, load_pack("bottle")))
    shots = [part(index) for index in range(3)]
    index = alfa.index([alfa.remember(shot, (240, 240)) for shot in shots], range(3), (240, 240), limit=20_000)
    index = alfa.hear(index, [alfa.text_scores(shot, text) for shot in shots])
    picture = part(5, 1.0)
    assert taught.judge(picture).score == alfa.inspect([picture], [text], [index])[0].score
    assert index.evidence is not None
    assert taught.threshold == provisional_threshold(index.evidence.shots()[0].tolist())
    assert (taught.shots, taught.threshold_source, taught.judge(picture).provisional) == (3, "shots", True)


def test_enrolling_later_is_enrolling_at_once(taught: Detector, backbone: Backbone) -> None:
    detector = Detector("bottle", model=backbone, tower=None)
    assert detector.enrol([part(0)]) is detector
    assert (detector.shots, detector.threshold, detector.threshold_source) == (1, 0.5, "default")
    detector.enrol([part(1), part(2)])
    assert detector.threshold == taught.threshold
    assert detector.judge(part(5, 1.0)).score == taught.judge(part(5, 1.0)).score


def test_of_a_list_with_a_bad_picture_none_is_enrolled(backbone: Backbone) -> None:
    detector = Detector("bottle", model=backbone, tower=None, normal=[part(0)])
    before = detector.judge(part(5)).score
    with pytest.raises(ValueError, match=r"^pictures\[1\] has pixels of type float64"):
        detector.enrol([part(1), part(2) / 255])
    assert (detector.shots, detector.judge(part(5)).score) == (1, before)


def test_a_calibration_is_that_of_good_parts_scores(backbone: Backbone) -> None:
    detector = Detector("bottle", model=backbone)
    good = [part(index) for index in range(10, 15)]
    scores = [detector.judge(picture).score for picture in good]
    calibration = detector.calibrate(good, 0.2)
    assert calibration == detector.calibration
    assert calibration.threshold == pytest.approx(calibrate(scores, 0.2).threshold, abs=1e-5)
    assert (calibration.count, calibration.rate) == (5, 0.2)
    assert detector.threshold == calibration.threshold
    judgement = detector.judge(part(20))
    assert (judgement.threshold, judgement.provisional) == (calibration.threshold, False)
    detector.threshold = 0.4
    assert (detector.calibration, detector.threshold_source) == (None, "hand")


def test_other_normal_pictures_end_a_calibration_but_not_what_was_set_by_hand(backbone: Backbone) -> None:
    detector = Detector("bottle", model=backbone, tower=None, normal=[part(0), part(1)])
    detector.calibrate(map(part, range(10, 14)), 0.2)
    assert detector.threshold_source == "calibrated"
    detector.enrol([part(2)])
    assert (detector.threshold_source, detector.calibration) == ("shots", None)
    detector.threshold = 0.3
    detector.enrol([part(3)])
    assert (detector.threshold, detector.threshold_source) == (0.3, "hand")


@pytest.mark.parametrize(
    ("good", "rate", "message"),
    [
        (range(10, 14), 0.05, r"4 good parts promise .* 20 %, not the 5 % asked for, which takes 19; give more"),
        (range(10, 14), 5, r"rate 5 is no share between 0 and 1; give 0\.05 for 5 %"),
        ((), 0.5, "good holds no picture; give one or more"),
        ((10, 11, 10, 12), 0.2, r"good\[2\] is the same picture as good\[0\]; leave it out"),
        ((10, 1, 11, 12), 0.2, r"good\[1\] is the same picture as a normal picture that is enrolled"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_not_made(taught: Detector, good: Any, rate: float, message: str) -> None:
    before = taught.threshold
    with pytest.raises(ValueError, match=message):
        taught.calibrate(map(part, good), rate)
    assert (taught.threshold, taught.threshold_source) == (before, "shots")


@pytest.mark.parametrize("normal", [[part(0), part(0)], [part(0), Image.fromarray(part(0))]])
def test_the_same_normal_picture_counts_once(backbone: Backbone, normal: Any) -> None:
    with pytest.raises(ValueError, match=r"normal\[1\] is the same picture as normal\[0\]"):
        Detector("bottle", model=backbone, tower=None, normal=normal)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pack": "botle"}, "pack 'botle' is not known; did you mean bottle"),
        ({"pack": 7}, "pack is an int; give the name of one"),
        ({"pack": None}, "pack is None"),
        ({"pack": Path("nowhere")}, "nowhere: No such file"),
        ({"normal": []}, "normal holds no picture; give one or more"),
        ({"normal": iter(())}, "normal holds no picture"),
        ({"normal": part(0)}, r"normal has the shape \[240, 240, 3\], which is one picture"),
        ({"normal": [part(0), None]}, r"normal\[1\] is None"),
        ({"threshold": 50}, "threshold 50 is no number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold nan is no number"),
        ({"threshold": "0.5"}, r"threshold '0\.5' is no number"),
        ({"threshold": True}, "threshold True is no number"),
        ({"colour": "BGR"}, "colour 'BGR' is not known; use 'rgb', or 'bgr'"),
        ({"weights": "laion400m_e32", "device": "cpu"}, "model is loaded already; leave weights, device out"),
        ({"tiles": 2}, r"tiles 2 are no rows and columns; give \(2, 3\), or 'auto'"),
        ({"tiles": (2,)}, r"tiles \(2,\) are no rows and columns"),
        ({"tiles": (2.0, 2)}, "are no rows and columns"),
        ({"tiles": (0, 2)}, "tiles 0 x 2: rows and columns are 1 or more"),
        ({"tiles": (9, 9)}, "tiles 9 x 9: .* 64 in all"),
        ({"tiles": "many"}, "tiles 'many': write rows x columns, as 2x3, or auto"),
        ({"tiles": (2, 2), "overlap": 0.9}, "overlap 0.9 of tiles is not in 0 to 0.5"),
        ({"overlap": "0.2"}, "overlap '0.2' is no number"),
        ({"method": "alfa"}, r"method is a str; give a core\.method\.Method"),
        ({"tower": 7}, "tower is an int; give the name of one"),
        ({"store": 7}, "store is an int; give the path of a folder"),
        ({"tower": "efficientnet", "normal": [part(0)]}, "efficientnet.*or do without a tower, None"),
    ],
)
def test_what_cannot_be_had_is_refused(backbone: Backbone, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector(**({"model": backbone} | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "ViT-B-17", "weights": "openai"}, "did you mean ViT-B-16"),
        ({"model": "ViT-B-16"}, "model 'ViT-B-16' needs weights"),
        ({"model": "bundled", "weights": "openai"}, "model 'bundled' takes no weights; leave them out"),
        ({"model": torch.nn.Linear(1, 1)}, "model is a Linear; give the name of one"),
        ({"weights": "laion400m_e33"}, "ViT-B-16-plus-240.*its tags: laion400m_e31, laion400m_e32"),
        ({"weights": 7}, "weights are an int"),
        ({"device": "gpu"}, "device 'gpu' is no device; use cuda, cuda:0"),
        ({"device": 0}, "device 0 is no device"),
        ({"device": "mps"}, "'mps' is not supported"),
        ({"dtype": "int8"}, "dtype 'int8' is not known"),
        ({"dtype": torch.float16}, "dtype torch.float16 is not known"),
        ({"image_size": 100}, "image size 100 x 100: .* multiples of that, for instance 96 x 96"),
        ({"image_size": "336"}, "image_size '336' is no number of pixels; give 336"),
        ({"image_size": (240,)}, r"image_size \(240,\) is no number of pixels"),
    ],
)
def test_so_is_a_model_that_is_not_here(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detector("bottle", **arguments)


def test_numbers_of_numpy_are_numbers(backbone: Backbone) -> None:
    tiles: Any = (np.int64(1), np.int64(2))
    detector = Detector("bottle", model=backbone, threshold=np.float32(0.25), tiles=tiles, overlap=np.float32(0.25))
    assert (detector.threshold, detector.tiles) == (0.25, (1, 2))
    (judgement,) = detector.judge_all([part(0)], batch=np.int64(2))
    assert detector.calibrate([part(1)], np.float64(0.5)).rate == 0.5
    assert 0 < judgement.score < 1


@pytest.mark.parametrize("batch", [0, -1, 2.0, True, None])
def test_a_batch_is_a_number_of_pictures(detector: Detector, batch: Any) -> None:
    with pytest.raises(ValueError, match="is no number of pictures; give 1 or more"):
        detector.judge_all([part(0)], batch=batch)


def test_windows_of_none_need_normal_pictures(backbone: Backbone) -> None:
    fast = Method(windows="none")
    with pytest.raises(ValueError, match="needs normal shots"):
        Detector("bottle", model=backbone, method=fast).judge(part(0))
    assert 0 < Detector("bottle", model=backbone, method=fast, tower=None, normal=[part(1)]).judge(part(0)).score < 1


@pytest.mark.parametrize("normal", [0, 3])
def test_tiles_are_those_of_the_method(backbone: Backbone, normal: int) -> None:
    shots = [part(index) for index in range(normal)]
    detector = Detector("bottle", model=backbone, tower=None, tiles=(2, 2), normal=shots or None)
    tiling = Tiling(2, 2)
    alfa = Alfa(backbone, patches=True)
    text = alfa.text(compile_pack(backbone, load_pack("bottle")))
    index: Any = None
    if shots:
        index = alfa.index(
            [alfa.remember(shot, (240, 240), tiling) for shot in shots], range(3), (240, 240), tiling=tiling
        )
        heard = [
            alfa.hear(tile, [alfa.text_scores(tiling.cut(shot)[place], text) for shot in shots])
            for place, tile in enumerate(index.tiles)
        ]
        index = TiledIndex(tiling, tuple(heard))
        assert detector.threshold == provisional_threshold([score for score, _ in left_out(index)])
    picture = part(5, 1.0)
    expected = alfa.inspect([picture], [text], [index], [tiling])[0]
    judgement = detector.judge(picture)
    assert judgement.score == expected.score
    assert np.array_equal(judgement.heatmap, expected.heatmap)
    assert judgement.heatmap.shape == (240, 240)
    assert judgement.score != Detector("bottle", model=backbone).judge(picture).score


def test_one_tile_is_none_and_auto_is_by_the_pictures_proportions(backbone: Backbone) -> None:
    wide = part(5, 1.0)[:80]
    whole, one, auto, three = (
        Detector("bottle", model=backbone, tiles=tiles).judge(wide).score for tiles in (None, (1, 1), "auto", (1, 4))
    )
    assert (whole, auto) == (one, three)
    assert whole != auto


def test_the_papers_way_with_normal_pictures_works(backbone: Backbone) -> None:
    paper = Method(few_shot="alfa")
    detector = Detector("bottle", model=backbone, method=paper, normal=[part(0), part(1)])
    assert detector.tower is None
    assert detector.judge(part(0)).inspection.memory_score == pytest.approx(0, abs=1e-5)


def test_scores_that_are_no_numbers_are_no_verdict(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector("bottle", model=backbone)
    monkeypatch.setattr(backbone.pixels, "_shift", backbone.pixels._shift * float("nan"))
    with pytest.raises(NotFiniteError, match="frame 1 of 1: "):
        detector.judge(part(0))


def test_threads_take_turns_and_none_sees_half_of_a_change(backbone: Backbone) -> None:
    detector = Detector("bottle", model=backbone, tower=None, normal=[part(0), part(1)])
    picture = part(5, 1.0)
    first = (detector.judge(picture).score, detector.threshold)
    found: list[tuple[float, float]] = []

    def judge() -> None:
        for _ in range(3):
            judgement = detector.judge(picture)
            found.append((judgement.score, judgement.threshold))

    threads = [threading.Thread(target=judge) for _ in range(3)]
    for thread in threads:
        thread.start()
    detector.enrol([part(2)])
    for thread in threads:
        thread.join()
    last = (detector.judge(picture).score, detector.threshold)
    assert len(found) == 9
    assert set(found) <= {first, last}


def test_a_generator_is_read_as_it_comes(detector: Detector) -> None:
    read: list[int] = []

    def pictures() -> Iterator[Any]:
        for index in range(9):
            read.append(index)
            yield part(index) if index < 3 else None

    with pytest.raises(ValueError, match=r"^pictures\[3\] is None"):
        detector.judge_all(pictures(), batch=2)
    assert read == [0, 1, 2, 3]


def test_a_picture_that_is_too_small_for_its_tiles_is_named(backbone: Backbone) -> None:
    tiled = Detector("bottle", model=backbone, tiles=(2, 2))
    small = part(1)[:20, :24]
    with pytest.raises(ValueError, match=r"^the picture: tiles 2 x 2 of a frame of 24 x 20 .* use fewer tiles"):
        tiled.judge(small)
    for call in (tiled.judge_all, tiled.calibrate):
        with pytest.raises(ValueError, match=r"^(pictures|good)\[1\]: tiles 2 x 2"):
            call([part(1), small])


def test_a_picture_that_shows_nothing_is_refused_wherever_it_is_given(backbone: Backbone) -> None:
    noise = np.random.default_rng(0).normal(128, 2, (240, 240, 3)).astype(np.uint8)
    detector = Detector("bottle", model=backbone, tower=None)
    for ask in (detector.judge, lambda one: detector.enrol([one]), lambda one: detector.calibrate([one], rate=0.5)):
        with pytest.raises(
            ValueError, match=r"(the picture|pictures\[0\]|good\[0\]) shows nothing: it is even but for noise"
        ):
            ask(noise)
    plain = Detector("bottle", model=backbone, tower=None, plain=True)
    assert plain.judge(noise).verdict in ("normal", "anomaly")


def test_a_picture_of_another_region_than_all_normal_ones_is_refused(taught: Detector) -> None:
    assert taught.judge(part(9)[::2, ::2]).verdict in ("normal", "anomaly"), "a scaled one is not"
    with pytest.raises(
        ValueError, match="the picture shows another region: it has 240 x 160 pixels, and all shots have"
    ):
        taught.judge(part(9)[:160])


def test_bits_are_checked_before_a_model_is_loaded() -> None:
    with pytest.raises(ValueError, match="bits 8 is not from 9 to 16"):
        Detector("bottle", bits=8)
