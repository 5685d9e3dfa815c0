import pytest

from edge.arrivals import Arrivals

SLACK = 0.5


def regular(arrivals: Arrivals, line: str = "one", every: float = 0.2, begin: float = 100.0, count: int = 10) -> float:
    """Frames at equal distances; when the last one came."""
    for number in range(count):
        arrivals.note(line, begin + number * every, SLACK)
    return begin + (count - 1) * every


def test_without_any_frame_there_is_time() -> None:
    assert Arrivals().wait(5.0, 1.0) == 0.0


def test_between_regular_frames_there_is_time_until_the_next_one() -> None:
    arrivals = Arrivals()
    last = regular(arrivals)
    assert arrivals.wait(last + 0.05, 0.1) == 0.0
    assert arrivals.wait(last + 0.15, 0.1) == pytest.approx(5 * 0.2 - 0.15), "the next frame comes before it has ended"


def test_a_frame_that_is_overdue_is_waited_for() -> None:
    arrivals = Arrivals()
    last = regular(arrivals)
    assert arrivals.wait(last + 0.3, 0.01) == pytest.approx(0.7)


def test_a_line_that_has_stopped_leaves_all_of_the_time() -> None:
    arrivals = Arrivals()
    last = regular(arrivals)
    assert arrivals.wait(last + 1.05, 0.4) == 0.0


def test_one_long_pause_does_not_hide_that_a_line_has_stopped() -> None:
    arrivals = Arrivals()
    last = regular(arrivals, begin=regular(arrivals) + 8 * 3600)
    assert arrivals.wait(last + 1.05, 0.4) == 0.0
    slow = regular(arrivals, "slow", every=3600.0, begin=last)
    assert arrivals.wait(slow + 3601.0, 0.4) == pytest.approx(9.0), "no longer than 10 s beyond its time"


def test_random_frames_leave_the_time_of_their_smallest_distances() -> None:
    arrivals = Arrivals()
    last = 100.0
    for gap in (0.3, 0.02, 0.5, 0.03, 0.4, 0.6, 0.2, 0.1, 0.25, 0.35):
        last += gap
        arrivals.note("one", last, SLACK)
    assert arrivals.wait(last, 0.01) == 0.0
    assert arrivals.wait(last, 0.1) != 0.0


def test_every_line_counts() -> None:
    arrivals = Arrivals()
    last = regular(arrivals)
    regular(arrivals, "two", every=0.05, begin=last - 9 * 0.05)
    assert arrivals.wait(last + 0.01, 0.03) == 0.0
    assert arrivals.wait(last + 0.01, 0.1) != 0.0, "line two sends its next frame before that"


def test_nothing_begins_that_would_make_a_frame_late() -> None:
    arrivals = Arrivals()
    last = regular(arrivals, every=10.0)
    assert arrivals.wait(last + 1.0, SLACK) == 0.0
    assert arrivals.wait(last + 1.0, SLACK + 0.01) is None
    assert arrivals.wait(last + 1000.0, SLACK + 0.01) is None, "however long the line was silent"


def test_after_the_first_frame_the_next_one_may_come_at_any_time() -> None:
    arrivals = Arrivals()
    arrivals.note("one", 100.0, SLACK)
    assert arrivals.wait(100.1, 0.1) == 0.0
