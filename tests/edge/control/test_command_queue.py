"""Who waits for whom: nobody for a slow command, but the next one of the same sender."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from edge.control.command_queue import CommandQueue
from edge.control.protocol import MAX_BYTES, Reply, Request
from edge.ops.alarms import Alarms
from tests.support.mosquitto import eventually

PATIENCE_S = 10.0


class Asking:
    """A queue whose long commands wait until they are let go."""

    def __init__(self, limit_s: float = 60.0) -> None:
        self.alarms = Alarms()
        self.go = threading.Event()
        self.begun: list[str] = []
        self.replies: dict[str, Reply] = {}
        self.order: list[str] = []
        self._came = threading.Condition()
        self.queue = CommandQueue(
            self._answer, lambda command: command == "pause", lambda _request: limit_s, self.alarms
        )

    def _answer(self, request: Request, _blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        self.begun.append(request.id)
        if request.command in ("import", "enroll"):
            assert self.go.wait(PATIENCE_S)
        if request.command == "enroll":
            raise RuntimeError("the inference has ended")
        if request.command == "break":
            raise OSError("the disk is full")
        return Reply(id=request.id, result={}), ()

    def ask(self, identity: str, command: str, sender: str | None = None, blobs: Sequence[bytes] = ()) -> None:
        def send(reply: Reply, _pictures: Sequence[bytes]) -> None:
            with self._came:
                self.replies[identity] = reply
                self.order.append(identity)
                self._came.notify()

        self.queue.submit(Request(id=identity, command=command), blobs, send, sender)

    def until(self, reached: Callable[[], bool]) -> None:
        with self._came:
            assert self._came.wait_for(reached, PATIENCE_S), self.order

    def refusal(self, identity: str) -> str | None:
        refusal = self.replies[identity].refusal
        return refusal.code if refusal is not None else None


@contextmanager
def queue(limit_s: float = 60.0) -> Iterator[Asking]:
    asking = Asking(limit_s)
    try:
        yield asking
    finally:
        asking.go.set()
        asking.queue.stop()


def test_a_pause_overtakes_the_import_of_its_own_line() -> None:
    with queue() as asking:
        asking.ask("import", "import", "one")
        asking.ask("set", "recipe_set", "one")
        asking.ask("pause", "pause", "one")
        asking.until(lambda: "pause" in asking.replies)
        assert asking.order == ["pause"]
        assert "set" not in asking.begun, "it has to wait for the import"
        asking.ask("other", "recipe_set", "two")
        asking.until(lambda: "other" in asking.replies)
        asking.go.set()
        asking.until(lambda: len(asking.replies) == 4)
        assert asking.order == ["pause", "other", "import", "set"]


def test_commands_of_no_sender_are_done_side_by_side_and_pauses_beside_many_of_them() -> None:
    with queue() as asking:
        for number in range(20):  # more than there are threads
            asking.ask(str(number), "import")
        asking.ask("pause", "pause")
        asking.until(lambda: "pause" in asking.replies)
        assert len(asking.begun) > 2
        asking.go.set()
        asking.until(lambda: len(asking.replies) == 21)
        assert all(asking.refusal(identity) is None for identity in asking.replies)


def test_what_breaks_is_told_and_the_next_is_done() -> None:
    with queue() as asking:
        asking.ask("1", "break", "one")
        asking.ask("2", "status", "one")
        asking.until(lambda: len(asking.replies) == 2)
    assert asking.replies["1"].refusal is not None
    assert asking.replies["1"].refusal.message == "OSError: the disk is full"
    assert asking.refusal("2") is None


def test_a_reply_that_cannot_be_sent_holds_up_nobody() -> None:
    def send(_reply: Reply, _pictures: Sequence[bytes]) -> None:
        raise OSError("the client is gone")

    with queue() as asking:
        asking.queue.submit(Request(id="1", command="status"), (), send, "one")
        asking.ask("2", "status", "one")
        asking.until(lambda: "2" in asking.replies)


@pytest.mark.parametrize(
    ("sender", "size", "count"),
    [("one", 0, 8), (None, 0, 64), (None, MAX_BYTES, 4)],
    ids=["of one sender", "in all", "by their size"],
)
def test_more_than_can_wait_is_refused_at_once(sender: str | None, size: int, count: int) -> None:
    blobs = (bytes(size),)
    with queue() as asking:
        for number in range(count + 1):
            asking.ask(str(number), "import", sender, blobs)
        asking.until(lambda: bool(asking.replies))
        assert [asking.refusal(identity) for identity in asking.replies] == ["busy"]
        assert str(count) in asking.replies
        asking.go.set()
        asking.until(lambda: len(asking.replies) == count + 1)
        asking.ask("later", "import", sender, blobs)
        asking.until(lambda: "later" in asking.replies)
        assert asking.refusal("later") is None


def test_at_the_end_what_is_being_done_is_done_and_what_waits_is_refused() -> None:
    with queue() as asking:
        asking.ask("1", "import", "one")
        asking.ask("2", "import", "one")
        eventually(lambda: asking.begun == ["1"], PATIENCE_S)
        stopping = threading.Thread(target=asking.queue.stop)
        stopping.start()

        def refused() -> bool:
            asking.ask("late", "pause")
            asking.until(lambda: "late" in asking.replies)
            return asking.refusal("late") == "stopping"

        eventually(refused, PATIENCE_S)
        asking.go.set()
        stopping.join(PATIENCE_S)
        assert asking.refusal("1") is None
        assert asking.refusal("2") == "stopping"


def test_what_fails_since_the_service_ends_is_no_fault_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    with queue() as asking:
        asking.ask("1", "enroll")
        eventually(lambda: asking.begun == ["1"], PATIENCE_S)
        stopping = threading.Thread(target=asking.queue.stop)
        stopping.start()
        eventually(lambda: asking.queue._stopped, PATIENCE_S)
        asking.go.set()
        stopping.join(PATIENCE_S)
        assert asking.refusal("1") == "stopping"
        assert "enroll may be done in part" in str(asking.replies["1"].refusal)
    assert not [record for record in caplog.records if record.exc_info]


def test_one_that_hangs_is_answered_in_words_and_the_next_of_its_sender_is_done() -> None:
    with queue(limit_s=0.3) as asking:
        asking.ask("1", "import", "one")
        asking.ask("2", "status", "one")
        asking.ask("3", "recipe_set", "one")
        asking.until(lambda: len(asking.replies) == 3)
        assert asking.order == ["1", "2", "3"]
        assert asking.refusal("1") == "timed_out"
        refusal = asking.replies["1"].refusal
        assert refusal is not None
        assert refusal.message == "import has taken more than 0.3 s; it may still be done, the audit then says so"
        assert (asking.refusal("2"), asking.refusal("3")) == (None, None)
        eventually(lambda: bool(asking.alarms.every()), PATIENCE_S)
        [alarm] = asking.alarms.every()
        assert (alarm.code, alarm.message) == ("commands", "commands hang: import; is a disk or a server gone?")
        asking.go.set()
        eventually(lambda: not asking.alarms.every(), PATIENCE_S)
        assert len(asking.order) == 3, "it is answered once"
        asking.ask("4", "import", "one")
        asking.until(lambda: "4" in asking.replies)
        assert asking.refusal("4") is None


def test_those_that_hang_leave_threads_for_others_and_too_many_are_refused() -> None:
    with queue(limit_s=0.2) as asking:
        for number in range(20):  # more than there are threads
            asking.ask(str(number), "import", str(number))
        asking.ask("last", "status", "another")
        asking.until(lambda: "last" in asking.replies)
        assert asking.refusal("last") is None
        asking.until(lambda: len(asking.replies) == 21)
        assert {asking.refusal(str(number)) for number in range(20)} == {"timed_out"}
        asking.ask("more", "import")
        assert asking.refusal("more") == "busy"
        assert "commands hang; the service has to be started anew" in str(asking.replies["more"].refusal)
        asking.go.set()

        def taken() -> bool:
            asking.ask("again", "status")
            asking.until(lambda: "again" in asking.replies)
            return asking.refusal("again") is None

        eventually(taken, PATIENCE_S)


def test_the_end_does_not_wait_for_one_that_hangs() -> None:
    with queue() as asking:
        asking.ask("1", "import", "one")
        asking.ask("2", "import", "one")
        eventually(lambda: asking.begun == ["1"], PATIENCE_S)
        began = time.monotonic()
        asking.queue.stop(0.3)
        assert time.monotonic() - began < 2
        assert {asking.refusal("1"), asking.refusal("2")} == {"stopping"}
        assert "import may be done in part" in str(asking.replies["1"].refusal)
        hanging = [thread for thread in threading.enumerate() if thread.name == "commands"]
        assert hanging
        assert all(thread.daemon for thread in hanging), "an ordinary end of Python would wait for it"
