"""The one loop of all threads: it works when woken or when its time has come, ends in order, and fails loudly."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from edge.ops import worker as module
from edge.ops.alarms import Alarms
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


def test_a_failure_is_told_to_who_waits_and_one_of_a_thread_that_is_not_vital_is_none_of_the_services() -> None:
    told = threading.Event()
    workers = Workers(on_failure=told.set)

    def fail() -> float | None:
        raise ValueError("broken")

    extra = Worker(workers, "extra", fail, vital=False)
    extra.start()
    until(lambda: not extra.alive)
    assert workers.stalled_names() == ["extra"]
    assert workers.stalled() is None
    assert not workers.failed.is_set()
    assert not told.is_set()
    Worker(workers, "vital", fail).start()
    assert told.wait(2.0)
    assert workers.failed.is_set()


def test_a_standstill_of_twice_the_patience_is_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    workers, begun, goes_on = Workers(), threading.Event(), threading.Event()

    def work() -> float | None:
        begun.set()
        goes_on.wait(5.0)
        return None

    worker = Worker(workers, "slow", work, patience_s=10.0)
    worker.start()
    assert begun.wait(2.0)
    for silent_s, stalled, hopeless in ((9.0, False, False), (19.0, True, False), (21.0, True, True)):
        now[0] = 100.0 + silent_s
        assert bool(workers.stalled()) is stalled
        assert bool(workers.hopeless()) is hopeless
    goes_on.set()
    assert worker.stop(2.0)
    assert workers.hopeless() is None


NICE = """
import os, sys, threading
from edge.ops.worker import Worker, Workers

if os.geteuid() == 0 and sys.argv[2] == "nobody":
    os.setuid(65534)
os.nice(int(sys.argv[1]))
workers, done, priorities = Workers(), threading.Event(), set()

def work():
    priorities.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    done.set()

worker = Worker(workers, "archive", work, low_priority=True)
worker.start()
done.wait(10)
assert worker.stop(10)
assert workers.alarms.every() == []
print(*priorities)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
@pytest.mark.parametrize("user", ["nobody", "the same"])
@pytest.mark.parametrize("nice", [0, 5, 10, 15, 19])
def test_a_thread_of_low_priority_works_however_low_the_services_own_is(nice: int, user: str) -> None:
    expected = max(10, min(19, os.nice(0) + nice))  # what runs the tests may be niced itself
    done = subprocess.run(
        [sys.executable, "-c", NICE, str(nice), user], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == expected


def test_a_kernel_that_refuses_the_priority_is_an_alarm_and_the_thread_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, who: int, priority: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "getpriority", lambda which, who: 0)
    monkeypatch.setattr(os, "setpriority", refuse)
    alarms, worked = Alarms(), threading.Event()

    def work() -> float | None:
        worked.set()
        return None

    worker = Worker(Workers(alarms), "archive", work, low_priority=True)
    worker.start()
    assert worked.wait(2.0)
    assert worker.stop(2.0)
    (alarm,) = alarms.every()
    assert (alarm.code, alarm.message) == (
        "priority",
        "the thread archive keeps its priority: the kernel says Permission denied",
    )
