import math
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from core.adaptation import TextFeatures
from core.tiles import Tiling
from edge.frame_queue import FrameQueue, Job
from edge.pass_times import PassTimes

METHOD: Any = "method"
IMAGE = np.zeros((2, 2, 3), np.uint8)
TEXT = TextFeatures(*[np.zeros((1, 1))] * 2)  # type: ignore[arg-type]


def times(pass_s: float = 0.3, further_s: float = 0.3, batch: int = 1) -> PassTimes:
    known = PassTimes()
    for frames in range(1, batch + 1):
        known.note(frames, pass_s + (frames - 1) * further_s, 0.0)
    return known


def job(due: float = math.inf, line: str = "one") -> Job:
    return Job(METHOD, IMAGE, TEXT, None, line, due, 0.0, Future())


def queue(jobs: Iterable[Job], batch: int = 1, further_s: float = 0.3) -> FrameQueue:
    waiting = FrameQueue(batch, {METHOD: times(0.3, further_s, batch)})
    for one in jobs:
        waiting.add(one)
    return waiting


def lines(jobs: Iterable[Job]) -> list[str]:
    return [one.line for one in jobs]


def test_where_not_all_can_be_ready_the_oldest_of_the_line_that_was_served_most_gives_way() -> None:
    waiting = queue([job(0.4, "busy")])
    waiting.take(0.0, 0.0, doubt=False)
    calm, oldest, newer = job(1.0, "calm"), job(0.7, "busy"), job(0.95, "busy")
    for one in (calm, oldest, newer, job(9.0, "calm")):
        waiting.add(one)
    assert waiting.take(0.3, 0.0, doubt=False) == ([newer], [oldest])
    assert waiting.take(0.6, 0.0, doubt=False) == ([calm], [])
    assert len(waiting) == 1


def test_what_is_due_first_is_first_while_all_can_be_ready() -> None:
    patient, urgent = [job(9.0, "one"), job(9.0, "two")], job(0.4, "three")
    waiting = queue([*patient, urgent])
    assert waiting.take(0.0, 0.0, doubt=False) == ([urgent], [])
    assert waiting.take(0.3, 0.0, doubt=False) == ([patient[0]], [])


def test_a_line_that_went_without_is_next() -> None:
    names = ("a", "b", "c", "d")
    waiting = queue([])
    served = []
    for second in range(8):  # four parts at once each second, of which three can be ready
        for name in names:
            waiting.add(job(second + 1.0, name))
        now = float(second)
        while waiting:
            batch, _ = waiting.take(now, 0.0, doubt=False)
            served += lines(batch)
            now += 0.3
    assert [served.count(name) for name in names] == [6, 6, 6, 6]


@pytest.mark.parametrize("load", [1.05, 1.2, 2.0, 5.0])
@pytest.mark.parametrize("rates", [(1.0,), (0.25,) * 4, (0.1, 0.2, 0.7)])
def test_overload_in_the_long_run(rates: tuple[float, ...], load: float) -> None:
    """Ten minutes, passes of 300 ms that vary, a deadline of 1 s: the device is never idle, and each line has a fair
    share: as much as it asks for, or as much as any other.
    """
    chance = random.Random(load)
    arrivals = []
    for line, rate in enumerate(rates):
        every = 0.3 / load / rate
        begun = chance.random() * every
        times_of = [begun + (number + chance.uniform(-0.2, 0.2)) * every for number in range(round(600 / every))]
        arrivals += [(at, f"line-{line}") for at in times_of]
    arrivals.sort(reverse=True)
    asked = [sum(line == f"line-{number}" for _, line in arrivals) for number in range(len(rates))]
    measured = PassTimes()
    waiting = FrameQueue(1, {METHOD: measured})
    now, judged, late = 0.0, [0] * len(rates), 0
    while arrivals or waiting:
        if not waiting:
            now = max(now, arrivals[-1][0])
        while arrivals and arrivals[-1][0] <= now:
            at, line = arrivals.pop()
            waiting.add(job(at + 1.0, line))
        for begun_job in waiting.take(now, 0.0, doubt=False)[0]:
            took = 0.3 * (1 + abs(chance.gauss(0, 0.03)))
            now += took
            measured.note(1, took, now)
            in_time = now <= begun_job.due
            judged[int(begun_job.line[5:])] += in_time
            late += not in_time
    capacity = 600 / (0.3 * (1 + 0.03 * math.sqrt(2 / math.pi)))
    assert sum(judged) >= 0.94 * capacity
    assert late <= 0.01 * capacity
    fair = _fair(asked, capacity)
    assert judged == pytest.approx(fair, rel=0.08)


def _fair(asked: Sequence[int], capacity: float) -> list[float]:
    """Each gets what it asks for, or as much as any other."""
    found = [0.0] * len(asked)
    for rest, line in enumerate(sorted(range(len(asked)), key=asked.__getitem__)):
        found[line] = min(asked[line], (capacity - sum(found)) / (len(asked) - rest))
    return found


def test_what_is_never_due_has_its_share_too() -> None:
    waiting = queue([])
    served = []
    for step in range(200):
        now = step * 0.3
        for age in (0.0, 0.1, 0.2):
            waiting.add(job(now + 1.0 - age, "busy"))
        if step % 3 == 0:
            waiting.add(job(line="free"))
        served += lines(waiting.take(now, 0.0, doubt=False)[0])
    assert served.count("free") >= 60
    assert served.count("busy") >= 130


def test_what_cannot_be_ready_is_given_up_before_the_pass_that_comes_first() -> None:
    past, hopeless, soon = job(-0.1, "one"), job(0.25, "two"), job(0.55, "three")
    waiting = queue([past, hopeless, soon, job(0.5, "four"), job(1.0, "five")])
    batch, given_up = waiting.take(0.0, 0.0, doubt=False)
    assert batch == [soon]
    assert lines(given_up) == ["one", "two", "four"]
    assert len(waiting) == 1


def test_the_oldest_give_way_where_not_all_can_be_ready() -> None:
    jobs = [job(0.4), job(0.5), job(0.8), job(1.0)]
    batch, given_up = queue(jobs).take(0.0, 0.0, doubt=False)
    assert (batch, given_up) == ([jobs[1]], [jobs[0]])
    batch, given_up = queue([job(0.3 * number + 0.31) for number in range(4)]).take(0.0, 0.0, doubt=False)
    assert given_up == [], "all four can be ready"
    assert queue([job(due) for due in (0.4, 5.0, 6.0)]).take(0.0, 0.0, doubt=False)[1] == []


def test_pauses_between_passes_count() -> None:
    jobs = [job(0.65), job(0.70)]
    assert queue(jobs).take(0.0, 0.0, doubt=False) == ([jobs[0]], [])
    assert queue(jobs).take(0.0, 0.2, doubt=False) == ([jobs[1]], [jobs[0]])


def test_a_batch_makes_none_of_its_members_late() -> None:
    tight, loose, looser = job(0.35, "one"), job(5.0, "two"), job(5.0, "three")
    waiting = queue([tight, loose, looser], batch=3, further_s=0.1)
    assert waiting.take(0.0, 0.0, doubt=False) == ([tight], [])
    assert waiting.take(0.3, 0.0, doubt=False) == ([loose, looser], [])


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
    waiting = queue([job(9.0, "two"), job(9.1, "two")])
    waiting.take(0.0, 0.0, doubt=False)
    waiting.add(job(9.0, "one"))
    assert waiting.ready_at(METHOD, "one", 1.0, 0.0) == pytest.approx(1.3), "its own give way"
    assert waiting.ready_at(METHOD, "two", 1.0, 0.1) == pytest.approx(1.7), "`one` was served less"
    assert waiting.ready_at(METHOD, "three", 1.0, 0.1) == pytest.approx(1.3)
    assert queue([]).ready_at(METHOD, "one", 1.0, 0.0) == pytest.approx(1.3)


def test_a_crowd_costs_little() -> None:
    best = math.inf
    for _ in range(20):
        waiting = queue([job(1.0 + number / 100, f"line-{number % 6}") for number in range(24)])
        begun = perf_counter()
        batch, given_up = waiting.take(0.0, 0.0, doubt=False)
        best = min(best, perf_counter() - begun)
        assert len(batch) + len(given_up) + len(waiting) == 24
    assert best < 0.0005  # of the machine, not of what else it does


def tiled(due: float, line: str, rows: int) -> Job:
    return Job(METHOD, IMAGE, TEXT, None, line, due, 0.0, Future(), tiling=Tiling(1, rows))


def test_tiles_are_rows_of_the_batch() -> None:
    """Four rows in a pass: two frames of two tiles, or one of three beside one as it is."""
    pairs = [tiled(9.0 + number, f"line-{number}", 2) for number in range(3)]
    assert queue(pairs, batch=4, further_s=0.1).take(0.0, 0.0, doubt=False)[0] == pairs[:2]
    three, plain, other = tiled(9.0, "one", 3), job(9.1, "two"), job(9.2, "three")
    assert queue([three, plain, other], batch=4, further_s=0.1).take(0.0, 0.0, doubt=False)[0] == [three, plain]
    large = [tiled(9.0 + number, "one", 6) for number in range(2)]
    assert queue(large, batch=4, further_s=0.1).take(0.0, 0.0, doubt=False)[0] == large[:1], "one frame is never parted"


def test_a_frame_in_tiles_takes_the_time_of_its_rows() -> None:
    """A pass of four rows takes 1.2 s here, of one 0.3 s."""
    late, well = tiled(1.1, "one", 4), tiled(1.3, "two", 4)
    waiting = queue([late, well], batch=4)
    assert waiting.take(0.0, 0.0, doubt=False) == ([well], [late])
    plain = job(1.0, "three")
    waiting = queue([tiled(2.0, "one", 4), plain], batch=4)
    assert waiting.take(0.0, 0.0, doubt=False)[0] == [plain], "with it the other would be late"
    assert queue([tiled(1.25, "one", 4), job(1.3, "two")], batch=4).take(0.0, 0.0, doubt=False)[1] != []
    waiting = queue([], batch=4)
    waiting.add(tiled(9.0, "one", 4))
    waiting.take(0.0, 0.0, doubt=False)
    assert waiting.ready_at(METHOD, "one", 1.0, 0.0) == pytest.approx(2.2), "the line's parts are in tiles"
    assert waiting.ready_at(METHOD, "two", 1.0, 0.0) == pytest.approx(1.3)


SLOW: Any = "a slow method"


def by(inspector: Any, due: float = math.inf, line: str = "one") -> Job:
    return Job(inspector, IMAGE, TEXT, None, line, due, 0.0, Future())


def mixed(jobs: Iterable[Job], batch: int = 4) -> FrameQueue:
    """A pass takes 0.1 s and 0.01 s more for each further frame; by the slow method 1 s, and 0.1 s more."""
    waiting = FrameQueue(batch, {METHOD: times(0.1, 0.01, batch), SLOW: times(1.0, 0.1, batch)})
    for waiting_job in jobs:
        waiting.add(waiting_job)
    return waiting


def test_a_pass_is_of_one_method() -> None:
    fast, slow = [by(METHOD, 9.0), by(METHOD, 9.2)], [by(SLOW, 9.1, "two"), by(SLOW, 9.3, "two")]
    waiting = mixed([*fast, *slow])
    assert waiting.take(0.0, 0.0, doubt=False) == (fast, [])
    assert waiting.take(0.2, 0.0, doubt=False) == (slow, [])


def test_each_frame_is_held_against_the_times_of_its_own_method() -> None:
    fast, late = by(METHOD, 0.5), by(SLOW, 0.5, "two")
    assert mixed([fast, late]).take(0.0, 0.0, doubt=False) == ([fast], [late])
    early, behind = by(METHOD, 0.5), by(SLOW, 1.05, "two")
    assert mixed([early, behind]).take(0.0, 0.0, doubt=False) == ([behind], [early]), "both take 1.1 s"
    assert mixed([early, by(SLOW, 1.2, "two")]).take(0.0, 0.0, doubt=False) == ([early], [])


def test_a_line_waits_for_a_pass_of_another_method_and_joins_one_of_its_own() -> None:
    waiting = mixed([by(METHOD, line="served")])
    waiting.take(0.0, 0.0, doubt=False)
    waiting.add(by(METHOD, line="other"))
    assert waiting.ready_at(METHOD, "served", 1.0, 0.0) == pytest.approx(1.1), "in one pass with the other"
    assert waiting.ready_at(SLOW, "served", 1.0, 0.0) == pytest.approx(1.1 + 1.0)
