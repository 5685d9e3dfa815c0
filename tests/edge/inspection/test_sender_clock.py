"""The sender's clock, on synthetic series of stamps and arrivals."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest

from edge.inspection.sender_clock import SenderClock, late_in_words

START = datetime(2026, 1, 31, 10, 0, 0, tzinfo=timezone.utc)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def feed(clock: SenderClock, skew_s: float, count: int = 8, *, begin_s: float = 0.0, every_s: float = 1.0) -> datetime:
    """Fresh triggers of a sender whose clock is `skew_s` ahead, 5 to 40 ms under way; returns the last arrival."""
    chance = random.Random(7)
    for index in range(count):
        sent = START + seconds(begin_s + index * every_s)
        received = sent + seconds(chance.uniform(0.005, 0.04))
        clock.measure(sent + seconds(skew_s), received)
    return received


@pytest.mark.parametrize("skew_s", [-3.0, -0.6, 0.6, 3.1, 3600.0, -86_400.0])
def test_a_skew_is_measured_and_said_with_both_clocks(skew_s: float) -> None:
    clock = SenderClock()
    feed(clock, skew_s)
    assert clock.skew_s == pytest.approx(skew_s, abs=0.05)
    assert clock.message is not None
    word = "ahead" if skew_s > 0 else "behind"
    assert f"{abs(skew_s):.1f} s {word}" in clock.message
    assert "mqtt.compensate_sender_clock" in clock.message
    assert "NTP" in clock.message


def test_the_words_name_both_times() -> None:
    clock = SenderClock()
    for index in range(3):
        moment = START + seconds(index)
        clock.measure(moment + seconds(3.1), moment)
    assert clock.message is not None
    assert "the sender's clock says 2026-01-31 10:00:05.1, the one here 2026-01-31 10:00:02.0: 3.1 s ahead" in (
        clock.message
    )


@pytest.mark.parametrize("skew_s", [0.0, 0.4, -0.4])
def test_a_small_skew_is_no_alarm_and_stamps_count(skew_s: float) -> None:
    clock = SenderClock()
    received = feed(clock, skew_s)
    assert clock.message is None
    assert clock.age_s(received - seconds(2), received) == pytest.approx(2.0)


def test_a_controller_three_seconds_behind_makes_no_part_old() -> None:
    clock = SenderClock()
    received = feed(clock, -3.0)
    assert clock.age_s(received - seconds(3), received) is None


def test_a_stamp_an_hour_ahead_does_not_make_a_part_young() -> None:
    clock = SenderClock()
    received = feed(clock, 3600.0)
    assert clock.age_s(received + seconds(3590), received) is None
    assert clock.message is not None


@pytest.mark.parametrize("skew_s", [-3.0, 3600.0])
def test_with_compensation_an_old_part_is_old_and_a_fresh_one_is_fresh(skew_s: float) -> None:
    clock = SenderClock(compensate=True)
    received = feed(clock, skew_s)
    assert clock.age_s(received + seconds(skew_s), received) == pytest.approx(0.0, abs=0.05)
    assert clock.age_s(received + seconds(skew_s - 10), received) == pytest.approx(10.0, abs=0.05)
    assert clock.message is None  # whoever set it knows


def test_before_anything_is_known_a_stamp_counts() -> None:
    clock = SenderClock()
    assert clock.skew_s is None
    assert clock.age_s(START - seconds(9), START) == 9.0


def test_parts_that_waited_at_a_gateway_are_no_skew() -> None:
    """After an outage of its own a gateway sends what it kept, at once; the stamps say how old each part is."""
    clock = SenderClock()
    feed(clock, 0.0)
    back = START + seconds(60)
    ages = []
    for index in range(40):
        at, received = START + seconds(10 + index), back + seconds(index * 0.005)
        clock.measure(at, received)
        ages.append(clock.age_s(at, received))
    assert clock.message is None
    assert ages == [pytest.approx(50 - index * 0.995, abs=1e-3) for index in range(40)]


@pytest.mark.parametrize("speed", [1.6, 2.0, 5.0])
def test_parts_that_a_gateway_sends_faster_than_they_came_are_no_skew(speed: float) -> None:
    clock = SenderClock()
    feed(clock, 0.0)
    for index in range(60):
        at = START + seconds(10 + index * 0.5)
        received = START + seconds(60 + index * 0.5 / speed)
        clock.measure(at, received)
        if received - at > seconds(5):
            assert clock.message is None, index


def test_the_same_gateway_before_anything_is_known() -> None:
    clock = SenderClock()
    for index in range(40):
        clock.measure(START + seconds(index), START + seconds(60 + index * 0.005))
    assert clock.skew_s is None
    assert clock.age_s(START, START + seconds(60)) == 60.0


def test_two_late_messages_of_five_change_nothing() -> None:
    clock = SenderClock()
    feed(clock, -3.0, 5)
    for index, delay_s in enumerate((2.0, 7.0, 0.01, 0.01, 4.0, 0.02)):
        sent = START + seconds(10 + 10 * index)
        clock.measure(sent - seconds(3), sent + seconds(delay_s))
        assert clock.skew_s == pytest.approx(-3.0, abs=0.05)


@pytest.mark.parametrize(("before_s", "after_s"), [(0.0, -3.0), (0.0, 3600.0), (3600.0, 0.0), (-3.0, 0.0)])
def test_a_step_of_a_clock_is_followed_within_three_messages(before_s: float, after_s: float) -> None:
    clock = SenderClock()
    feed(clock, before_s)
    feed(clock, after_s, 2, begin_s=100)
    assert clock.skew_s == pytest.approx(before_s, abs=0.05)
    feed(clock, after_s, 1, begin_s=110)
    assert clock.skew_s == pytest.approx(after_s, abs=0.05)
    assert (clock.message is None) == (after_s == 0.0)


def test_a_step_of_the_clock_here_is_followed_too() -> None:
    clock = SenderClock()
    feed(clock, 0.0)
    for index in range(3):
        sent = START + seconds(100 + index)
        clock.measure(sent, sent - seconds(3600))
    assert clock.skew_s == pytest.approx(3600.0)


def test_the_words_change_with_the_skew_only() -> None:
    clock = SenderClock()
    feed(clock, 3.0)
    said = clock.message
    feed(clock, 3.1, 50, begin_s=100)
    assert clock.message == said
    feed(clock, 4.0, 5, begin_s=200)
    assert clock.message != said
    feed(clock, 0.45, 5, begin_s=300)
    assert clock.message is not None  # it has not settled
    feed(clock, 0.1, 5, begin_s=400)
    assert clock.message is None


def test_triggers_ten_a_second_are_measured_within_two_seconds() -> None:
    clock = SenderClock()
    feed(clock, -3.0, 16, every_s=0.1)
    assert clock.skew_s == pytest.approx(-3.0, abs=0.05)


def test_a_clock_that_stands_still_says_nothing() -> None:
    clock = SenderClock()
    for index in range(20):
        clock.measure(START, START + seconds(index))
    assert clock.skew_s is None


def test_a_late_trigger_says_both_times() -> None:
    assert late_in_words(START, START + seconds(3.1)) == (
        "by its `at` the part was there at 2026-01-31 10:00:00.0, and the trigger came at 2026-01-31 10:00:03.1 by the "
        "clock here: 3.1 s later; if it did not wait, the clocks differ"
    )
