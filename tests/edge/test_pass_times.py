import pytest

from edge.pass_times import PassTimes


def measured(*passes: tuple[int, float]) -> PassTimes:
    """Passes of so many frames and seconds, one a second."""
    times = PassTimes()
    for number, (frames, seconds) in enumerate(passes):
        times.note(frames, seconds, float(number))
    return times


def test_nothing_is_known_at_first_and_all_can_be_forgotten() -> None:
    times = PassTimes()
    assert (times.typical(1), times.cautious(3), times.gains(2, 1)) == (0.0, 0.0, True)
    times.note(1, 0.3, 0.0)
    assert times.typical(1) == times.cautious(1) == 0.3
    times.forget()
    assert times.typical(1) == 0.0


def test_slow_passes_among_many_change_nothing() -> None:
    times = measured(*[(1, 0.3)] * 14, (1, 5.0), (1, 5.0))
    assert (times.typical(1), times.cautious(1)) == pytest.approx((0.3, 0.3))
    times.note(1, 5.0, 16.0)
    assert times.cautious(1) > 9


def test_the_slower_of_two_is_not_believed() -> None:
    assert measured((1, 4.0), (1, 0.3)).cautious(1) == 0.3


def test_a_cautious_guess_is_above_the_usual_spread() -> None:
    times = measured(*[(1, 0.30 + 0.01 * (number % 4)) for number in range(16)])
    assert times.typical(1) == pytest.approx(0.313, abs=0.001), "the mean, as it is for sums"
    assert times.cautious(1) == pytest.approx(0.347, abs=0.001)


def test_a_size_that_was_not_measured_is_guessed_from_the_others() -> None:
    times = measured((2, 0.2))
    assert times.typical(1) == 0.2, "fewer frames never take longer"
    assert times.typical(3) == pytest.approx(0.25)
    assert times.typical(4) == pytest.approx(0.3)
    times.note(4, 0.22, 1.0)
    assert times.typical(3) == pytest.approx(0.22)
    assert times.typical(4) == 0.22


def test_a_larger_pass_has_to_gain() -> None:
    assert not measured((1, 0.1), (2, 0.2)).gains(2, 1)
    assert not measured((1, 0.1), (2, 0.199)).gains(2, 1)
    assert measured((1, 0.1), (2, 0.15)).gains(2, 1)
    assert measured((1, 0.1)).gains(2, 1), "not known yet"


def test_a_size_that_was_not_seen_for_long_is_measured_anew() -> None:
    times = measured((1, 0.1), (4, 3.0))  # once, when the machine was busy
    for second in range(2, 40):
        times.note(1, 0.1, float(second))
    assert times.typical(4) == pytest.approx(0.25)


def test_who_has_to_be_in_time_counts_on_a_second_look() -> None:
    """Red without it: one pass in thirty takes long, a cautious guess leaves it out, and its part is late."""
    known = PassTimes()
    for number in range(30):
        again = number == 0
        known.note(1, 2.0 if again else 0.1, float(number), again=again)
    assert known.cautious(1) == pytest.approx(2.0)
    assert known.typical(1) == pytest.approx(0.1), "what others wait for is what it mostly takes"
    known.forget()
    assert known.cautious(1) == 0.0
