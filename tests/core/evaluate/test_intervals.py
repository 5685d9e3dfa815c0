import numpy as np
import pytest

from core.evaluate.intervals import weighted_metrics, with_intervals
from core.evaluate.metrics import image_metrics
from core.evaluate.result import METRICS, Evaluation, over_classes, over_seeds
from tests.core.evaluate.synthetic import a_class, evaluation


def test_parts_that_count_several_times_are_as_so_many_parts() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3 == 0
    scores = (rng.normal(0.5, 0.1, 30) + 0.1 * labels).round(1)
    counts = rng.integers(0, 4, (5, 30)).astype(float)
    for found, row in zip(weighted_metrics(scores, labels, counts), counts.astype(int), strict=True):
        expected = image_metrics(np.repeat(scores, row), np.repeat(labels, row))
        assert found == pytest.approx(np.array(expected, float))


def test_each_mean_lies_in_its_interval() -> None:
    found = with_intervals(evaluation(a_class("cap"), a_class("nut", masked=False), a_class("rod", good=0)))
    assert found == with_intervals(found)
    for variant, shots in found.settings():
        for metric in METRICS:
            value = over_classes(found, variant, shots, metric)
            assert value is not None
            sure = found.interval(variant, shots, metric)
            if sure is None:
                assert metric not in METRICS[:3]
                assert shots == 0, "pixels have intervals over seeds only"
                continue
            assert 0 <= sure.low <= value.mean <= sure.high <= 1
            of_one = over_seeds(found.classes[0], variant, shots, metric)
            its = found.interval(variant, shots, metric, "cap")
            assert of_one is not None
            assert its is not None
            assert its.low <= of_one.mean <= its.high
            assert found.interval(variant, shots, metric, "rod") is None or metric not in METRICS[:3], "no good parts"


def test_a_file_without_intervals_can_be_read() -> None:
    written = evaluation(a_class("cap")).model_dump(exclude={"intervals", "few_shot", "tower", "augment", "within"})
    assert Evaluation.model_validate(written).interval("alfa", 4, "auroc") is None
