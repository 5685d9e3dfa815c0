"""Who waits for whom: nobody for a slow command, but the next one of the same sender."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from edge.control.command_queue import CommandQueue
from edge.control.protocol import MAX_BYTES, Reply, Request
from tests.support.mosquitto import eventually

PATIENCE_S = 10.0


class Asking:
    """A queue whose long commands wait until they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[str] = []
        self.replies: dict[str, Reply] = {}
        self.order: list[str] = []
        self._came = threading.Condition()
        self.queue = CommandQueue(self._answer, lambda command: command == "pause")

    def _answer(self, request: Request, _blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        self.begun.append(request.id)
        if request.command == "import":
            assert self.go.wait(PATIENCE_S)
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
def queue() -> Iterator[Asking]:
    asking = Asking()
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
