from dataclasses import replace
from pathlib import Path

import pytest

from core.alfa import ALFA, Alfa
from core.backbone import Backbone, load_backbone
from core.evaluate.cache import FeatureCache
from core.evaluate.datasets import find_classes
from core.evaluate.evaluator import ClassEvaluator
from core.evaluate.few_shot import FewShot, MapStore, median_shape
from core.evaluate.plan import Plan, Variant
from core.evaluate.result import ClassResult
from core.packs.pack import load_pack
from core.towers import LITE0, Tower, load_tower
from tests.support.parts import write_dataset

FEW = Variant("alfa", ALFA, few=FewShot())


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained", None, "cpu", "fp32")


@pytest.fixture(scope="module")
def tower() -> Tower:
    return load_tower(LITE0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def evaluate(
    backbone: Backbone,
    dataset: Path,
    cache: Path,
    variants: tuple[Variant, ...],
    shots: tuple[int, ...] = (0, 2),
    tower: Tower | None = None,
) -> ClassResult:
    alfa = Alfa(backbone, ALFA, patches=True)
    features = FeatureCache(cache, alfa, ["minimal", "identity"], 4, lambda *_: None)
    store = MapStore(backbone, tower, cache, 4, lambda *_: None)
    evaluator = ClassEvaluator(alfa, features, Plan(variants, shots, 1, (240, 240)), lambda: None, store)
    (data,) = find_classes(dataset)
    result = evaluator.evaluate(data, load_pack("magnetic_tile"), dataset)
    run = result.runs[-1]
    shot_paths = [dataset / path for path in run.shot_paths]
    maps = evaluator.heatmap([dataset / result.pictures[0].path], load_pack("magnetic_tile"), run.variant, shot_paths)
    assert 0 <= maps[0].min() <= maps[0].max() <= 1
    return result


def test_evidence_scores_with_shots_and_leaves_zero_shot_alone(backbone: Backbone, dataset: Path, folder: Path) -> None:
    found = evaluate(backbone, dataset, folder, (FEW,))
    plain = evaluate(backbone, dataset, folder, (replace(FEW, few=None),))
    assert [(run.variant, run.shots) for run in found.runs] == [("alfa", 0), ("alfa", 2)]
    assert found.runs[0] == plain.runs[0]
    assert found.runs[1].scores != plain.runs[1].scores
    assert all(0 < score < 1 for score in found.runs[1].scores)
    assert found.runs[1].operation is not None


def test_evidence_is_the_same_from_the_cache(backbone: Backbone, dataset: Path, folder: Path, tmp_path: Path) -> None:
    assert evaluate(backbone, dataset, folder, (FEW,)) == evaluate(backbone, dataset, tmp_path, (FEW,))


@pytest.mark.parametrize("augment", ["flips", "all"])
def test_views_of_shots_change_scores(
    backbone: Backbone, dataset: Path, folder: Path, tower: Tower, augment: str
) -> None:
    plain, more = (
        evaluate(backbone, dataset, folder, (replace(FEW, few=FewShot(augment=kinds)),), (2,), tower)
        for kinds in ("none", augment)
    )
    assert plain.runs[0].scores != more.runs[0].scores


def test_sources_alone_are_rows_of_their_own(backbone: Backbone, dataset: Path, folder: Path, tower: Tower) -> None:
    only = tuple(Variant(f"{one} only", ALFA, few=FewShot(sources=one), at="few") for one in ("clip", "tower"))
    result = evaluate(backbone, dataset, folder, (FEW, *only), tower=tower)
    assert [run.variant for run in result.runs] == ["alfa", "alfa", "clip only", "tower only"]
    assert len({run.scores for run in result.runs}) == 4


@pytest.mark.parametrize("scorer", ["nearest", "subspace"])
@pytest.mark.parametrize("within", [None, 1])
def test_scorers_of_one_map(
    backbone: Backbone, dataset: Path, folder: Path, tower: Tower, scorer: str, within: int | None
) -> None:
    one = Variant(scorer, ALFA, few=FewShot(scorer, within=within), at="few")
    result = evaluate(backbone, dataset, folder, (Variant("alfa", ALFA, at="zero"), one), tower=tower)
    assert [(run.variant, run.shots) for run in result.runs] == [("alfa", 0), (scorer, 2)]
    assert all(0 <= score < 1 for score in result.runs[1].scores)


def test_pictures_score_each_other(backbone: Backbone, dataset: Path, folder: Path, tower: Tower) -> None:
    result = evaluate(backbone, dataset, folder, (Variant("mutual", ALFA, few=FewShot("mutual")),), (0,), tower)
    (run,) = result.runs
    assert (run.variant, run.shots) == ("mutual", 0)
    assert all(0 < score < 1 for score in run.scores)
    assert run.operation is not None
    assert run.operation.normals == result.train


def test_one_map_needs_a_tower(backbone: Backbone, dataset: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match="needs a tower"):
        evaluate(backbone, dataset, folder, (Variant("nearest", ALFA, few=FewShot("nearest")),))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scorer": "magic"}, "evidence, nearest"),
        ({"sources": "ear"}, "both, clip"),
        ({"scorer": "nearest", "within": -1}, "within -1"),
        ({"within": 1}, "not for evidence"),
        ({"augment": "zoom"}, "zoom"),
    ],
)
def test_bad_choices_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShot(**options)  # type: ignore[arg-type]


def test_the_shape_is_that_of_the_middle_picture() -> None:
    assert median_shape([(10, 40), (30, 30), (20, 30)]) == (20, 30)
    assert median_shape([(40, 10), (10, 40)]) == (10, 40)
