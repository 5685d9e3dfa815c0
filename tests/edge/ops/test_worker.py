"""The one loop of all threads: it works when woken or when its time has come, ends in order, and fails loudly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from edge.ops.worker import Worker, Workers


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def test_works_at_start_when_woken_and_at_its_time() -> None:
    calls: list[float] = []

    def work() -> float | None:
        calls.append(time.monotonic())
        return 0.05 if len(calls) == 1 else None

    worker = Worker(None, "test", work)
    worker.start()
    until(lambda: len(calls) == 2)
    assert calls[1] - calls[0] >= 0.05
    time.sleep(0.1)
    assert len(calls) == 2
    worker.wake()
    until(lambda: len(calls) == 3)
    assert worker.stop(1.0)


def test_finishes_its_work_before_it_ends() -> None:
    left = [3]

    def work() -> float | None:
        if not left[0]:
            return None
        left[0] -= 1
        return 0.01 if worker.stopping else None

    worker = Worker(None, "test", work)
    worker.start()
    assert worker.stop(2.0)
    assert left == [0]
    assert not worker.alive


def test_a_failure_is_told_and_ends_the_thread() -> None:
    workers = Workers()

    def work() -> float | None:
        raise ValueError("broken")

    worker = Worker(workers, "judge", work)
    worker.start()
    assert workers.failed.wait(2.0)
    assert workers.failure == "the thread judge has failed: ValueError: broken"
    until(lambda: not worker.alive)
    assert workers.stalled() == "judge: its thread has ended"


def test_a_standstill_is_told_while_it_lasts() -> None:
    workers, goes_on = Workers(), threading.Event()

    def work() -> float | None:
        goes_on.wait(5.0)
        return None

    worker = Worker(workers, "slow", work, patience_s=0.05)
    assert workers.stalled() is None
    worker.start()
    until(workers.stalled)
    assert (workers.stalled() or "").startswith("slow: no progress for")
    goes_on.set()
    until(lambda: workers.stalled() is None)
    assert worker.stop(1.0)
    assert workers.stalled() is None


def test_may_be_stopped_without_a_start() -> None:
    worker = Worker(None, "idle", lambda: pytest.fail("nothing was to be done"))
    assert worker.stop()
    assert worker.stop()
