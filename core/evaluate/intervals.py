"""95 % confidence intervals of an evaluation's means: how far they would move with other parts and other shots.

They are of these classes; of others they say nothing. For pictures (AUROC, AUPR, F1-max) they are of a bootstrap: 200
times the test parts are drawn anew with replacement, as many good and as many defective ones, the same for all seeds of
a class, and so are the seeds; 2.5 and 97.5 % of the means lie below and above. For pixels, whose scores are not kept,
they are of the seeds alone, by Student's t: what other shots would change. One seed has none there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import mean, variance

import numpy as np
from numpy.typing import NDArray

from core.evaluate.result import METRICS, ClassResult, Evaluation, Interval, Run

RESAMPLES = 200
_IMAGE = METRICS[:3]
_SURE = 0.95
# Student's t at 97.5 % for 1, 2, ... degrees of freedom; beyond, the normal's is near enough.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
_T_BEYOND = 1.984

Floats = NDArray[np.float64]


def with_intervals(evaluation: Evaluation) -> Evaluation:
    """The evaluation with the interval of each mean that has one."""
    found = []
    for variant, shots in evaluation.settings():
        by_class = {result.name: _of(result, variant, shots) for result in evaluation.classes}
        drawn = {
            result.name: _drawn(result, by_class[result.name]) for result in evaluation.classes if by_class[result.name]
        }
        for place, metric in enumerate(METRICS):
            for name in (None, *by_class):
                names = [class_name for class_name in drawn if name in (None, class_name)]
                if metric in _IMAGE:
                    ends = _percentiles([drawn[class_name][:, place] for class_name in names])
                else:
                    ends = _of_seeds([_values(by_class[class_name], metric) for class_name in names])
                if ends is not None:
                    low, high = ends
                    found.append(
                        Interval(class_name=name, variant=variant, shots=shots, metric=metric, low=low, high=high)
                    )
    return evaluation.model_copy(update={"intervals": tuple(found)})


def _of(result: ClassResult, variant: str, shots: int) -> list[Run]:
    return [run for run in result.runs if (run.variant, run.shots) == (variant, shots)]


def _values(runs: Sequence[Run], metric: str) -> list[float]:
    return [value for run in runs if (value := getattr(run.metrics, metric)) is not None]


def _drawn(result: ClassResult, runs: Sequence[Run]) -> Floats:
    """AUROC, AUPR and F1-max of each resample, [RESAMPLES, 3]; not numbers where the parts are of one label."""
    labels = np.array([picture.anomalous for picture in result.pictures], bool)
    if labels.all() or not labels.any():
        return np.full((RESAMPLES, len(_IMAGE)), np.nan)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(result.name.encode()).digest()[:8], "big"))
    counts = np.zeros((RESAMPLES, len(labels)))
    for label in (False, True):
        places = np.flatnonzero(labels == label)
        counts[:, places] = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), RESAMPLES)
    each = np.stack([weighted_metrics(np.array(run.scores), labels, counts) for run in runs])
    seeds = rng.integers(0, len(runs), (RESAMPLES, len(runs)))
    return np.asarray(each[seeds, np.arange(RESAMPLES)[:, None]].mean(1))


def weighted_metrics(scores: Floats, labels: NDArray[np.bool_], counts: Floats) -> Floats:
    """AUROC, AUPR (average precision) and F1-max of parts that count so many times.

    Args:
        scores: [n].
        labels: [n]; both labels occur.
        counts: [R, n], each row with some of both labels.

    Returns:
        [R, 3].
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    counts, labels = counts[:, order], labels[order]
    true = np.cumsum(counts * labels, 1)[:, last]
    false = np.cumsum(counts * ~labels, 1)[:, last]
    positives, negatives = true[:, -1:], false[:, -1:]
    steps_true = np.diff(true, axis=1, prepend=0.0)
    steps_false = np.diff(false, axis=1, prepend=0.0)
    auroc = (steps_false * (true - steps_true / 2)).sum(1) / (positives * negatives)[:, 0]
    called = true + false
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    aupr = (steps_true * precision).sum(1) / positives[:, 0]
    f1 = 2 * true / (called + positives)
    return np.stack([auroc, aupr, f1.max(1)], 1)


def _percentiles(classes: Sequence[Floats]) -> tuple[float, float] | None:
    """Of the mean over the classes that have values."""
    known = [values for values in classes if np.isfinite(values).all()]
    if not known:
        return None
    tail = 50 * (1 - _SURE)
    low, high = np.percentile(np.mean(known, 0), (tail, 100 - tail))
    return float(low), float(high)


def _of_seeds(classes: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Of the mean over classes of their means over seeds; None where one of them has one seed only."""
    known = [values for values in classes if values]
    if not known or min(map(len, known)) < 2:
        return None
    middle = mean(mean(values) for values in known)
    error = (sum(variance(values) / len(values) for values in known) / len(known) ** 2) ** 0.5
    freedom = sum(len(values) - 1 for values in known)
    reach = error * (_T[freedom - 1] if freedom <= len(_T) else _T_BEYOND)
    return max(0.0, middle - reach), min(1.0, middle + reach)
