import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from core.adaptation import TextFeatures
from core.alfa import Alfa, Inspection
from core.backbone import Backbone, load_backbone
from core.image import Rgb
from edge.clock import monotonic
from edge.inference import Inference, InferenceStoppedError, NotFiniteError, Scored, TooLateError
from edge.ops.worker import Workers
from tests.support.mosquitto import eventually
from tests.support.overload import IMAGE, PacedMethod, inspection, overload
from tests.support.quick import QUICK


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained", None, "cpu", "fp32")


def text() -> TextFeatures:
    generator = torch.Generator().manual_seed(0)
    sides = [torch.nn.functional.normalize(torch.randn(4, 128, generator=generator), dim=-1) for _ in range(2)]
    return TextFeatures(*sides)


def frame(value: int) -> Rgb:
    return np.full((64, 64, 3), value, np.uint8)


def test_what_waits_is_scored_together_and_answered_one_by_one(backbone: Backbone) -> None:
    alfa, inference, words = Alfa(backbone, QUICK), Inference(8), text()
    futures = [inference.submit(alfa, frame(value), words) for value in (0, 100, 200)]
    inference.start()
    scored = [future.result(20) for future in futures]
    inference.stop()
    assert len({one.score_ms for one in scored}) == 1, "one pass"
    for value, one in zip((0, 100, 200), scored, strict=True):
        assert one.inspection.score == pytest.approx(
            Alfa(backbone, QUICK).inspect([frame(value)], [words])[0].score, abs=1e-5
        )
        assert one.queue_ms >= 0


def test_a_bad_frame_costs_the_others_nothing(backbone: Backbone) -> None:
    alfa, inference, words = Alfa(backbone, QUICK), Inference(8), text()
    bad = np.zeros((5, 5), np.uint8)
    futures = [inference.submit(alfa, one, words) for one in (frame(1), bad, frame(2))]
    inference.start()
    assert futures[0].result(20).inspection.score >= 0
    assert futures[2].result(20).inspection.score >= 0
    with pytest.raises((IndexError, ValueError, RuntimeError)):
        futures[1].result(20)
    inference.stop()


def test_stopping_answers_what_waits_and_refuses_what_comes(backbone: Backbone) -> None:
    alfa, inference, words = Alfa(backbone, QUICK), Inference(1), text()
    inference.start()
    futures = [inference.submit(alfa, frame(value), words) for value in range(3)]
    inference.stop()
    assert all(future.done() for future in futures)
    with pytest.raises(InferenceStoppedError):
        inference.submit(alfa, frame(0), words)


def test_calls_are_done_between_passes_in_their_order(backbone: Backbone) -> None:
    alfa, inference, words = Alfa(backbone, QUICK), Inference(8), text()
    first = inference.submit(alfa, frame(1), words)
    grid = inference.ask(alfa, lambda alfa: alfa.backbone.grid)
    broken = inference.ask(alfa, lambda alfa: 1 / 0)
    rest = [inference.submit(alfa, frame(value), words) for value in (2, 3)]
    inference.start()
    assert first.result(20).inspection.score >= 0
    assert grid.result(20) == (15, 15)
    with pytest.raises(ZeroDivisionError):
        broken.result(20)
    assert len({one.result(20).score_ms for one in rest}) == 1, "one pass"
    last = inference.ask(alfa, lambda alfa: alfa.backbone.name)
    inference.stop(60)
    assert last.result(0) == "untrained"
    with pytest.raises(InferenceStoppedError):
        inference.ask(alfa, lambda alfa: None)


def test_lines_take_turns_however_much_one_of_them_asks(backbone: Backbone) -> None:
    alfa, inference, words = Alfa(backbone, QUICK), Inference(2), text()
    order: list[str] = []
    for number in range(4):
        future = inference.submit(alfa, frame(number), words, line="busy")
        future.add_done_callback(lambda _, name=f"busy {number}": order.append(name))  # type: ignore[misc]
    for line in ("calm", "quiet"):
        future = inference.submit(alfa, frame(9), words, line=line)
        future.add_done_callback(lambda _, name=line: order.append(name))  # type: ignore[misc]
    assert inference.waiting == 6
    inference.start()
    inference.stop(60)
    assert set(order[:2]) == {"busy 0", "calm"}
    assert set(order[2:4]) == {"quiet", "busy 1"}
    assert order[4:] == ["busy 2", "busy 3"]


def test_a_frame_whose_answer_is_due_costs_no_pass(backbone: Backbone) -> None:
    alfa, inference, words = Alfa(backbone, QUICK), Inference(4), text()
    late = inference.submit(alfa, frame(1), words, line="one", due=monotonic() - 0.1)
    fresh = inference.submit(alfa, frame(2), words, line="one", due=monotonic() + 60)
    inference.start()
    with pytest.raises(TooLateError):
        late.result(20)
    assert fresh.result(20).inspection.score >= 0
    inference.stop()


def paced(pass_s: Callable[[int], float], batch: int = 1) -> tuple[Inference, PacedMethod]:
    """Inference whose passes take so long."""
    method = PacedMethod(pass_s)
    inference = Inference(batch)
    inference.start()
    return inference, method


def ask_for(inference: Inference, method: Any, line: str = "one", deadline_s: float | None = None) -> Any:
    due = None if deadline_s is None else monotonic() + deadline_s
    return inference.submit(method, IMAGE, None, line=line, due=due)  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [1.2, 2.0, 5.0])
@pytest.mark.parametrize("lines", [1, 4])
def test_overload_costs_the_parts_beyond_capacity_and_never_the_capacity(lines: int, load: float) -> None:
    pass_s = 0.06  # of the deadline as much as of a pass of 300 ms and a deadline of 1 s
    inference, method = paced(lambda frames: pass_s)
    trial = overload(inference, method, {f"line-{line}": load / pass_s / lines for line in range(lines)}, 0.2, 2.0)
    inference.stop()
    capacity = 1 / method.mean_s
    assert trial.share(capacity) >= 0.9
    for line, outcomes in trial.outcomes.items():
        assert trial.judged(line) >= 0.8 * capacity * trial.seconds / lines, "its share"
        refused = [outcome for outcome in outcomes if isinstance(outcome.error, TooLateError)]
        assert sum(outcome.answered < outcome.due for outcome in refused) >= 0.95 * len(refused), "before it was due"


def test_a_line_that_asks_for_too_much_costs_the_others_nothing() -> None:
    inference, method = paced(lambda frames: 0.03)
    trial = overload(inference, method, {"busy": 100.0, "calm": 5.0}, 0.15, 3.0)
    inference.stop()
    assert trial.judged("calm") >= 0.9 * len(trial.outcomes["calm"])
    assert trial.share(1 / method.mean_s) >= 0.9


@pytest.mark.parametrize(("further", "usual"), [(0.2, 4), (1.0, 1)])
def test_batches_grow_where_that_gains_and_make_nobody_late(further: float, usual: int) -> None:
    inference, method = paced(lambda frames: 0.05 * (1 + further * (frames - 1)), batch=4)
    most = max(frames / method.pass_s(frames) for frames in (1, 4))
    trial = overload(inference, method, {f"line-{line}": 2 * most / 4 for line in range(4)}, 0.2, 3.0)
    inference.stop()
    assert trial.share(most) >= 0.9
    assert statistics.mode(frames for frames, _ in method.passes) == usual


def test_what_cannot_be_ready_in_time_is_answered_at_once() -> None:
    inference, method = paced(lambda frames: 0.2)
    assert ask_for(inference, method).result(5).inspection.score == 0.25
    begun = monotonic()
    first, hopeless = ask_for(inference, method, deadline_s=1.0), None
    eventually(lambda: first.running(), 5)
    hopeless = ask_for(inference, method, deadline_s=0.3)  # the pass before it takes 0.2 s, and its own as long
    with pytest.raises(TooLateError, match=r"due in \d+ ms.*a pass takes 2\d\d ms"):
        hopeless.result(0.05)
    assert monotonic() - begun < 0.15
    assert first.result(5).inspection.score == 0.25
    assert len(method.passes) == 2
    inference.stop()


def test_a_pass_that_was_slow_once_locks_nobody_out() -> None:
    durations = iter([0.5])
    inference, method = paced(lambda frames: next(durations, 0.01))
    assert ask_for(inference, method).result(5)  # nothing else is known yet
    with pytest.raises(TooLateError):
        ask_for(inference, method, deadline_s=0.2).result(5)
    time.sleep(1.05)
    assert inference.ready_at(method, "one") <= monotonic()
    assert ask_for(inference, method, deadline_s=0.2).result(5), "tried all the same"
    assert ask_for(inference, method, deadline_s=0.2).result(5), "and believed"
    for _ in range(16):
        ask_for(inference, method).result(5)
    durations = iter([0.5])
    assert ask_for(inference, method).result(5).score_ms > 400
    assert ask_for(inference, method, deadline_s=0.2).result(5), "one of many says nothing"
    inference.stop()
    assert len(method.passes) == 21


def test_it_says_when_a_frame_would_be_ready() -> None:
    inference, method = paced(lambda frames: 0.1)
    assert inference.ready_at(method, "one") <= monotonic(), "nothing is known"
    assert ask_for(inference, method).result(5)
    assert inference.ready_at(method, "one") - monotonic() == pytest.approx(0.1, abs=0.02)
    begun = monotonic()
    futures = [ask_for(inference, method, line) for line in ("two", "two", "three", "three")]
    eventually(lambda: inference.waiting == 3, 5)
    assert inference.ready_at(method, "two") - begun == pytest.approx(
        0.3, abs=0.05
    )  # one is in work, and `three` was served less
    assert inference.ready_at(method, "four") - begun == pytest.approx(0.2, abs=0.05)  # nobody was served less
    assert wait(futures, 5).done
    inference.stop()


def test_a_frame_whose_caller_has_given_up_costs_no_pass() -> None:
    inference, method = paced(lambda frames: 0.1)
    first = ask_for(inference, method)
    eventually(lambda: first.running(), 5)
    second, third = ask_for(inference, method), ask_for(inference, method)
    assert second.cancel()
    assert third.result(5).inspection.score == 0.25
    inference.stop()
    assert len(method.passes) == 2


class Answering:
    """In place of an `Alfa`: says of each frame what `answers` has for its first pixel; a pass with an error fails."""

    def __init__(self, backbone: Backbone, answers: dict[int, Inspection | Exception], pass_s: float = 0.0) -> None:
        self.backbone = backbone
        self.passes: list[list[int]] = []
        self._answers = answers
        self._pass_s = pass_s

    def inspect(self, frames: Sequence[Rgb], *_: object, **__: object) -> list[Inspection]:
        values = [int(image[0, 0, 0]) for image in frames]
        self.passes.append(values)
        time.sleep(self._pass_s)
        answers = [self._answers.get(value, inspection()) for value in values]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [answer for answer in answers if isinstance(answer, Inspection)]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"score": float("nan")}, r"the score \(nan\)"),
        ({"global_score": float("inf")}, r"the global score \(inf\)"),
        ({"local_score": float("-inf")}, r"the local score \(-inf\)"),
        ({"memory_score": float("nan")}, r"the score against the shots \(nan\)"),
        ({"patch_map": np.array([[0.5, np.nan]], np.float32)}, r"a value of the heatmap"),
    ],
)
def test_what_is_no_number_is_refused_and_costs_the_others_nothing(
    backbone: Backbone, bad: dict[str, Any], words: str
) -> None:
    half = replace(backbone, dtype="fp16")
    method: Any = Answering(half, {1: replace(inspection(), **bad)})
    inference = Inference(8)
    futures = [inference.submit(method, frame(value), text()) for value in (0, 1, 2)]
    inference.start()
    assert futures[0].result(20).inspection.score == futures[2].result(20).inspection.score == 0.25
    with pytest.raises(NotFiniteError, match=words + r' is not a finite number; .*in fp16: set model.dtype = "fp32"'):
        futures[1].result(20)
    inference.stop()


def test_a_model_that_overflows_is_refused(backbone: Backbone) -> None:
    """The method itself does not hide it: neither what is infinite nor what is no number becomes a score."""
    alfa, inference = Alfa(backbone, QUICK), Inference(8)
    words = text()
    broken = replace(words, abnormal=words.abnormal * float("inf"))
    futures = [inference.submit(alfa, frame(1), one) for one in (words, broken)]
    inference.start()
    assert futures[0].result(20).inspection.score >= 0
    with pytest.raises(NotFiniteError, match="fetch them again"):
        futures[1].result(20)
    inference.stop()


def test_a_pass_that_fails_is_repeated_frame_by_frame_for_whom_there_is_time(backbone: Backbone) -> None:
    bad = ValueError("a bad frame")
    method = Answering(backbone, {1: bad, 4: bad}, pass_s=0.2)
    inference = Inference(4)
    inference.start()
    assert inference.submit(method, frame(9), text()).result(5)
    inference.ask(method, lambda alfa: time.sleep(0.1))  # so that all of them wait
    futures = [
        inference.submit(method, frame(value), text(), line=str(value), due=due and monotonic() + due)
        for value, due in enumerate((None, 0.44, 0.47, 10.0, None))
    ]
    assert futures[0].result(5).inspection.score == futures[3].result(5).inspection.score == 0.25
    with pytest.raises(ValueError, match="a bad frame"):
        futures[4].result(5)
    for future in futures[1:3]:  # they were in the first pass, and there is no time for another
        with pytest.raises(TooLateError):
            future.result(5)
    inference.stop()
    assert method.passes[:2] == [[9], [1, 2]]
    assert method.passes[-3:] == [[3], [0], [4]]


def test_calls_and_passes_alternate_and_lines_take_turns_with_their_calls() -> None:
    order: list[str] = []
    method = PacedMethod(lambda frames: 0.0)
    inference = Inference(1)
    for number in range(3):
        inference.ask(method, lambda alfa, name=f"a{number}": order.append(name), line="a")  # type: ignore[misc]
    inference.ask(method, lambda alfa: order.append("b0"), line="b")
    for number in range(3):
        future = ask_for(inference, method)
        future.add_done_callback(lambda _, name=f"pass {number}": order.append(name))
    inference.start()
    inference.stop()
    assert order == ["a0", "pass 0", "b0", "pass 1", "a1", "pass 2", "a2"]


def test_frames_go_on_while_one_asks_and_asks() -> None:
    inference, method = paced(lambda frames: 0.01)
    calls = [inference.ask(method, lambda alfa: time.sleep(0.02)) for _ in range(200)]
    trial = overload(inference, method, {"one": 20.0}, 0.2, 2.0)
    assert trial.judged() >= 0.95 * 40
    assert sum(call.done() for call in calls) > 50, "calls go on, too"
    for call in calls:
        call.cancel()
    inference.stop()


def test_what_waits_for_a_thread_that_never_ran_is_answered_at_the_end() -> None:
    method: Any = PacedMethod(lambda frames: 0.0)
    inference = Inference(1)
    futures = [ask_for(inference, method), inference.ask(method, lambda alfa: None)]
    inference.stop()
    for future in futures:
        with pytest.raises(InferenceStoppedError):
            future.result(0)


def test_it_costs_a_part_next_to_nothing() -> None:
    inference, method = paced(lambda frames: 0.0)
    costs = []
    for number in range(500):
        begun = monotonic()
        inference.ready_at(method, f"line-{number % 4}")
        assert isinstance(ask_for(inference, method, f"line-{number % 4}", 1.0).result(5), Scored)
        costs.append(monotonic() - begun)
    inference.stop()
    assert statistics.median(costs) < 0.0005  # both hand-overs between threads and the stand-in's own work are in it


def test_a_thread_that_has_failed_is_told() -> None:
    class Broken:
        def inspect(self, *_: object, **__: object) -> None:
            raise SystemExit

    workers = Workers()
    method: Any = Broken()
    inference = Inference(1, workers)
    inference.start()
    ask_for(inference, method)
    assert workers.failed.wait(5)
    assert workers.failure == "the thread inference has failed: SystemExit: "
