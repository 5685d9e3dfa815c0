"""Two borders and what they promise, held against draws from known distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.review import borders_by_escape_rate, borders_by_review_rate, review_share

GOOD = [place / 1000 for place in range(1, 301)]


def draws(seed: int, good: int, bad: int) -> tuple[list[float], list[float]]:
    """Scores of good and of bad parts, which overlap."""
    rng = np.random.default_rng(seed)
    return rng.beta(2, 8, good).tolist(), rng.beta(5, 4, bad).tolist()


def test_borders_of_the_good_parts_are_the_thresholds_of_both_rates() -> None:
    rng = np.random.default_rng(0)
    scores = rng.permutation(GOOD).tolist()
    borders = borders_by_review_rate(scores, 0.01, 0.09)
    assert (borders.false_alarm_rate, borders.stopped_rate, borders.escape_rate) == (0.01, 0.1, None)
    assert borders.upper == math.nextafter(0.298, math.inf)  # ceil(301 * 0.99) = 298
    assert borders.lower == math.nextafter(0.271, math.inf)  # ceil(301 * 0.9) = 271
    assert review_share(borders, scores) == pytest.approx(27 / 300)
    assert (borders.good, borders.bad) == (300, 0)
    assert review_share(borders, []) == 0


def test_the_rates_add_up_as_they_are_written() -> None:
    """0.1 + 0.2 is 0.30000000000000004, which would take one part more."""
    assert borders_by_review_rate([0.1, 0.4, 0.2, 0.3, 0.5, 0.25, 0.35, 0.15, 0.45], 0.1, 0.2).stopped_rate == 0.3


def test_the_lower_border_of_bad_parts_is_one_of_their_scores() -> None:
    good, bad = draws(1, 300, 60)
    borders = borders_by_escape_rate(good, bad, 0.01, 0.05)
    assert borders.lower == sorted(bad)[2]  # floor(61 * 0.05) = 3, the third smallest
    assert sum(score < borders.lower for score in bad) == 2
    assert borders.escape_rate == 0.05
    assert borders.stopped_rate == pytest.approx((sum(score >= borders.lower for score in good) + 1) / 301)
    assert borders.upper > borders.lower


def test_where_both_errors_are_kept_by_one_threshold_nothing_is_reviewed() -> None:
    good, bad = [0.1 + place / 1000 for place in range(99)], [0.8 + place / 1000 for place in range(99)]
    shuffled = np.random.default_rng(0).permutation(good).tolist()
    borders = borders_by_escape_rate(shuffled, bad, 0.05, 0.05)
    assert borders.lower == borders.upper < 0.8
    assert review_share(borders, good + bad) == 0


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ((0.0, 0.1), "must be above 0"),
        ((0.6, 0.5), "together below 1"),
        (
            (0.01, 0.1),
            r"19 good parts promise a rate of 5 % at best, not the 1 % asked for: calibrate on 99 good parts",
        ),
    ],
)
def test_rates_that_cannot_be_are_refused(rates: tuple[float, float], message: str) -> None:
    good = np.random.default_rng(0).permutation(GOOD[:19]).tolist()
    with pytest.raises(ValueError, match=message):
        borders_by_review_rate(good, *rates)


def test_too_few_bad_parts_are_refused_with_the_number_that_it_takes() -> None:
    good, bad = draws(2, 300, 10)
    message = r"10 bad parts promise an escape rate of 9.09 %, not the 1 % asked for: show it 99 bad parts in all"
    with pytest.raises(ValueError, match=message):
        borders_by_escape_rate(good, bad, 0.05, 0.01)
    with pytest.raises(ValueError, match="scores of bad parts: number 1 is nan"):
        borders_by_escape_rate(good, [math.nan], 0.05, 0.5)
    with pytest.raises(ValueError, match="scores of bad parts: there are none"):
        borders_by_escape_rate(good, [], 0.05, 0.5)


def test_what_is_promised_holds_in_the_mean_over_many_calibrations() -> None:
    """300 good and 60 bad parts give the borders; as many fresh ones are judged by them; 400 times."""
    reviewed, rejected, escaped, reviewed_by_escape = [], [], [], []
    for seed in range(400):
        good, bad = draws(seed, 300, 60)
        fresh_good, fresh_bad = draws(10_000 + seed, 300, 60)
        by_review = borders_by_review_rate(good, 0.02, 0.08)
        reviewed.append(review_share(by_review, fresh_good))
        rejected.append(np.mean(np.array(fresh_good) >= by_review.upper))
        by_escape = borders_by_escape_rate(good, bad, 0.02, 0.05)
        escaped.append(np.mean(np.array(fresh_bad) < by_escape.lower))
        reviewed_by_escape.append(by_escape.stopped_rate - np.mean(np.array(fresh_good) >= by_escape.lower))

    def error(rates: list[float]) -> float:
        return float(np.std(rates, ddof=1)) / math.sqrt(len(rates))

    assert np.mean(rejected) <= 0.02 + 3 * error(rejected)
    assert abs(np.mean(reviewed) - 0.08) <= 1 / 301 + 3 * error(reviewed)
    assert 0.05 - 1 / 61 - 3 * error(escaped) <= np.mean(escaped) <= 0.05 + 3 * error(escaped)
    assert abs(np.mean(reviewed_by_escape)) <= 1 / 301 + 3 * error(reviewed_by_escape)
