import statistics
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any, cast

import pytest

from core.alfa import Alfa
from edge.clock import monotonic
from edge.inference import Inference, InferenceStoppedError, Scored
from tests.support.mosquitto import eventually
from tests.support.overload import IMAGE, PacedMethod

TEXT = cast(Any, None)


def paced(pass_s: float) -> Alfa:
    return cast(Alfa, PacedMethod(lambda _: pass_s))


def passes(method: Alfa) -> int:
    return len(cast(PacedMethod, method).passes)


@pytest.fixture
def inference() -> Iterator[Inference]:
    running = Inference(4)
    running.start()
    yield running
    running.stop()


def feed(inference: Inference, live: Alfa, parts: int, every: float, slack: float = 1.0) -> list[Future[Scored]]:
    """Frames of one line at equal distances."""
    begin, found = monotonic(), []
    for number in range(parts):
        time.sleep(max(0.0, begin + number * every - monotonic()))
        found.append(inference.submit(live, IMAGE, TEXT, line="one", due=monotonic() + slack))
    return found


def test_a_spare_frame_is_inspected_where_nothing_else_comes(inference: Inference) -> None:
    assert inference.submit_spare(paced(0.001), IMAGE, TEXT).result(5).inspection.score == 0.25
    assert inference.waiting == 0


def test_spare_frames_have_the_time_between_regular_ones_and_delay_none(inference: Inference) -> None:
    live, shadow = paced(0.005), paced(0.02)
    alone = [future.result(5).queue_ms for future in feed(inference, live, 15, 0.1)]
    spare = []
    found = []
    for _ in range(15):
        found += feed(inference, live, 1, 0.0)
        found[-1].result(5)
        spare.append(inference.submit_spare(shadow, IMAGE, TEXT, line="one"))
        time.sleep(0.1)
    wait(spare, 5)
    beside = [future.result(5).queue_ms for future in found]
    assert passes(shadow) == 15
    assert statistics.median(beside) < statistics.median(alone) + 5


def test_a_spare_frame_waits_while_frames_come_too_fast_for_it(inference: Inference) -> None:
    live, shadow = paced(0.002), paced(0.05)
    inference.submit_spare(shadow, IMAGE, TEXT).result(5)  # from here on its duration is known
    feed(inference, live, 10, 0.03)
    spare = inference.submit_spare(shadow, IMAGE, TEXT)
    wait(feed(inference, live, 20, 0.03), 5)
    assert passes(shadow) == 1
    assert spare.result(5), "once the line has stopped there is time"


def test_a_spare_frame_never_makes_a_frame_late(inference: Inference) -> None:
    live, shadow = paced(0.002), paced(0.1)
    inference.submit_spare(shadow, IMAGE, TEXT).result(5)
    feed(inference, live, 2, 0.01, slack=0.05)
    spare = inference.submit_spare(shadow, IMAGE, TEXT)
    time.sleep(0.3)
    assert not spare.done(), "a frame that came during its pass would be late"
    feed(inference, live, 1, 0.0, slack=1.0)
    assert spare.result(5)


def test_a_short_spare_pass_does_not_stand_behind_a_long_one(inference: Inference) -> None:
    live, long, short = paced(0.001), paced(0.2), paced(0.005)
    for method in (long, short):
        inference.submit_spare(method, IMAGE, TEXT).result(5)
    feed(inference, live, 10, 0.05)
    waiting = inference.submit_spare(long, IMAGE, TEXT)
    time.sleep(0.05)
    feed(inference, live, 1, 0.0)
    assert inference.submit_spare(short, IMAGE, TEXT).result(0.15)
    assert not waiting.done()


def test_calls_go_before_spare_frames() -> None:
    inference, order = Inference(4), list[str]()
    method = paced(0.001)
    spare = inference.submit_spare(method, IMAGE, TEXT)
    spare.add_done_callback(lambda _: order.append("spare"))
    inference.ask(method, lambda _: order.append("call"))
    inference.start()
    eventually(lambda: len(order) == 2)
    inference.stop()
    assert order == ["call", "spare"]


def test_the_end_does_not_wait_for_spare_frames() -> None:
    inference = Inference(4)
    spare = inference.submit_spare(paced(10.0), IMAGE, TEXT)
    inference.stop()
    with pytest.raises(InferenceStoppedError):
        spare.result(0)
    with pytest.raises(InferenceStoppedError):
        inference.submit_spare(paced(0.0), IMAGE, TEXT)


def test_a_spare_pass_that_fails_costs_only_itself(inference: Inference) -> None:
    class Broken(PacedMethod):
        def inspect(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no memory")

    broken = cast(Alfa, Broken(lambda _: 0.0))
    with pytest.raises(RuntimeError, match="no memory"):
        inference.submit_spare(broken, IMAGE, TEXT).result(5)
    assert inference.submit(paced(0.001), IMAGE, TEXT).result(5)
