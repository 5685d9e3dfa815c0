import numpy as np
import pytest
import torch

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.backbone import Backbone, load_backbone
from core.image import Rgb
from edge.clock import monotonic
from edge.inference import Inference, InferenceStoppedError, TooLateError


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
    scorer, words = Inference(Alfa(backbone), 8), text()
    futures = [scorer.submit(frame(value), words) for value in (0, 100, 200)]
    scorer.start()
    scored = [future.result(20) for future in futures]
    scorer.stop()
    assert len({one.score_ms for one in scored}) == 1, "one pass"
    for value, one in zip((0, 100, 200), scored, strict=True):
        assert one.inspection.score == pytest.approx(Alfa(backbone).inspect([frame(value)], [words])[0].score, abs=1e-5)
        assert one.queue_ms >= 0


def test_a_bad_frame_costs_the_others_nothing(backbone: Backbone) -> None:
    scorer, words = Inference(Alfa(backbone), 8), text()
    bad = np.zeros((5, 5), np.uint8)
    futures = [scorer.submit(one, words) for one in (frame(1), bad, frame(2))]
    scorer.start()
    assert futures[0].result(20).inspection.score >= 0
    assert futures[2].result(20).inspection.score >= 0
    with pytest.raises((IndexError, ValueError, RuntimeError)):
        futures[1].result(20)
    scorer.stop()


def test_stopping_answers_what_waits_and_refuses_what_comes(backbone: Backbone) -> None:
    scorer, words = Inference(Alfa(backbone), 1), text()
    scorer.start()
    futures = [scorer.submit(frame(value), words) for value in range(3)]
    scorer.stop()
    assert all(future.done() for future in futures)
    with pytest.raises(InferenceStoppedError):
        scorer.submit(frame(0), words)


def test_errands_are_done_between_passes_in_their_order(backbone: Backbone) -> None:
    scorer, words = Inference(Alfa(backbone), 8), text()
    first = scorer.submit(frame(1), words)
    grid = scorer.ask(lambda alfa: alfa.backbone.grid)
    broken = scorer.ask(lambda alfa: 1 / 0)
    rest = [scorer.submit(frame(value), words) for value in (2, 3)]
    scorer.start()
    assert first.result(20).inspection.score >= 0
    assert grid.result(20) == (15, 15)
    with pytest.raises(ZeroDivisionError):
        broken.result(20)
    assert len({one.result(20).score_ms for one in rest}) == 1, "one pass"
    last = scorer.ask(lambda alfa: alfa.backbone.name)
    scorer.stop()
    assert last.result(0) == "untrained"
    with pytest.raises(InferenceStoppedError):
        scorer.ask(lambda alfa: None)


def test_lines_take_turns_however_much_one_of_them_asks(backbone: Backbone) -> None:
    scorer, words = Inference(Alfa(backbone), 2), text()
    order: list[str] = []
    for number in range(4):
        future = scorer.submit(frame(number), words, line="busy")
        future.add_done_callback(lambda _, name=f"busy {number}": order.append(name))  # type: ignore[misc]
    for line in ("calm", "quiet"):
        future = scorer.submit(frame(9), words, line=line)
        future.add_done_callback(lambda _, name=line: order.append(name))  # type: ignore[misc]
    assert scorer.waiting == 6
    scorer.start()
    scorer.stop()
    assert set(order[:2]) == {"busy 0", "calm"}
    assert set(order[2:4]) == {"quiet", "busy 1"}
    assert order[4:] == ["busy 2", "busy 3"]


def test_a_frame_whose_answer_is_due_costs_no_pass(backbone: Backbone) -> None:
    scorer, words = Inference(Alfa(backbone), 4), text()
    late = scorer.submit(frame(1), words, line="one", due=monotonic() - 0.1)
    fresh = scorer.submit(frame(2), words, line="one", due=monotonic() + 60)
    scorer.start()
    with pytest.raises(TooLateError):
        late.result(20)
    assert fresh.result(20).inspection.score >= 0
    scorer.stop()
