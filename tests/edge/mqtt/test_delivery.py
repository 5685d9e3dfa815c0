"""The one thread that sends what is behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from edge.mqtt.delivery import Delivery
from edge.ops.worker import Workers
from tests.support.mosquitto import Mosquitto, eventually
from tests.support.publisher import Publishers, connected

FOREVER = 60.0


class Line:
    """Counts the looks at it, and in which threads they were."""

    def __init__(self, again_s: float = FOREVER) -> None:
        self.again_s = again_s
        self.looks: list[float] = []
        self.threads: set[str] = set()

    def look(self) -> float:
        self.looks.append(time.monotonic())
        self.threads.add(threading.current_thread().name)
        return self.again_s


@pytest.fixture
def delivery() -> Iterator[Delivery]:
    made = Delivery()
    yield made
    made.stop()


def test_each_line_is_looked_at_when_it_is_due_all_in_one_thread(delivery: Delivery) -> None:
    often, seldom = Line(0.02), Line()
    delivery.add(often)
    delivery.add(seldom)
    assert (often.looks, seldom.looks) == ([], [])  # not before the start
    delivery.start()
    delivery.start()
    eventually(lambda: len(often.looks) >= 5)
    assert len(seldom.looks) == 1
    delivery.wake(seldom)
    eventually(lambda: len(seldom.looks) == 2)
    assert often.threads == seldom.threads == {"delivery"}


def test_a_wake_during_a_look_is_not_lost(delivery: Delivery) -> None:
    class Woken(Line):
        def look(self) -> float:
            if not self.looks:
                delivery.wake(self)
            return super().look()

    line = Woken()
    delivery.start()
    delivery.add(line)
    eventually(lambda: len(line.looks) == 2)
    time.sleep(0.05)
    assert len(line.looks) == 2


def test_a_line_that_was_removed_is_looked_at_no_more(delivery: Delivery) -> None:
    line = Line(0.01)
    delivery.start()
    delivery.add(line)
    eventually(lambda: len(line.looks) > 2)
    delivery.remove(line)
    time.sleep(0.05)
    before = len(line.looks)
    delivery.wake(line)  # a late callback of its connection
    time.sleep(0.05)
    assert len(line.looks) == before


def test_stop_ends_the_thread_and_may_come_twice_or_without_a_start() -> None:
    delivery = Delivery()
    delivery.start()
    delivery.add(Line(0.001))
    delivery.stop()
    delivery.stop()
    assert "delivery" not in {thread.name for thread in threading.enumerate()}
    Delivery().stop()


def test_a_failure_ends_the_service() -> None:
    class Broken(Line):
        def look(self) -> float:
            raise ZeroDivisionError

    workers = Workers()
    delivery = Delivery(workers)
    delivery.start()
    delivery.add(Broken())
    assert workers.failed.wait(5)
    assert "delivery has failed: ZeroDivisionError" in str(workers.failure)


def test_lines_have_no_thread_but_the_network_s(mosquitto: Mosquitto, publisher_of: Publishers) -> None:
    before = threading.active_count()
    publishers = [publisher_of.make(mosquitto.port, f"line-{number}", None) for number in range(4)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        connected(publisher)
    assert threading.active_count() - before == 4 + 1
    for publisher in publishers:
        publisher.stop()
    assert threading.active_count() - before == 1  # of the delivery
