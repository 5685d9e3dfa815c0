from pathlib import Path

import numpy as np
import pytest
import torch

from core.alfa import ALFA, WINCLIP, Alfa, Method
from core.backbone import Backbone, load_backbone
from core.evaluate.cache import FeatureCache
from core.evaluate.datasets import find_classes
from core.evaluate.evaluator import ClassEvaluator
from core.evaluate.plan import Plan, Variant
from core.evaluate.result import ClassResult
from core.image import read
from core.packs.pack import load_pack
from tests.support.parts import write_dataset

VARIANTS = (
    Variant("alfa", ALFA),
    Variant("no aligner", Method(aligner="identity")),
    Variant("global score only", ALFA, parts="global"),
    Variant("winclip", WINCLIP, winclip_prompts=True),
)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained", None, "cpu", "fp32")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features that are encoded once, for tests whose subject is not the cache."""
    return tmp_path_factory.mktemp("cache")


def evaluate(backbone: Backbone, dataset: Path, cache: Path, shots: tuple[int, ...] = (0, 1, 2)) -> ClassResult:
    alfa = Alfa(backbone, ALFA, patches=True)
    features = FeatureCache(cache, alfa, ["minimal", "identity"], 4, lambda *_: None)
    evaluator = ClassEvaluator(alfa, features, Plan(VARIANTS, shots, 3, (240, 240)), lambda: None)
    (data,) = find_classes(dataset)
    return evaluator.evaluate(data, load_pack("magnetic_tile"), dataset)


def test_every_setting_is_run_on_every_picture(backbone: Backbone, dataset: Path, folder: Path) -> None:
    result = evaluate(backbone, dataset, folder)
    assert [(run.variant, run.shots, run.seed) for run in result.runs] == [
        *((variant.name, 0, 0) for variant in VARIANTS),
        *(("alfa", count, seed) for count in (1, 2) for seed in range(3)),
    ]
    assert len(result.pictures) == 9
    for run in result.runs:
        assert len(run.scores) == len(run.hits) == 9
        assert all(0 <= score <= 1 for score in run.scores)
        assert run.operation is not None
        assert run.metrics.pro is not None
        assert len(run.shot_paths) == run.shots
    by_seed = {(run.shots, run.seed): run.shot_paths for run in result.runs if run.shots}
    assert all(set(by_seed[1, seed]) < set(by_seed[2, seed]) for seed in range(3))
    assert result.runs[0].operation is not None
    shots = {path for run in result.runs for path in run.shot_paths}
    assert result.runs[0].operation.normals == result.train - len(shots), "no shot is calibrated from"


def test_zero_shot_scores_are_those_of_an_inspection(backbone: Backbone, dataset: Path, folder: Path) -> None:
    result = evaluate(backbone, dataset, folder, (0,))
    alfa = Alfa(backbone)
    text = alfa.embed(load_pack("magnetic_tile").prompts())
    for picture, score in zip(result.pictures, result.runs[0].scores, strict=True):
        assert alfa.inspect([read(dataset / picture.path)], [text])[0].score == pytest.approx(score, abs=1e-3)


def test_a_second_run_reads_the_cache_and_finds_the_same(
    backbone: Backbone, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(backbone, dataset, tmp_path)
    held = sorted(tmp_path.rglob("*.safetensors"))
    held[0].unlink()  # as if a run had been killed before it
    half = evaluate(backbone, dataset, tmp_path)
    assert half == first
    monkeypatch.setattr("core.vision.VisionPass.forward", lambda *_: pytest.fail("encoded again"))
    assert evaluate(backbone, dataset, tmp_path) == first


def test_damaged_features_are_named(backbone: Backbone, dataset: Path, tmp_path: Path) -> None:
    evaluate(backbone, dataset, tmp_path, (0,))
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"safetensors: the cached features are damaged .* delete the file"):
        evaluate(backbone, dataset, tmp_path, (0,))


def test_broken_pictures_and_masks_are_named_and_left_out(backbone: Backbone, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", train=3, good=3, bad=3)
    (root / "tile/test/good/000.png").write_bytes(b"no picture")
    (root / "tile/ground_truth/defect/001_mask.png").write_bytes(b"no mask")
    (root / "tile/train/good/002.png").write_bytes(b"no picture")
    result = evaluate(backbone, root, tmp_path / "cache", (0, 1))
    assert len(result.pictures) == 4
    assert result.train == 2
    for name in ("test/good/000.png", "001_mask.png", "train/good/002.png"):
        assert any(name in text for text in result.broken)


def test_without_training_pictures_shots_are_held_out_of_the_test(backbone: Backbone, tmp_path: Path) -> None:
    """One set for all seeds and shots, so that all are tested on the same; without shots all are."""
    root = write_dataset(tmp_path / "data", train=0, good=6, bad=2)
    result = evaluate(backbone, root, tmp_path / "cache", (0, 1, 4, 9))
    assert {run.shots for run in result.runs} == {0, 1, 4}
    shots = {path for run in result.runs for path in run.shot_paths}
    assert shots
    assert not shots & {picture.path for picture in result.pictures}
    assert sum(not picture.anomalous for picture in result.pictures) == 2
    assert result.train == 4
    assert "Held out of the test, for shots and the threshold: 4 of 6 good pictures." in result.notes
    assert "Not run with 9 shots: the good pictures for them are only 4." in result.notes
    without = evaluate(backbone, root, tmp_path / "cache", (0,))
    assert len(without.pictures) == 8
    assert all(run.operation is None for run in without.runs)


def test_a_picture_that_is_its_own_shot_is_near_nothing_anomalous(backbone: Backbone, tmp_path: Path) -> None:
    alfa = Alfa(backbone, ALFA, patches=True)
    with torch.inference_mode():
        from core.bank.memory import distances, reference_map, remember

        frames = [np.random.default_rng(seed).integers(0, 256, (240, 240, 3), dtype=np.uint8) for seed in range(2)]
        features = alfa.vision(alfa.backbone.pixels(frames))
        found = distances(features, remember(features))
        own = reference_map(found.nearest([[0]]), alfa.windows)[:, 0]
        both = reference_map(found.nearest([[0, 1]]), alfa.windows)[:, 0]
    assert own[0].max() < 1e-5
    assert own[1].max() > 1e-3
    assert both.max() < 1e-5
