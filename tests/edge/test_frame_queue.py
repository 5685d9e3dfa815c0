import math
from collections.abc import Iterable
from concurrent.futures import Future
from time import perf_counter

import numpy as np
import pytest

from core.adaptation import TextFeatures
from edge.frame_queue import FrameQueue, Job
from edge.pass_times import PassTimes

IMAGE = np.zeros((2, 2, 3), np.uint8)
TEXT = TextFeatures(*[np.zeros((1, 1))] * 2)  # type: ignore[arg-type]


def times(pass_s: float = 0.3, further_s: float = 0.3, batch: int = 1) -> PassTimes:
    known = PassTimes()
    for frames in range(1, batch + 1):
        known.note(frames, pass_s + (frames - 1) * further_s, 0.0)
    return known


def job(due: float = math.inf, line: str = "one") -> Job:
    return Job(IMAGE, TEXT, None, line, due, 0.0, Future())


def queue(jobs: Iterable[Job], batch: int = 1, further_s: float = 0.3) -> FrameQueue:
    waiting = FrameQueue(batch, times(0.3, further_s, batch))
    for one in jobs:
        waiting.add(one)
    return waiting


def lines(jobs: Iterable[Job]) -> list[str]:
    return [one.line for one in jobs]


def test_where_not_all_can_be_ready_the_line_that_was_served_longest_ago_is_next() -> None:
    later, sooner = job(9.0), job(1.0)
    waiting = queue([later, job(0.65, "two"), sooner, job(0.35, "three"), job(0.4, "four")])
    assert waiting.take(0.0, 0.0, doubt=False)[0] == [sooner]
    waiting.add(job(0.6, "one"))
    assert lines(waiting.take(0.3, 0.0, doubt=False)[0]) == ["two"]


def test_what_is_due_first_is_first_while_all_can_be_ready() -> None:
    patient, urgent = [job(9.0, "one"), job(9.0, "two")], job(0.4, "three")
    waiting = queue([*patient, urgent])
    assert waiting.take(0.0, 0.0, doubt=False) == ([urgent], [])
    assert waiting.take(0.3, 0.0, doubt=False) == ([patient[0]], [])


def test_a_line_that_went_without_keeps_its_turn() -> None:
    names = ("a", "b", "c", "d")
    waiting = queue([])
    served = []
    for second in range(4):  # four parts at once each second, of which three can be ready
        for name in names:
            waiting.add(job(second + 1.0, name))
        now = float(second)
        while waiting:
            batch, _ = waiting.take(now, 0.0, doubt=False)
            served += lines(batch)
            now += 0.3
    assert served == ["a", "b", "c", "d", "a", "b", "c", "d", "a", "b", "c", "d"]


def test_what_cannot_be_ready_is_given_up_before_the_pass_that_comes_first() -> None:
    soon, hopeless, past = job(0.55, "one"), job(0.5, "two"), job(-0.1, "three")
    waiting = queue([soon, hopeless, past, job(1.0, "four")])
    batch, given_up = waiting.take(0.0, 0.0, doubt=False)
    assert batch == [soon]
    assert set(map(id, given_up)) == {id(past), id(hopeless)}
    assert len(waiting) == 1


def test_the_oldest_give_way_where_not_all_can_be_ready() -> None:
    jobs = [job(0.4), job(0.5), job(0.8), job(1.0)]
    batch, given_up = queue(jobs).take(0.0, 0.0, doubt=False)
    assert (batch, given_up) == ([jobs[1]], [jobs[0]])
    batch, given_up = queue([job(0.3 * number + 0.31) for number in range(4)]).take(0.0, 0.0, doubt=False)
    assert given_up == [], "all four can be ready"
    assert queue([job(due) for due in (0.4, 5.0, 6.0)]).take(0.0, 0.0, doubt=False)[1] == []


def test_nobody_gives_way_for_one_that_cannot_be_ready_anyway_or_in_another_line() -> None:
    hopeless = job(0.2)
    waiting = queue([job(0.4), job(5.0), hopeless, job(0.55, "two")])
    batch, given_up = waiting.take(0.0, 0.0, doubt=False)
    assert [one.due for one in batch] == [0.4]
    assert [one.due for one in given_up] == [0.2, 0.55]  # one before the pass, one for which it is the last straw


def test_pauses_between_passes_count() -> None:
    jobs = [job(0.65), job(0.70)]
    assert queue(jobs).take(0.0, 0.0, doubt=False) == ([jobs[0]], [])
    assert queue(jobs).take(0.0, 0.2, doubt=False) == ([jobs[1]], [jobs[0]])


def test_a_batch_makes_none_of_its_members_late() -> None:
    tight, loose, looser = job(0.35, "one"), job(5.0, "two"), job(5.0, "three")
    waiting = queue([tight, loose, looser], batch=3, further_s=0.1)
    assert waiting.take(0.0, 0.0, doubt=False) == ([tight], [])
    assert waiting.take(0.3, 0.0, doubt=False) == ([loose, looser], [])
    past_saving = job(0.3, "four")
    waiting = queue([loose, past_saving, tight, looser], batch=3, further_s=0.1)
    batch, given_up = waiting.take(0.0, 0.0, doubt=False)
    assert (batch, given_up) == ([loose, looser], [past_saving, tight])  # lines in turn: there is no time for both


def test_a_batch_takes_more_of_a_line_where_there_are_no_others() -> None:
    jobs = [job(9.0), job(9.1), job(9.2)]
    assert queue(jobs, batch=2, further_s=0.1).take(0.0, 0.0, doubt=False)[0] == jobs[:2]
    assert queue(jobs, batch=2, further_s=0.3).take(0.0, 0.0, doubt=False)[0] == jobs[:1], "it gains nothing"


def test_in_doubt_a_frame_is_tried_rather_than_none() -> None:
    waiting = queue([job(0.1), job(0.2, "two"), job(-0.1, "three")])
    batch, given_up = waiting.take(0.0, 0.0, doubt=True)
    assert lines(batch) == ["two"]
    assert lines(given_up) == ["three", "one"]
    assert not waiting


def test_after_a_failed_pass_each_frame_has_one_of_its_own_and_its_lines_their_turn() -> None:
    jobs = [job(9.0, "one"), job(9.0, "two")]
    waiting = queue([*jobs, job(9.0, "three")], batch=2, further_s=0.0)
    batch, _ = waiting.take(0.0, 0.0, doubt=False)
    assert batch == jobs
    waiting.put_back(batch)
    assert waiting.take(0.3, 0.0, doubt=False)[0] == [jobs[0]]
    assert waiting.take(0.6, 0.0, doubt=False)[0] == [jobs[1]]
    assert lines(waiting.take(0.9, 0.0, doubt=False)[0]) == ["three"]


def test_it_says_when_a_frame_would_be_ready() -> None:
    waiting = queue([job(9.0, "one"), job(9.0, "two"), job(9.0, "two")])
    assert waiting.ready_at("one", 1.0, 0.0) == pytest.approx(1.3)
    assert waiting.ready_at("two", 1.0, 0.0) == pytest.approx(1.6)
    assert waiting.ready_at("three", 1.0, 0.1) == pytest.approx(2.1)
    assert queue([]).ready_at("one", 1.0, 0.0) == pytest.approx(1.3)


def test_a_crowd_costs_little() -> None:
    best = math.inf
    for _ in range(20):
        waiting = queue([job(1.0 + number / 100, f"line-{number % 6}") for number in range(24)])
        begun = perf_counter()
        batch, given_up = waiting.take(0.0, 0.0, doubt=False)
        best = min(best, perf_counter() - begun)
        assert (len(batch), len(given_up)) == (1, 23 - len(waiting))
    assert best < 0.0005  # of the machine, not of what else it does
