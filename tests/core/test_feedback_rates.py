"""Rates are bounds where people looked at some parts only, each with the interval that a statistician gives it."""

from __future__ import annotations

import random

import pytest
from scipy.stats import binomtest

from core.feedback_rates import Judged, feedback_rates
from core.share import Share

WEEK = Judged(normal=1900, anomaly=100, false_alarms=25, confirmed=8, escapes=3, confirmed_normal=4)


def exact(count: int, of: int) -> tuple[int, int, float, float]:
    interval = binomtest(count, of).proportion_ci(0.95, method="exact")
    return count, of, pytest.approx(interval.low, rel=1e-7), pytest.approx(interval.high, rel=1e-7)


def as_numbers(share: Share | None) -> tuple[int, int, float, float]:
    assert share is not None
    return share.count, share.of, share.low, share.high


def test_each_rate_is_of_the_parts_that_it_names() -> None:
    rates = feedback_rates(WEEK)
    assert as_numbers(rates.known_false_alarms) == exact(25, 2000)
    assert as_numbers(rates.possible_false_alarms) == exact(25 + 67, 2000)  # 67 alarms that nobody looked at
    assert as_numbers(rates.known_escapes) == exact(3, 2000)
    assert as_numbers(rates.reviewed_alarms) == exact(25, 33)
    assert as_numbers(rates.reviewed_normals) == exact(3, 7)


def test_without_parts_there_is_no_share() -> None:
    assert set(vars(feedback_rates(Judged())).values()) == {None}
    rates = feedback_rates(Judged(normal=5))
    assert as_numbers(rates.known_false_alarms) == exact(0, 5)
    assert (rates.reviewed_alarms, rates.reviewed_normals) == (None, None)


@pytest.mark.parametrize("judged", [Judged(anomaly=1, false_alarms=2), Judged(normal=1, escapes=1, confirmed_normal=1)])
def test_more_feedback_than_parts_is_refused(judged: Judged) -> None:
    with pytest.raises(ValueError, match="more feedback than parts"):
        feedback_rates(judged)


def test_counts_add_up() -> None:
    assert WEEK + Judged(normal=1, escapes=2) == Judged(1901, 100, 25, 8, 5, 4)
    assert (WEEK.parts, Judged().parts) == (2000, 0)


def test_the_bounds_hold_however_people_choose_what_they_look_at() -> None:
    """Of 500 weeks with 3 % false alarms 95 % have them between the bounds, though people look at few."""
    draw, true_rate, inside = random.Random(7), 0.03, 0
    for _ in range(500):
        false = sum(draw.random() < true_rate for _ in range(400))
        seen = min(false, draw.choice((0, 5, 20)))
        rates = feedback_rates(Judged(normal=400 - false, anomaly=false, false_alarms=seen))
        least, most = rates.known_false_alarms, rates.possible_false_alarms
        assert least is not None
        assert most is not None
        inside += least.low <= true_rate <= most.high
    assert inside >= 475
