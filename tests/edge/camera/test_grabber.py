from __future__ import annotations

import itertools
import json
import threading
import time

import numpy as np
import pytest

from core.image import Rgb
from edge.camera import grabber as module
from edge.camera.errors import SourceError
from edge.camera.exposure import UNKNOWN
from edge.camera.frame import Frame, Parts
from edge.camera.grabber import Grabber
from edge.ops.backoff import Backoff
from edge.settings import CameraSettings

SETTINGS = CameraSettings(
    source="http://camera/", open_timeout_s=0.1, read_timeout_s=0.1, retry_s=0.01, retry_max_s=0.04
)


class Stub:
    """A live source whose every grab is let through by the test."""

    live = True
    simulated = False
    name = None
    notice = None
    exposure = UNKNOWN
    ready = None

    def __init__(self, lags: bool = False) -> None:
        self.lags = lags
        self.gate = threading.Semaphore(0)
        self.waiting = threading.Semaphore(0)

    def grab(self) -> bool:
        self.waiting.release()
        self.gate.acquire()
        return True

    def retrieve(self) -> Rgb:
        return np.zeros((16, 16, 3), np.uint8)

    def close(self) -> None:
        pass


def frames(messages: list[Parts]) -> list[Frame]:
    return [Frame.from_parts(parts) for parts in messages if len(parts) == 2]


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(1, 5)
    assert [backoff.fail() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.succeed()
    assert backoff.fail() == 1


def test_a_call_that_hangs_is_reported_while_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MARGIN_S", 0.1)
    stub = Stub()
    grabber = Grabber(SETTINGS, lambda parts: None, lambda settings: stub)
    grabber.start()
    assert stub.waiting.acquire(timeout=5)
    assert grabber.report().hung is None
    time.sleep(0.3)
    assert "reading a frame hangs" in (grabber.report().hung or "")
    stub.gate.release()
    assert stub.waiting.acquire(timeout=5)
    assert grabber.report().hung is None
    grabber.close()
    stub.gate.release()
    grabber.join(5)
    assert not grabber.is_alive()


@pytest.mark.parametrize("lags", [False, True])
def test_a_frame_that_comes_late_is_stamped_with_the_grab_before(lags: bool) -> None:
    stub = Stub(lags)
    messages: list[Parts] = []
    grabber = Grabber(SETTINGS, messages.append, lambda settings: stub)
    grabber.start()
    stub.gate.release()
    assert stub.waiting.acquire(timeout=5)
    assert stub.waiting.acquire(timeout=5)
    first = time.monotonic()
    grabber.want(1)
    time.sleep(0.1)
    stub.gate.release()
    assert stub.waiting.acquire(timeout=5)
    (frame,) = frames(messages)
    assert (frame.number, frame.dropped) == (2, 1)
    assert (frame.captured <= first) is lags
    assert abs((frame.captured_at.timestamp() - time.time()) - (frame.captured - time.monotonic())) < 0.05
    grabber.close()
    stub.gate.release()
    grabber.join(5)


def test_failures_to_open_are_counted_and_paced() -> None:
    attempts: list[float] = []
    messages: list[Parts] = []

    def opener(settings: CameraSettings) -> Stub:
        attempts.append(time.monotonic())
        raise SourceError("http://user:hunter2@camera/: is off")

    grabber = Grabber(SETTINGS, messages.append, opener)
    grabber.start()
    while len(attempts) < 5:
        time.sleep(0.005)
    grabber.close()
    grabber.join(5)
    pauses = [after - before for before, after in itertools.pairwise(attempts)]
    assert all(pause >= least for pause, least in zip(pauses, (0.01, 0.02, 0.04, 0.04), strict=False))
    reports = [json.loads(bytes(parts[0])) for parts in messages]
    assert {report["state"] for report in reports} == {"fault"}
    assert {report["reason"] for report in reports} == {"http://camera: is off"}
    assert max(report["reconnects"] for report in reports) >= 4


class Regular(Stub):
    """A live source with a frame every 20 ms, but for one that is late."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0

    def grab(self) -> bool:
        self.frames += 1
        time.sleep(0.3 if self.frames == 10 else 0.02)
        return True


def test_the_interval_between_frames_is_measured_in_spite_of_one_that_is_late() -> None:
    grabber = Grabber(SETTINGS, lambda parts: None, lambda settings: Regular())
    assert grabber.report().interval_s is None
    grabber.start()
    number = 0
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        grabber.want(number := number + 1)
        time.sleep(0.02)
    interval_s = grabber.report().interval_s
    grabber.close()
    grabber.join(5)
    assert interval_s == pytest.approx(0.02, abs=0.015)
