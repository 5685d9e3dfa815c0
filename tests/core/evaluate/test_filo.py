"""FiLo in an evaluation: its own scores and maps, beside others, and as the text side of normal shots."""

from pathlib import Path

import pytest

from core.alfa import ALFA, Alfa
from core.backbone import Backbone, load_backbone
from core.evaluate.cache import FeatureCache
from core.evaluate.datasets import find_classes
from core.evaluate.evaluator import ClassEvaluator
from core.evaluate.few_shot import FewShot, MapStore
from core.evaluate.filo_scores import FiloScores
from core.evaluate.plan import Plan, Variant
from core.evaluate.result import ClassResult
from core.filo.filo import Filo
from core.filo.head import FiloHead, record_for
from core.heatmap import to_frame
from core.image import read
from core.packs.pack import PromptPack, load_pack
from core.vision import VisionPass
from tests.support.parts import write_dataset

FILO = Variant("filo", ALFA, filo=True)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained", None, "cpu", "fp32")


@pytest.fixture(scope="module")
def filo(backbone: Backbone) -> Filo:
    return Filo(backbone, FiloHead(record_for(backbone)).eval())


@pytest.fixture(scope="module")
def pack() -> PromptPack:
    """Of few words, so that prompts take no time."""
    return load_pack("tile").model_copy(update={"defects": {"crack": ("a thin line",)}})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), train=3, good=1, bad=1)


def evaluate(
    filo: Filo, pack: PromptPack, dataset: Path, cache: Path, *variants: Variant, shots: tuple[int, ...] = (0,)
) -> ClassResult:
    alfa = Alfa(filo.backbone, ALFA, patches=True)
    features = FeatureCache(cache, alfa, ["minimal"], 4, lambda *_: None)
    store = MapStore(filo.backbone, None, cache, 4, lambda *_: None)
    plan, scores = Plan(variants, shots, 1, (240, 240)), FiloScores(filo, 2, lambda *_: None)
    evaluator = ClassEvaluator(alfa, features, plan, lambda: None, store, scores)
    (data,) = find_classes(dataset)
    result = evaluator.evaluate(data, pack, dataset)
    maps = evaluator.heatmap([dataset / result.pictures[0].path], pack, variants[0].name)
    assert maps[0].shape == (240, 240) if variants[0].filo else (15, 15)
    return result


def test_scores_and_metrics_are_those_of_an_inspection(
    filo: Filo, pack: PromptPack, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VisionPass, "forward", lambda *_: pytest.fail("ALFA has nothing to do here"))
    result = evaluate(filo, pack, dataset, tmp_path, FILO)
    (run,) = result.runs
    texts = filo.texts(pack)
    for picture, score, hit in zip(result.pictures, run.scores, run.hits, strict=True):
        (found,) = filo.inspect([read(dataset / picture.path)], [texts])
        assert found.score == pytest.approx(score, abs=1e-5)
        assert to_frame(found.patch_map, (240, 240)).shape == (240, 240)
        assert (hit is None) == (not picture.anomalous)
    assert run.metrics.pro is not None
    assert run.operation is not None


def test_beside_alfa_both_have_their_own_scores(filo: Filo, pack: PromptPack, dataset: Path, tmp_path: Path) -> None:
    alone = evaluate(filo, pack, dataset, tmp_path, FILO).runs[0]
    alfa = evaluate(filo, pack, dataset, tmp_path, Variant("alfa", ALFA)).runs[0]
    beside = evaluate(filo, pack, dataset, tmp_path, Variant("alfa", ALFA), FILO).runs
    assert beside == (alfa, alone)


def test_normal_shots_are_compared_beside_it(filo: Filo, pack: PromptPack, dataset: Path, tmp_path: Path) -> None:
    few = Variant("filo", ALFA, filo=True, few=FewShot())
    result = evaluate(filo, pack, dataset, tmp_path, few, shots=(0, 2))
    zero, two = result.runs
    assert (zero.shots, two.shots) == (0, 2)
    assert zero.scores != two.scores
    assert all(0 <= score <= 1 for score in two.scores)
