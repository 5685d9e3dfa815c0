import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.autocorrelation import ar1_time, autocorrelation_time, effective_count, parts_worth
from tests.support.drifting_lines import Floats, alike


def times(lines: Floats) -> Floats:
    return np.array([autocorrelation_time(line.tolist()) for line in lines])


@pytest.mark.parametrize("phi", [0.3, 0.7, 0.9])
def test_ar1_has_the_time_of_textbooks(phi: float) -> None:
    """Sum of phi to the k, both ways: (1 + phi) / (1 - phi)."""
    found = times(alike(np.random.default_rng(1), 25, 1999, phi))
    print(np.quantile(found, [0.1, 0.5, 0.9]).round(2))
    assert np.median(found) == pytest.approx((1 + phi) / (1 - phi), rel=0.2)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_next_neighbours_alone_tell_the_time_of_ar1(phi: float) -> None:
    for count in (99, 1999):
        found = [ar1_time(line) for line in alike(np.random.default_rng(6), 40, count, phi)]
        print(count, np.quantile(found, [0.1, 0.5, 0.9]).round(2))
        assert np.median(found) == pytest.approx((1 + phi) / (1 - phi), rel=0.2)
    assert all(ar1_time(values) >= 1 for values in ([0.5], [0.5] * 9, [0.0, 1.0] * 9, [0.1, 0.2, 0.3]))


@pytest.mark.parametrize("count", [19, 99])
def test_independent_parts_hardly_ever_look_alike(count: int) -> None:
    """Two tests, of single parts and of batches, at a level of 0.5 % each."""
    found = times(np.random.default_rng(2).random((400, count)))
    print(f"{(found > 1).mean():.4f}")
    assert (found > 1).mean() <= 0.01 + 3 * math.sqrt(0.01 / 400)


def test_only_the_order_counts_not_how_large_scores_are() -> None:
    line = alike(np.random.default_rng(3), 1, 499, 0.7)[0]
    assert autocorrelation_time(line**9) == autocorrelation_time(line)
    assert autocorrelation_time(line) > 3
    assert autocorrelation_time(np.sort(line)) > 50
    assert autocorrelation_time(np.random.default_rng(0).permutation(line)) == 1


def test_parts_that_are_seen_three_times_count_as_a_third() -> None:
    lines = np.random.default_rng(4).random((15, 600)).repeat(3, axis=1)
    assert np.median(times(lines)) == pytest.approx(3, rel=0.15)


def test_a_slow_and_weak_fluctuation_shows_in_batches() -> None:
    """A tenth of the variance, for 50 parts: single parts say next to nothing of it (rho_1 = 0.1)."""
    rng = np.random.default_rng(5)
    slow, noise = alike(rng, 20, 1999, 0.98), rng.standard_normal((20, 1999))
    lines = math.sqrt(0.1) * np.log(slow / (1 - slow)) + math.sqrt(0.9) * noise
    found = times(lines)
    print(np.quantile(found, [0.1, 0.5, 0.9]).round(2))
    assert np.median(found) > 5, "in truth 1 + 0.1 * 98, less what 1,999 parts cannot show"


@pytest.mark.parametrize(
    "values", [[0.5], [0.1, 0.2], [0.1, 0.2, 0.3], [0.5] * 100, [0.0, 1.0] * 60, [0.5] * 99 + [0.6], [0.2] * 7 + [0.1]]
)
def test_too_few_equal_or_alternating_values_say_nothing(values: list[float]) -> None:
    assert autocorrelation_time(values) == 1


@settings(max_examples=100)
@given(st.floats(1, 1e4), st.floats(1, 500), st.booleans())
def test_as_many_parts_as_it_takes_are_worth_what_is_asked_for(effective: float, time: float, alone: bool) -> None:
    time = 1.0 if alone else time
    parts = parts_worth(effective, time)
    assert effective_count(parts, time) >= effective * (1 - 1e-9)
    assert parts == 1 or effective_count(parts - 1, time) < effective * (1 + 1e-9)
    assert 0 < effective_count(parts, time) <= parts
