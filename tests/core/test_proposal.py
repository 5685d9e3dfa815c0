"""A proposed threshold says what it would have done, what it promises, and whether both rates can be had."""

from __future__ import annotations

import math
import random

import pytest
from scipy.stats import binomtest

from core.proposal import escape_limit, propose

GOOD = [number * 379 % 1999 / 1999 * 0.6 for number in range(1, 2000)]  # all over 0 to 0.6, in no order
BAD = [0.3 + 0.03 * number for number in range(20)]  # 0.30, 0.33 ... 0.87


def test_it_is_the_threshold_that_good_parts_promise() -> None:
    found = propose(GOOD, BAD, now=0.45, rate=0.02)
    assert found.proposed.threshold == math.nextafter(sorted(GOOD)[1960 - 1], math.inf)  # ceil(2000 * 0.98)-th
    assert found.calibration.rate == 0.02
    for operation in (found.now, found.proposed):
        alarms = sum(score >= operation.threshold for score in GOOD)
        escapes = sum(score < operation.threshold for score in BAD)
        assert (operation.alarms.count, operation.alarms.of) == (alarms, 1999)
        assert operation.escapes is not None
        assert (operation.escapes.count, operation.escapes.of) == (escapes, 20)
        interval = binomtest(escapes, 20).proportion_ci(0.95, method="exact")
        assert (operation.escapes.low, operation.escapes.high) == pytest.approx((interval.low, interval.high))
    assert found.now.threshold == 0.45
    assert (found.most, found.agrees) == (None, False)


def test_both_rates_can_be_had_or_not() -> None:
    apart = [0.5 + score / 2 for score in BAD]
    assert propose(GOOD, apart, now=0.5, rate=0.02, escapes=0.1).agrees
    close = propose(GOOD, BAD, now=0.5, rate=0.02, escapes=0.1)
    assert (close.most, close.agrees) == (BAD[1], False)  # floor(21 * 0.1) = 2nd smallest
    assert propose(GOOD, [], now=0.5, rate=0.02, escapes=0.1).most is None
    assert propose(GOOD, [], now=0.5, rate=0.02).proposed.escapes is None


def test_few_defects_promise_no_low_rate() -> None:
    assert escape_limit(BAD[:8], 0.1) is None  # 9 of them promise 10 %
    assert escape_limit(BAD[:9], 0.1) == BAD[0]


def test_a_limit_keeps_what_it_promises() -> None:
    """Over 2,000 samples of 19 defects the next one is below the limit of 10 % in a tenth of them, within noise."""
    draw = random.Random(3)
    missed = 0
    for _ in range(2000):
        *defects, next_one = (draw.betavariate(4, 2) for _ in range(20))
        limit = escape_limit(defects, 0.1)
        assert limit is not None
        missed += next_one < limit
    assert abs(missed - 200) < 4 * math.sqrt(2000 * 0.1 * 0.9)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="there are none"):
        propose([], BAD, now=0.5, rate=0.1)
    with pytest.raises(ValueError, match="rate 1 must be"):
        propose(GOOD, BAD, now=0.5, rate=0.1, escapes=1)
    with pytest.raises(ValueError, match="scores of defective parts: number 1 is 2"):
        propose(GOOD, [2.0] * 9, now=0.5, rate=0.1, escapes=0.1)
