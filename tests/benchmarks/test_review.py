"""The two borders of a review on simulated lines: the share that people look at, and the errors outside it.

ALFA_EDGE_BENCH_MODEL names the model, ALFA_EDGE_BENCH_CLASSES the classes (bottle, gear).
"""

import math
import os

import numpy as np
import pytest
from numpy.typing import NDArray

from core import Detector
from core.backbone import DEFAULT
from core.review import Borders, borders_by_escape_rate, borders_by_review_rate, review_share
from core.simline import render

MODEL = os.environ.get("ALFA_EDGE_BENCH_MODEL", DEFAULT)
CLASSES = os.environ.get("ALFA_EDGE_BENCH_CLASSES", "bottle,gear").split(",")
GOOD, BAD, SHOTS = 300, 60, 4
SPLITS = 200
FALSE_ALARMS, REVIEWED, ESCAPES = 0.02, 0.08, 0.05
BATCH = 8

Scores = NDArray[np.float64]


@pytest.fixture(scope="module", params=CLASSES)
def line(request: pytest.FixtureRequest) -> tuple[str, Scores, Scores]:
    """A class, and what twice as many good and bad parts of it score as the borders come from."""
    name = str(request.param)
    shots = [render(name, 1, index, 0.0).image for index in range(SHOTS)]
    detector = Detector(name, model=MODEL, normal=shots, device="cpu")
    return name, scores_of(detector, name, 2 * GOOD, 0.0), scores_of(detector, name, 2 * BAD, 1.0)


def scores_of(detector: Detector, name: str, count: int, defects: float) -> Scores:
    scores: list[float] = []
    first = 10_000 if defects else 1_000
    for start in range(0, count, BATCH):
        parts = [render(name, 1, first + index, defects).image for index in range(start, min(start + BATCH, count))]
        scores += [judgement.score for judgement in detector.judge_all(parts)]
    return np.array(scores)


@pytest.mark.timeout(7200)
def test_the_share_in_review_and_the_errors_outside_it_are_as_promised(line: tuple[str, Scores, Scores]) -> None:
    """Random halves: 300 good and 60 bad parts give the borders, as many fresh ones are judged by them.

    The first half is the case of one line on one day; its errors are held against what chance allows (three standard
    errors of both samples). The mean over all halves is held against the promise itself.
    """
    name, good, bad = line
    rng = np.random.default_rng(0)
    print(f"\n{MODEL}, {name}: {GOOD} good and {BAD} bad parts for the borders, as many fresh ones; {SPLITS} halves")
    print(f"asked: {FALSE_ALARMS:.0%} rejected unseen, {REVIEWED:.0%} reviewed; or {ESCAPES:.0%} of the bad passed")
    by_review, by_escape, refused = [], [], 0
    for _ in range(SPLITS):
        good_half, bad_half = rng.permutation(good), rng.permutation(bad)
        known, fresh = good_half[:GOOD].tolist(), (good_half[GOOD:], bad_half[BAD:])
        try:
            of_good = borders_by_review_rate(known, FALSE_ALARMS, REVIEWED)
            of_both = borders_by_escape_rate(known, bad_half[:BAD].tolist(), FALSE_ALARMS, ESCAPES)
        except ValueError:  # by chance the parts resemble their neighbours, and would promise less
            refused += 1
            continue
        by_review.append(outcome(of_good, *fresh))
        by_escape.append(outcome(of_both, *fresh))
    print(f"refused, as parts resembled their neighbours by chance: {refused} of {SPLITS}")
    assert refused <= SPLITS // 10
    for way, outcomes in (("review rate", np.array(by_review)), ("escape rate", np.array(by_escape))):
        print(f"{way:12}{'rejected':>18}{'reviewed, good':>18}{'reviewed, bad':>18}{'passed, bad':>18}")
        print(f"{'first half':12}" + "".join(f"{share:18.4f}" for share in outcomes[0]))
        cells = [f"{column.mean():.4f} +- {error_of(column):.4f}" for column in outcomes.T]
        print(f"{'mean':12}" + "".join(f"{cell:>18}" for cell in cells))
    rejected, reviewed, _, _ = np.array(by_review).T
    assert within(rejected[0], FALSE_ALARMS, GOOD)
    assert within(reviewed[0], REVIEWED, GOOD)
    assert rejected.mean() <= FALSE_ALARMS + 3 * error_of(rejected)
    assert abs(reviewed.mean() - REVIEWED) <= 1 / (GOOD + 1) + 3 * error_of(reviewed)
    rejected, _, _, passed = np.array(by_escape).T
    assert within(rejected[0], FALSE_ALARMS, GOOD)
    assert within(passed[0], ESCAPES, BAD)
    assert rejected.mean() <= FALSE_ALARMS + 3 * error_of(rejected)
    assert passed.mean() <= ESCAPES + 3 * error_of(passed)


def outcome(borders: Borders, good: Scores, bad: Scores) -> tuple[float, float, float, float]:
    """Shares: good parts rejected without review, good ones reviewed, bad ones reviewed, bad ones passed."""
    return (
        float((good >= borders.upper).mean()),
        review_share(borders, good.tolist()),
        review_share(borders, bad.tolist()),
        float((bad < borders.lower).mean()),
    )


def within(share: float, promised: float, count: int) -> bool:
    """Whether a share of `count` fresh parts is what chance allows, where as many gave the border."""
    return share <= promised + 3 * math.sqrt(2 * promised * (1 - promised) / count)


def error_of(shares: Scores) -> float:
    """The standard error of their mean."""
    return float(np.std(shares, ddof=1)) / math.sqrt(len(shares))
