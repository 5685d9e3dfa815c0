"""Which scores stand out, by the rule that is told."""

import math

import numpy as np
import pytest

from core.outliers import LEAST, find_outliers


def test_a_score_far_above_the_quartiles_stands_out_and_a_low_one_does_not() -> None:
    scores = [0.30, 0.31, 0.32, 0.33, 0.34, 0.35, 0.36, 0.90, 0.01]
    found = find_outliers(scores)
    assert found is not None
    assert found.places == (7,)
    lower, upper = 0.31, 0.35  # of nine sorted scores the third and the seventh
    assert found.fence == pytest.approx(upper + 3 * (upper - lower))


def test_of_few_or_equal_scores_none_stands_out() -> None:
    assert find_outliers([0.1] * (LEAST - 2) + [0.9]) is None
    found = find_outliers([0.4] * 20)
    assert found is not None
    assert found.places == ()


def test_the_shares_that_the_rule_is_said_to_call_out() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(0.01, 20_000)
    found = find_outliers(scores.tolist())
    assert found is not None
    share = len(found.places) / len(scores)
    assert share == pytest.approx(math.exp(-(math.log(4) + 3 * math.log(3))), rel=0.15)  # Q3 = ln 4, Q3 - Q1 = ln 3
    normal = find_outliers(rng.normal(0.5, 0.01, 20_000).tolist())
    assert normal is not None
    assert len(normal.places) <= 1
