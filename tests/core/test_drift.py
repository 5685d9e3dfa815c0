import json
import math
import re
from typing import Any

import numpy as np
import pytest

from core.calibration import calibrate
from core.drift import LEAST_EFFECTIVE, RECENT, TILTS, DriftTest, log_wealth, settle, stake
from tests.support.drifting_lines import Floats, Lines, Source, alike, calibrated, streams


def uniform(rng: np.random.Generator, count: int) -> Floats:
    return rng.random(count)


def tied(rng: np.random.Generator, count: int) -> Floats:
    return rng.binomial(6, 0.4, count) / 6


def alarming(share: float, threshold: float = 0.95) -> Source:
    """Uniform scores, but for more of them at 1: `share` at or above `threshold`."""
    more = (share - (1 - threshold)) / threshold

    def draw(rng: np.random.Generator, count: int) -> Floats:
        return np.where(rng.random(count) < more, 1.0, rng.random(count))

    return draw


def moved(share: float) -> Source:
    """`share` of the scores above a half, uniform on either side of it."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        return (rng.random(count) + (rng.random(count) < share)) / 2

    return draw


def independent(source: Source, lines: int, count: int, seed: int, **others: Any) -> Lines:
    """Lines with a fresh calibration each, of independent parts."""
    rng = np.random.default_rng(seed)
    return Lines.of(calibrated(np.stack([source(rng, count) for _ in range(lines)]), **others)[0])


def replaced(test: DriftTest, **changed: Any) -> DriftTest:
    """The test with some of its state changed."""
    return DriftTest.from_dict(test.to_dict() | changed)


def new_test(count: int = 499, seed: int = 0, **others: Any) -> DriftTest:
    scores = np.random.default_rng(seed).random(count).tolist()
    threshold = calibrate(scores, 0.05)
    return DriftTest(scores, threshold.threshold, threshold.rate, **others)


@pytest.mark.parametrize(
    ("source", "count", "rate"),
    [(uniform, 99, 0.05), (uniform, 19, 0.2), (tied, 49, 0.05), (uniform, 5, 0.05)],
    ids=["uniform", "few", "ties", "hardly any"],
)
def test_a_line_that_stays_the_same_hardly_ever_drifts(source: Source, count: int, rate: float) -> None:
    """300 lines of 3,000 parts, calibration and parts from the same source."""
    lines, delta = 300, 0.1
    tests = independent(source, lines, count, seed=count, rate=rate, delta=delta)
    found = tests.found(streams(np.random.default_rng(count), lines, (source, 3000)))
    share = (found > 0).mean()
    print(f"{source.__name__}, n {count}: {share:.4f} drift, {delta} allowed")
    assert share <= delta + 3 * math.sqrt(delta * (1 - delta) / lines)


def test_bets_on_shares_at_their_bounds_hardly_ever_win() -> None:
    """Ville's inequality where it is sharpest: every share is all that its bound lets it be."""
    rng = np.random.default_rng(0)
    lines, nulls, level = 1000, np.array([0.05, 0.3, 0.8]), 0.1
    bets, rich = stake(np.full((lines, 3, len(TILTS)), -np.inf), 0), np.zeros(lines, bool)
    for part in range(1, 2001):
        bets = settle(bets, rng.random((lines, 3)) < nulls, nulls)
        rich |= log_wealth(bets, part) >= -math.log(level)
        bets = stake(bets, part)
    print(f"{rich.mean():.4f} of a wealth of {1 / level:g}, {level} allowed")
    assert 0.01 < rich.mean() <= level + 3 * math.sqrt(level * (1 - level) / lines)


@pytest.mark.parametrize("parts", [0, 1, 7, 10_000, 10**9])
@pytest.mark.parametrize("null", [0.001, 0.05, 0.5, 0.97, 1.0])
def test_the_wealth_is_a_martingale_at_the_bound_and_falls_below_it(null: float, parts: int) -> None:
    bets = np.random.default_rng(1).normal(-9, 2, (1, len(TILTS)))
    before = math.exp(log_wealth(bets, parts))
    staked, nulls = stake(bets, parts), np.array([null])
    hit, miss = (math.exp(log_wealth(settle(staked, np.array([one]), nulls), parts + 1)) for one in (True, False))
    assert null * hit + (1 - null) * miss == pytest.approx(before, rel=1e-12)
    assert hit >= miss


@pytest.mark.parametrize(
    ("count", "source", "good", "within"),
    [
        (499, alarming(0.15), 0, 900),
        (499, alarming(0.15), 3000, 1500),
        (1999, alarming(0.1), 0, 2400),
        (499, moved(0.75), 0, 300),
        (499, moved(0.75), 3000, 600),
        (499, moved(0.25), 0, 330),
        (99, alarming(0.4), 0, 250),
    ],
    ids=["tripled", "tripled late", "doubled", "up", "up late", "down", "many alarms, few calibrated"],
)
def test_drift_is_found(count: int, source: Source, good: int, within: int) -> None:
    tests = independent(uniform, 100, count, seed=1)
    found = tests.found(streams(np.random.default_rng(2), 100, (uniform, good), (source, within)))
    print(f"median {np.median(found[found > good]) - good:.0f} parts, {(found == 0).sum()} of 100 not in {within}")
    assert (found > good).mean() >= 0.9


def test_defects_that_are_expected_are_no_drift() -> None:
    found = []
    for defects in (0.0, 0.1):
        tests = independent(uniform, 50, 499, seed=3, defects=defects)
        # 10 % of defects, all found, and 5 % of the rest
        found.append(tests.found(streams(np.random.default_rng(4), 50, (alarming(0.145), 3000))))
    unaware, aware = found
    assert (unaware > 0).mean() > 0.9
    assert not aware.any()


def test_one_part_after_the_other_is_as_many_lines_at_once() -> None:
    rng = np.random.default_rng(6)
    scores = np.stack(list(streams(rng, 5, (uniform, 300), (moved(0.9), 700))))
    calibrations = np.stack([uniform(rng, 499) for _ in range(4)] + [alike(rng, 1, 499, 0.5)[0]])
    tests, _ = calibrated(calibrations, delta=0.05)
    found = Lines.of(tests).found(scores)
    weights = [test.to_dict()["weight"] for test in tests]
    assert min(weights[:4]) > 2 * weights[4]
    for row, test in enumerate(tests):
        states = [test.update(score) for score in scores[:, row]]
        assert found[row] > 300
        assert all(state.drifting == (state.parts >= found[row]) for state in states)
        assert all(state.drifting == (state.evidence >= math.log10(2 / 0.05)) for state in states)


@pytest.mark.parametrize(("count", "phi"), [(499, 0.7), (499, 0.9)])
def test_a_line_whose_neighbours_resemble_each_other_hardly_ever_drifts(count: int, phi: float) -> None:
    """Where each part counts as independent in the bets alone, many drift, though the bounds are wide."""
    scores = alike(np.random.default_rng(count), 60, count + 3000, phi)
    tests, _ = calibrated(scores[:, :count])
    found = Lines.of(tests).found(scores[:, count:].T)
    careless = [replaced(test, weight=1.0) for test in tests]
    cries = Lines.of(careless).found(scores[:, count:].T) > 0
    print(f"phi {phi}: {(found > 0).mean():.3f} of lines drift, {cries.mean():.3f} of careless ones")
    assert (found > 0).sum() <= 1
    assert cries.sum() >= 4


@pytest.mark.parametrize(("shift", "within"), [(1.0, 1500), (2.0, 300)])
def test_drift_is_found_where_neighbours_resemble_each_other(shift: float, within: int) -> None:
    scores = alike(np.random.default_rng(2), 40, 1999 + within, 0.7, [0.0] * 1999 + [shift] * within)
    tests, _ = calibrated(scores[:, :1999])
    found = Lines.of(tests).found(scores[:, 1999:].T)
    print(f"{shift} sigma: median {np.median(found[found > 0]):.0f} parts, {(found == 0).sum()} of 40 not in {within}")
    assert (found > 0).mean() >= 0.9


def test_a_calibration_worth_too_little_is_not_watched_and_says_why() -> None:
    scores = alike(np.random.default_rng(0), 1, 99, 0.97)[0]
    test = calibrated(scores[None])[0][0]
    for _ in range(300):
        state = test.update(1.0)
    print(state.unwatched)
    assert not state.drifting
    assert (state.alarm_share, state.evidence) == (pytest.approx(1), 0)
    words = re.fullmatch(
        r"drift is not watched: the 99 good parts of the calibration resemble their neighbours and count as (.+); "
        r"calibrate on at least (\d+)",
        state.unwatched,
    )
    assert words
    assert float(words[1]) < LEAST_EFFECTIVE
    assert int(words[2]) > 99
    assert DriftTest.from_dict(json.loads(json.dumps(test.to_dict()))).state == state
    few = DriftTest([0.1, 0.2, 0.3, 0.4], 0.5, 0.2)
    assert few.state.unwatched == "", "a few that may be independent are watched, as far as they go"


def test_the_reason_for_alarms() -> None:
    test, rng = new_test(), np.random.default_rng(1)
    assert test.state.reason == ""
    for score in uniform(rng, 2000):
        assert not test.update(score).drifting
    while not (state := test.update(alarming(0.2)(rng, 1)[0])).drifting:
        pass
    print(state.reason)
    words = state.reason.split()
    assert 0.15 < float(words[0]) / 100 < 0.25
    assert 100 < int(words[5]) < 1.5 * (state.parts - 2000), "the parts since the change, not those before it"
    assert state.reason.endswith("parts alarmed; calibration promised 5.0 %")
    assert 0.1 < state.alarm_share < 0.3
    for score in uniform(rng, 1000):
        later = test.update(score)
    assert later.drifting
    assert later.reason == state.reason
    assert later.alarm_share < 0.1


@pytest.mark.parametrize(("share", "word"), [(0.95, "above"), (0.05, "below")])
def test_the_reason_for_scores_that_move(share: float, word: str) -> None:
    test, rng = new_test(), np.random.default_rng(1)
    # None of them alarms.
    while not (state := test.update(0.9 * moved(share)(rng, 1)[0])).drifting:
        pass
    print(state.reason)
    assert f"scored {word} 0." in state.reason
    assert state.reason.endswith("% did")


def test_the_reason_names_expected_defects() -> None:
    test = new_test(expected_defects=0.02)
    while not (state := test.update(1.0)).drifting:
        pass
    assert "calibration promised 5.0 % and 2.0 % of defects" in state.reason


def test_the_alarm_share_is_of_the_last_parts() -> None:
    test = new_test()
    assert test.state.alarm_share == 0
    assert [round(test.update(score).alarm_share, 3) for score in (1.0, 0.0, 0.0, 1.0)] == [1, 0.5, 0.333, 0.5]
    for _ in range(5 * RECENT):
        state = test.update(0.0)
    assert state.alarm_share < 0.01


def test_a_threshold_that_is_not_the_calibrations_own() -> None:
    """What its calibration says of it is how many alarm, not the rate promised."""
    scores = np.random.default_rng(8).random(499).tolist()
    low, high = (DriftTest(scores, one, 0.05).to_dict()["nulls"][0] for one in (0.7, 0.999))
    assert 0.3 < low < 0.4
    own = DriftTest(scores, calibrate(scores, 0.05).threshold, 0.05).to_dict()["nulls"][0]
    assert high == own
    assert DriftTest(scores, 0.0, 0.05).to_dict()["nulls"][0] == 1


def test_it_survives_a_restart() -> None:
    test, rng = new_test(expected_defects=0.01), np.random.default_rng(9)
    for score in uniform(rng, 500):
        test.update(score)
    saved = json.dumps(test.to_dict(), allow_nan=False)
    other = DriftTest.from_dict(json.loads(saved))
    assert other.state == test.state
    for score in moved(0.9)(rng, 400):
        assert other.update(score) == test.update(score)
    assert test.state.drifting
    assert DriftTest.from_dict(json.loads(json.dumps(test.to_dict()))).state == test.state
    assert len(json.dumps(test.to_dict())) < 1.2 * len(saved), "its size does not grow"


@pytest.mark.parametrize("state", [{}, {"parts": 3}, {**new_test(9).to_dict(), "more": 1}])
def test_states_that_are_refused(state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no state of a drift test"):
        DriftTest.from_dict(state)


def test_numbers_stay_finite() -> None:
    test = new_test()
    for _ in range(5000):
        test.update(1.0)
    assert 1000 < test.state.evidence < math.inf
    aged = DriftTest.from_dict({**new_test().to_dict(), "parts": 10**12})
    while not (state := aged.update(1.0)).drifting:
        pass
    assert state.parts < 10**12 + 60, "after so many parts, only a few more than at first"
    json.dumps(aged.to_dict(), allow_nan=False)


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1])
def test_scores_that_are_refused_leave_the_test_as_it_was(score: float) -> None:
    test = new_test()
    before = test.to_dict()
    with pytest.raises(ValueError, match="score: number 1 is"):
        test.update(score)
    assert test.to_dict() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": []}, "scores: there are none"),
        ({"scores": [math.nan]}, "scores: number 1 is nan"),
        ({"threshold": math.nan}, "threshold nan"),
        ({"promised": 0.0}, "rate 0"),
        ({"delta": 1.0}, "delta 1"),
        ({"expected_defects": 1.0}, "expected_defects 1"),
        ({"expected_defects": -0.1}, "expected_defects -0.1"),
    ],
)
def test_tests_that_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DriftTest(**{"scores": [0.1, 0.2], "threshold": 0.5, "promised": 0.05, **changed})
