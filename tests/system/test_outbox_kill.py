"""An outbox that is killed at any moment: what it said it has, it has, once, and in sequence."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from edge.clock import utc_now
from edge.settings import HistorySettings
from edge.storage.history import History
from edge.storage.outbox import Outbox
from tests.support.verdicts import failure, verdict

LINES = ("one", "two")
KILLS = 10


def work(folder: Path, run: int, say: Connection) -> None:
    """A process that issues verdicts and takes triggers as fast as it can, and says what was acknowledged to it."""
    box, lock = Outbox(folder, HistorySettings()), threading.Lock()
    box.start()

    def tell(*what: Any) -> None:
        with lock:
            say.send(what)

    for line in LINES:
        threading.Thread(target=run_line, args=(box, line, run, tell), daemon=True).start()
    threading.Event().wait()


def run_line(box: Outbox, line: str, run: int, tell: Callable[..., None]) -> None:
    chance, accepted = random.Random(f"{line} {run}"), []
    for left in box.unanswered(line):
        answer(box, failure(line, box.last_seq(line) + 1, left.part_id, "restart"), left.trigger, tell)
    for number in range(1_000_000):
        part = f"{run}-{number}"
        coming = box.accept(line, part, utc_now())
        answer(box, verdict(line, box.last_seq(line) + 1), None, tell)
        trigger = coming.future.result().trigger
        tell("accepted", line, trigger, part)
        accepted.append((part, trigger))
        while len(accepted) > 3:
            part, trigger = accepted.pop(chance.randrange(3))
            answer(box, verdict(line, box.last_seq(line) + 1, part), trigger, tell)
        for one in box.waiting(line, 1):
            tell("delivered", line, one.id)
            box.delivered(line, one.id)


def answer(box: Outbox, one: Any, trigger: int | None, tell: Callable[..., None]) -> None:
    box.issue(one, trigger).result()
    tell("issued", one.line, one.seq, one.id, trigger)


def test_nothing_acknowledged_is_lost_however_often_it_is_killed(tmp_path: Path) -> None:
    chance = random.Random(7)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # so that each process starts at once
    said: list[tuple[Any, ...]] = []
    for run in range(KILLS):
        hear, say = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(tmp_path, run, say), daemon=True)
        process.start()
        say.close()
        for _ in range(chance.randint(1, 40)):
            said.append(hear.recv())
        time.sleep(chance.uniform(0.0, 0.01))
        process.kill()
        process.join()
        try:
            while True:
                said.append(hear.recv())
        except EOFError:
            pass
        check(tmp_path, said)
    issued = [what for what in said if what[0] == "issued"]
    assert len(issued) > KILLS
    assert {what for what, *_ in said} == {"issued", "accepted", "delivered"}


def check(folder: Path, said: list[tuple[Any, ...]]) -> None:
    """What is on disk is whole, and at least what was said."""
    history = {line: History(folder).verdicts(line, count=1_000_000)[::-1] for line in LINES}  # as it was left
    box = Outbox(folder, HistorySettings())
    box.start()  # which reads all of the file
    for line, entries in history.items():
        assert [one.seq for one in entries] == [*range(1, len(entries) + 1)]
        assert box.last_seq(line) == len(entries)
        issued = {seq: (verdict, trigger) for seq, verdict, trigger in heard(said, "issued", line)}
        assert len(issued) == len(heard(said, "issued", line)), "a number was used twice"
        assert {seq: entries[seq - 1].id for seq in issued} == {seq: verdict for seq, (verdict, _) in issued.items()}
        waiting = {one.id for one in box.waiting(line, 1_000_000)}
        delivered = {verdict for (verdict,) in heard(said, "delivered", line)}
        assert {verdict for verdict, _ in issued.values()} - delivered <= waiting
        assert box.depth(line).count == len(waiting)
        answers = [one.part_id for one in entries if one.part_id is not None]
        left = {one.trigger: one.part_id for one in box.unanswered(line)}
        assert len(answers) == len({*answers}), "a part was answered twice"
        assert not {*answers} & {*left.values()}
        for trigger, part in heard(said, "accepted", line):
            assert left.get(trigger) == part or part in answers
        assert not {trigger for _, trigger in issued.values()} & {*left}
    box.stop()


def heard(said: list[tuple[Any, ...]], what: str, line: str) -> list[tuple[Any, ...]]:
    return [rest for kind, of, *rest in said if (kind, of) == (what, line)]
