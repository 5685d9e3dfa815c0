"""What is issued is on disk, waits there for the broker, and is never lost, doubled or renumbered."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from core.database.database import DatabaseError, open_database
from edge.clock import iso_ms, monotonic, utc_now
from edge.messages import Verdict
from edge.ops.alarms import Alarms
from edge.settings import HistorySettings
from edge.storage import outbox, verdict_database, writer
from edge.storage.history import History
from edge.storage.journal import FILE as JOURNAL
from edge.storage.outbox import Acceptance, Outbox
from edge.storage.verdict_database import VerdictDatabase
from edge.storage.verdict_tables import FILE, VERDICT_TABLES, Accepted, MessageIdentity, stamp
from edge.storage.writer import WriterError
from tests.support.mosquitto import eventually
from tests.support.state import until
from tests.support.verdicts import failure, verdict

DAY_S = 86_400.0


class Boxes:
    """Opens the outbox in a folder, one after the other, as processes do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alarms = Alarms()
        self._made: list[Outbox] = []

    def __call__(self, folder: Path | None = None, **settings: float) -> Outbox:
        self.stop()
        usual = HistorySettings().model_dump()
        limits = HistorySettings.model_construct(**usual | settings)  # small ones, too
        made = Outbox(folder or self.folder, limits, alarms=self.alarms)
        self._made.append(made)
        made.start()
        return made

    def stop(self) -> None:
        for one in self._made:
            one.stop()


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[Boxes]:
    made = Boxes(tmp_path / "state")
    yield made
    made.stop()


class Clocks:
    """The two clocks, which a test can put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds that both have gone on."""
        self.jump = timedelta()
        """By which the wall clock was set wrong besides."""

    def monotonic(self) -> float:
        return monotonic() + self.ahead

    def utc_now(self) -> object:
        return utc_now() + timedelta(seconds=self.ahead) + self.jump


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    for module in (verdict_database, writer):
        monkeypatch.setattr(module, "monotonic", made.monotonic)
    monkeypatch.setattr(verdict_database, "utc_now", made.utc_now)
    monkeypatch.setattr(writer, "_LOOK_S", 0.05)
    return made


def issued(box: Outbox, one: Verdict, accepted: Acceptance | int | None = None) -> Verdict:
    """The verdict as it is on disk."""
    return box.issue(one, accepted).result()


def issue(box: Outbox, count: int, line: str = "one", part: str | None = None) -> list[str]:
    ids = []
    for _ in range(count):
        one = verdict(line, box.last_seq(line) + 1, part)
        issued(box, one)
        ids.append(one.id)
    return ids


def waiting(box: Outbox, line: str = "one") -> list[str]:
    return [one.id for one in box.waiting(line, 10_000)]


def kept(box: Outbox, line: str = "one") -> list[int]:
    return [one.seq for one in History(box.path.parent).verdicts(line, count=10_000)][::-1]


def looked(box: Outbox, condition: Callable[[], bool]) -> None:
    """Waits until the writer, woken by a note of nothing, has seen to it."""

    def seen() -> bool:
        box.forget(0)
        return condition()

    eventually(seen, 10.0)


def test_a_verdict_waits_until_it_is_delivered(boxes: Boxes) -> None:
    box = boxes()
    assert (box.last_seq("one"), box.depth("one")) == (0, outbox.Depth(0, None, 0))
    first = verdict("one", 1, "part 1")
    issued(box, first)
    second, third = issue(box, 2)
    (found, *_) = box.waiting("one", 2)
    assert (found.id, found.seq, found.payload) == (first.id, 1, first.to_json())
    assert abs(found.issued_at - first.issued_at) < timedelta(milliseconds=1)
    assert waiting(box) == [first.id, second, third]
    assert [one.id for one in box.waiting("one", 1, [first.id])] == [second]
    assert (box.last_seq("one"), box.depth("one").count, box.depth("one").oldest) == (3, 3, found.issued_at)
    box.delivered("one", second)
    box.delivered("two", third)  # another line's is none of its
    assert waiting(box) == [first.id, third]  # at once, and on disk soon
    eventually(lambda: box.depth("one").count == 2)
    box.delivered("one", second)
    box.delivered("one", first.id)
    eventually(lambda: box.depth("one").count == 1)
    assert box.depth("one").oldest == box.waiting("one", 1)[0].issued_at
    box = boxes()
    assert (box.last_seq("one"), box.depth("one").count, waiting(box)) == (3, 1, [third])


def test_a_sequence_has_no_gaps_and_no_number_twice(boxes: Boxes) -> None:
    box = boxes()
    issue(box, 2)
    for seq in (1, 2, 4):
        with pytest.raises(ValueError, match=f"line one: verdict {seq} cannot follow 2"):
            issued(box, verdict("one", seq))
    issue(box, 1)
    assert kept(box) == [1, 2, 3]


def test_lines_do_not_mix(boxes: Boxes) -> None:
    box = boxes()
    ones, twos = issue(box, 2, "one", "part"), issue(box, 3, "two")
    assert box.accept("two", "part", utc_now()).future.result().known is False
    assert box.accept("one", "part", utc_now()).future.result().known is True
    assert (waiting(box, "one"), waiting(box, "two")) == (ones, twos)
    assert (box.last_seq("one"), box.last_seq("two"), box.last_seq("three")) == (2, 3, 0)
    box.delivered("one", ones[0])
    eventually(lambda: box.depth("one").count == 1)
    assert box.depth("two").count == 3
    box = boxes()
    assert [one.part_id for one in box.unanswered("one")] == ["part"]
    assert [one.part_id for one in box.unanswered("two")] == ["part"]


def test_triggers_are_unanswered_until_a_verdict_answers_them(boxes: Boxes) -> None:
    box = boxes()
    came = [utc_now() - timedelta(seconds=3 - number) for number in range(3)]
    accepted = [box.accept("one", f"part {number}", at).future.result() for number, at in enumerate(came)]
    assert [one.known for one in accepted] == [False] * 3
    assert box.accept("one", "part 0", utc_now()).future.result().known
    assert box.unanswered("one") == []  # of this process: they are the line's to answer
    issued(box, verdict("one", 1, "part 1"), accepted[1].trigger)
    assert box.accept("one", "part 1", utc_now()).future.result().known  # of the history
    box = boxes()
    left = box.unanswered("one")
    assert [one.part_id for one in left] == ["part 0", "part 2", "part 0", "part 1"]
    assert abs(left[0].received_at - came[0]) < timedelta(milliseconds=1)
    fresh = box.accept("one", "part 9", utc_now()).future.result()
    assert fresh.trigger not in {one.trigger for one in left}
    issued(box, failure("one", 2, "part 0", "restart"), left[0].trigger)
    box.forget(left[1].trigger)
    assert [one.trigger for one in box.unanswered("one")] == [one.trigger for one in left[2:]]  # at once
    box = boxes()
    assert [one.part_id for one in box.unanswered("one")] == ["part 0", "part 1", "part 9"]


def test_a_triggers_number_is_never_given_again(boxes: Boxes) -> None:
    box = boxes()
    first = box.accept("one", "part", utc_now()).future.result().trigger
    issued(box, verdict("one", 1, "part"), first)
    box = boxes()
    assert box.accept("one", "next", utc_now()).future.result().trigger > first


def test_what_one_caller_does_wrong_harms_no_other(boxes: Boxes) -> None:
    box = boxes()
    held, go = hold_writer(box)
    good = box.accept("one", "good", utc_now()).future
    bad = box.accept("one", "\ud800", utc_now()).future  # a JSON message can hold it, a database cannot
    cancelled = box.accept("one", "cancelled", utc_now()).future
    assert cancelled.cancel()
    with ThreadPoolExecutor(2) as pool:
        gap = pool.submit(issued, box, verdict("two", 2))
        eventually(lambda: len(box._writer._jobs) == 4)
        fine = pool.submit(issued, box, verdict("two", 1))
        go.set()
        fine.result()
    held.result()
    assert good.result().known is False
    with pytest.raises(ValueError, match="surrogates"):
        bad.result()
    with pytest.raises(ValueError, match="verdict 2 cannot follow 0"):
        gap.result()
    assert (box.last_seq("two"), box.depth("two").count) == (1, 1)
    assert [one.part_id for one in boxes().unanswered("one")] == ["good"]


def hold_writer(box: Outbox) -> tuple[Future[None], threading.Event]:
    """The writer waits inside a transaction until the event is set, while more comes."""
    go = threading.Event()
    held: Future[None] = box._writer.submit(lambda _: go.wait(30) and None)
    eventually(held.running)
    return held, go


def test_what_comes_while_it_writes_goes_in_one_transaction(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    box = boxes()
    count, begin = 0, VerdictDatabase.transaction

    def counted(self: VerdictDatabase) -> object:
        nonlocal count
        count += 1
        return begin(self)

    held, go = hold_writer(box)
    monkeypatch.setattr(VerdictDatabase, "transaction", counted)
    with ThreadPoolExecutor(20) as pool:
        done = [pool.submit(issued, box, verdict(f"line-{number}", 1)) for number in range(20)]
        eventually(lambda: len(box._writer._jobs) == 20)
        go.set()
        held.result()
        for one in done:
            one.result()
    assert count == 1
    assert all(box.depth(f"line-{number}").count == 1 for number in range(20))


def test_the_queue_is_bounded_and_the_history_keeps_what_it_drops(
    boxes: Boxes, caplog: pytest.LogCaptureFixture
) -> None:
    box = boxes(outbox_limit=5)
    with caplog.at_level(logging.WARNING):
        ids = issue(box, 8)
    assert waiting(box) == ids[3:]
    assert (box.depth("one").count, box.depth("one").dropped, kept(box)) == (5, 3, [*range(1, 9)])
    assert [one.message for one in caplog.records] == [
        "of 5 verdicts that may wait for the broker the oldest are dropped"
    ]
    for one in ids:  # dropped ones, too, that were on their way
        box.delivered("one", one)
    eventually(lambda: box.depth("one").count == 0)
    issue(box, 6)
    assert (box.depth("one").count, box.depth("one").dropped) == (5, 4)
    assert len(caplog.records) == 2  # another episode
    box = boxes(outbox_limit=2)
    assert box.depth("one") == outbox.Depth(5, box.waiting("one", 1)[0].issued_at, 0)
    issue(box, 1)
    assert (box.depth("one").count, box.depth("one").dropped) == (2, 4)


def test_what_has_waited_for_days_is_dropped(boxes: Boxes, clocks: Clocks) -> None:
    box = boxes(outbox_days=2)
    issue(box, 3)
    clocks.ahead = DAY_S
    young = issue(box, 2)
    clocks.ahead = 2 * DAY_S + 60
    looked(box, lambda: box.depth("one").dropped == 3)
    assert waiting(box) == young
    assert kept(box) == [1, 2, 3, 4, 5]


def test_the_history_forgets_what_is_too_old_or_too_much_but_nothing_that_waits(boxes: Boxes, clocks: Clocks) -> None:
    box = boxes(limit=10, days=2)
    ids = issue(box, 70)
    assert kept(box) == [*range(1, 71)]
    for one in (*ids[:20], *ids[21:]):
        box.delivered("one", one)
    looked(box, lambda: kept(box) == [*range(21, 71)])  # one of them waits, the others came after it
    box.delivered("one", ids[20])
    looked(box, lambda: kept(box) == [*range(61, 71)])
    clocks.ahead = DAY_S
    box.delivered("one", issue(box, 1)[0])
    clocks.ahead = 2 * DAY_S + 60
    looked(box, lambda: kept(box) == [71])
    clocks.ahead = 5 * DAY_S
    looked(box, lambda: kept(box) == [])
    assert box.last_seq("one") == 71
    box = boxes()
    issue(box, 1)
    assert kept(box) == [72]


@pytest.mark.parametrize("hours", [1, -1, 500_000, -400_000])
def test_a_wall_clock_that_jumps_makes_nothing_old(boxes: Boxes, clocks: Clocks, hours: int) -> None:
    limits = {"outbox_days": 0.03, "days": 0.04}  # less than an hour
    box = boxes(**limits)
    issue(box, 2)
    clocks.jump = timedelta(hours=hours)
    issue(box, 2)
    looked(box, lambda: box.depth("one").count == 4)
    clocks.jump = timedelta()
    issue(box, 2)
    clocks.ahead = 0.02 * DAY_S
    looked(box, lambda: box.depth("one").count == 6)
    clocks.ahead = 0.05 * DAY_S  # but time that really goes by does
    looked(box, lambda: kept(box) == [])
    assert box.depth("one") == outbox.Depth(0, None, 6)


def test_between_two_runs_a_wall_clock_is_believed_for_a_day(boxes: Boxes, clocks: Clocks) -> None:
    issue(boxes(), 3)
    for jump in (timedelta(days=20_000), -timedelta(days=20_000)):
        clocks.jump = jump
        box = boxes(outbox_days=3)
        looked(box, lambda: True)
        assert box.depth("one").count == 3
    for _ in range(3):
        boxes.stop()
        clocks.jump += timedelta(days=30_000)
        box = boxes(outbox_days=3)
        issue(box, 1)
    looked(box, lambda: box.depth("one").dropped == 3)
    assert box.depth("one").count == 3


def test_a_disk_that_is_full_refuses_by_name_and_is_used_again_when_it_has_room(
    boxes: Boxes, caplog: pytest.LogCaptureFixture
) -> None:
    box = boxes()
    ids = issue(box, 2)
    accepted = box.accept("one", "part", utc_now()).future.result()
    limit_pages(box, 1)
    large = verdict("one", 3, "part", explanation=[{"text": "x" * 100_000, "similarity": 0.1}])
    for _ in range(2):
        with pytest.raises(WriterError, match=rf"database {box.path}: .*full; make room"):
            issued(box, large, accepted.trigger)
    box.delivered("one", ids[0])
    assert (box.last_seq("one"), box.depth("one").count, kept(box)) == (2, 2, [1, 2])
    assert waiting(box) == [ids[1]]
    assert len([one for one in caplog.records if one.levelno >= logging.ERROR]) == 1
    limit_pages(box, 1_000_000)
    issued(box, large, accepted.trigger)
    assert waiting(box) == [ids[1], large.id]
    box = boxes()
    assert box.unanswered("one") == []
    assert waiting(box) == [ids[1], large.id]


def limit_pages(box: Outbox, count: int) -> None:
    """As a disk that has no room answers; a stand-in for the one that needs root."""
    database = box._opened.database.tables.conn
    box._writer.submit(lambda _: database.execute(f"PRAGMA max_page_count = {count}").fetchone()).result()


def test_what_was_given_without_the_disk_is_written_when_it_takes_it(boxes: Boxes) -> None:
    box = boxes()
    issue(box, 1)
    accepted = box.accept("one", "part", utc_now())
    accepted.future.result()
    limit_pages(box, 1)
    large = [{"text": "x" * 100_000, "similarity": 0.1}]
    for seq in (2, 3):  # which the line has told the broker of all the same
        with pytest.raises(WriterError):
            issued(box, verdict("one", seq, explanation=large), accepted)
        assert box.keep(verdict("one", seq, explanation=large), accepted)
    assert (box.last_seq("one"), kept(box), len(waiting(box))) == (3, [1], 1)
    limit_pages(box, 1_000_000)
    for seq in (1, 5):
        with pytest.raises(ValueError, match=f"verdict {seq} cannot follow 3"):
            issued(box, verdict("one", seq))
    issued(box, verdict("one", 4))
    looked(box, lambda: kept(box) == [1, 2, 3, 4])
    assert (box.last_seq("one"), len(waiting(box))) == (4, 4)
    box = boxes()
    assert (box.last_seq("one"), box.depth("one").count, box.unanswered("one")) == (4, 4, [])


def test_a_disk_that_fails_for_long_costs_neither_time_nor_memory(
    boxes: Boxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_KEPT", 1000)
    box = boxes()
    tried = 0

    @contextmanager
    def full(_: VerdictDatabase) -> Iterator[None]:
        nonlocal tried
        tried += 1
        raise sqlite3.OperationalError("database or disk is full")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(VerdictDatabase, "transaction", full)
        began = monotonic()
        for seq in range(1, 1501):
            one = verdict("one", seq)
            assert box.keep(one) == (seq <= 1000)
            box.delivered("one", one.id)  # the broker takes them all the same
        assert len(box._writer.noted()) == 1000
        assert tried < 5 + (monotonic() - began) / 0.5  # not with each of them
    accepted = box.accept("one", "part", utc_now()).future.result()
    eventually(lambda: not box.keeps("one"), 10.0)
    box.forget(accepted.trigger)
    assert (kept(box), waiting(box)) == ([*range(1, 1001)], [])


def test_an_alarm_of_the_disk_does_not_come_and_go(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    box = boxes()
    said: list[bool] = []
    boxes.alarms.listen(lambda _: said.append(bool(boxes.alarms.every())))

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(VerdictDatabase, "amend", full)  # as where what waits is too much, and the rest is not
        box.keep(verdict("one", 1))
        eventually(lambda: said == [True])
        for number in range(20):
            box.accept("one", f"part-{number}", utc_now()).future.result()
        assert said == [True]
    eventually(lambda: said == [True, False])


def test_an_alarm_of_the_disk_ends_where_nothing_is_written_any_more(
    boxes: Boxes, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = boxes()

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(VerdictDatabase, "prune", full)
        issue(box, 1)
        eventually(lambda: bool(boxes.alarms.every()))
    eventually(lambda: not boxes.alarms.every())


def test_a_verdict_that_the_disk_took_too_late_gives_way_to_the_answer_that_was_given(boxes: Boxes) -> None:
    box = boxes()
    held, go = hold_writer(box)
    late = verdict("one", 1)
    written = box.issue(late)  # it will be written: nobody can cancel it once it is begun
    go.set()
    held.result()
    written.result()
    answer = failure("one", 1, None, "state_failed").model_copy(update={"id": late.id})
    box.delivered("one", late.id)
    box.keep(answer)
    assert waiting(box) == []
    eventually(lambda: History(box.path.parent).entry("one", 1).error_code == "state_failed")
    assert (kept(box), box.last_seq("one")) == ([1], 1)


def test_a_trigger_and_its_verdict_go_in_one_transaction(boxes: Boxes) -> None:
    box = boxes()
    issued(box, verdict("one", 1, "part"))
    held, go = hold_writer(box)
    accepted = box.accept("one", "part", utc_now())
    written = box.issue(verdict("one", 2, "part"), accepted)
    go.set()
    held.result()
    assert written.result().duplicate
    assert History(box.path.parent).payload("one", 2)["duplicate"] is True
    assert boxes().unanswered("one") == []


def test_a_packet_identifier_of_another_session_means_another_message(boxes: Boxes) -> None:
    box = boxes()

    def accept(connection: str, session: str, *, again: bool) -> Accepted:
        identity = MessageIdentity("one", connection, 7, "a", again, session)
        return box.accept("one", "part", utc_now(), identity).future.result()

    accept("c1", "s1", again=False)
    box = boxes()  # killed, and the broker has lost its sessions meanwhile
    assert not accept("c2", "s2", again=True).repetition
    assert not accept("c3", "s2", again=False).repetition
    assert accept("c4", "s2", again=True).repetition


def test_the_session_at_the_broker_outlives_the_process(boxes: Boxes) -> None:
    box = boxes()
    assert box.session("one") is None
    box.set_session("one", "s1")
    assert boxes().session("one") == "s1"
    (boxes.folder / JOURNAL).unlink()  # a power cut
    assert boxes().session("one") == "s1"


def test_the_ending_of_the_client_ids_is_made_once_and_stays(boxes: Boxes, tmp_path: Path) -> None:
    suffix = boxes().client_suffix
    assert re.fullmatch("[0-9a-f]{16}", suffix)
    assert boxes().client_suffix == suffix
    assert boxes(tmp_path / "another").client_suffix != suffix


@pytest.mark.parametrize(
    "used", ["INSERT INTO lines (line, seq) VALUES ('one', 1)", "INSERT INTO facts VALUES ('session one', 's1')"]
)
def test_a_state_of_before_has_no_such_ending(boxes: Boxes, used: str) -> None:
    """Its triggers wait at the broker for the id that it had."""
    boxes.folder.mkdir(exist_ok=True)
    open_database(boxes.folder / FILE, [until(VERDICT_TABLES, 2)]).close()
    with closing(sqlite3.connect(boxes.folder / FILE)) as database, database:
        database.execute(used)
    assert boxes().client_suffix == ""
    assert boxes().client_suffix == ""


def test_the_last_contact_of_an_earlier_process_is_before_what_the_broker_did_not_take(boxes: Boxes) -> None:
    box = boxes()
    first, second, third = (issued(box, verdict("one", seq)) for seq in (1, 2, 3))
    assert box.last_contact("one") is None
    assert boxes().last_contact("one") == stamp(iso_ms(first.issued_at))
    box = boxes()
    box.delivered("one", first.id)
    assert boxes().last_contact("one") == stamp(iso_ms(second.issued_at))
    box = boxes()
    for verdict_ in (second, third):
        box.delivered("one", verdict_.id)
    assert boxes().last_contact("one") == stamp(iso_ms(third.issued_at))
    assert boxes().last_contact("two") is None


def test_what_was_given_without_the_disk_outlives_a_kill(boxes: Boxes, tmp_path: Path) -> None:
    box = boxes()
    issue(box, 1)
    first = message("c1", 7)
    accepted = box.accept("one", "on disk", utc_now())
    accepted.future.result()
    limit_pages(box, 1)
    given = [failure("one", 2, "on disk", "state_failed"), failure("one", 3, "refused", "state_failed")]
    assert box.keep(given[0], accepted)
    assert box.keep(given[1], None, first)
    killed = tmp_path / "killed"
    shutil.copytree(boxes.folder, killed)  # as the files are then
    with (killed / JOURNAL).open("ab") as journal:
        journal.write(b'{"verdict": "cut sh')
    box = boxes(killed)
    assert (box.last_seq("one"), box.unanswered("one")) == (3, [])
    again = MessageIdentity("one", "c2", 7, "a", True)
    assert box.accept("one", "refused", utc_now(), again).future.result().repetition
    assert box.answered_parts("one") == ["on disk", "refused"]
    looked(box, lambda: kept(box) == [1, 2, 3])
    assert waiting(box)[1:] == [one.id for one in given]
    issue(box, 1)
    eventually(lambda: box.look() or (killed / JOURNAL).read_bytes() == b"")
    box = boxes(killed)
    assert (box.last_seq("one"), kept(box)) == (4, [1, 2, 3, 4])
    assert box.answered_parts("one") == ["on disk", "refused"]


def test_without_a_journal_there_is_an_alarm(boxes: Boxes, tmp_path: Path) -> None:
    alarms = Alarms()
    box = Outbox(tmp_path / "state", HistorySettings(), alarms=alarms, runtime=tmp_path / "nowhere")
    box.start()
    box.keep(failure("one", 1, "part", "state_failed"))
    assert [alarm.code for alarm in alarms.every()] == ["journal"]
    box.stop()


def message(connection: str, packet: int, digest: str = "a", *, repeated: bool = False) -> MessageIdentity:
    return MessageIdentity("one", connection, packet, digest, repeated)


def test_a_repetition_is_only_what_is_on_disk_and_not_acknowledged(boxes: Boxes) -> None:
    box = boxes()

    def accept(identity: MessageIdentity) -> Accepted:
        return box.accept("one", "part", utc_now(), identity).future.result()

    first = accept(message("c1", 7))
    issued(box, verdict("one", 1, "part"), first.trigger)
    box = boxes()  # killed before the PUBACK: it comes again, and again after the next loss
    for connection in ("c2", "c3"):
        again = accept(message(connection, 7, repeated=True))
        assert (again.trigger, again.known, again.repetition) == (first.trigger, True, True)
    assert box.unanswered("one") == []
    for identity in (
        message("c3", 7, repeated=True),  # the broker repeats nothing on the same connection
        message("c4", 8, repeated=True),  # another message: its first transmission was lost
        message("c4", 7, "b", repeated=True),
        message("c4", 7),
    ):
        found = accept(identity)
        assert (found.known, found.repetition) == (True, False), identity
    box.acknowledged("one", 7, found.trigger)
    assert not accept(message("c5", 7, repeated=True)).repetition  # the carrier comes back
    last = accept(message("c5", 9))
    box.acknowledged("one", 9, last.trigger - 1)  # of an older message with this number
    assert accept(message("c6", 9, repeated=True)).repetition
    box.forget_messages("one", "c7")
    assert not accept(message("c8", 9, repeated=True)).repetition


def test_a_restored_backup_begins_a_new_generation(boxes: Boxes, tmp_path: Path) -> None:
    box = boxes()
    issue(box, 3)
    box.accept("one", "open", utc_now()).future.result()
    copy = History(box.path.parent).backup(tmp_path, utc_now())
    assert (box.generation("one"), box.generation("two")) == (1, 1)
    issue(box, 2)
    box.stop()
    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(copy, restored / FILE)
    box = boxes(restored)
    assert (box.last_seq("one"), box.generation("one"), box.generation("two")) == (3, 2, 2)
    assert box.unanswered("one") == []  # it may have been answered since
    assert box.depth("one").count == 3
    assert box.number_on("one", 5) == 2  # no verdict has been numbered in it yet
    issue(box, 1)
    box = boxes(restored)
    assert (box.last_seq("one"), box.generation("one"), kept(box)) == (6, 2, [1, 2, 3, 6])
    assert box.number_on("one", 8) == 3
    issue(box, 1)
    assert (box.last_seq("one"), box.generation("one"), box.generation("two")) == (9, 3, 2)


def test_a_backup_that_is_restored_twice_gives_no_number_twice(boxes: Boxes, tmp_path: Path) -> None:
    box = boxes()
    issue(box, 3)
    copy = History(box.path.parent).backup(tmp_path, utc_now())
    given: list[tuple[int, int]] = []
    told = (3, 1)  # what the broker retains of number and generation, which may be some seconds old
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        shutil.copy(copy, folder / FILE)
        box = boxes(folder)
        generation = box.generation("one")
        if told[0] > box.last_seq("one") or box.is_behind("one", told[1]):
            generation = box.number_on("one", *told)
        told = (box.last_seq("one") + 1, generation)
        for _ in range(4):
            one = verdict("one", box.last_seq("one") + 1).model_copy(update={"generation": generation})
            issued(box, one)
            given.append((one.generation, one.seq))
    assert len(set(given)) == 8
    box = boxes(tmp_path / "second")
    assert box.generation("one") == 3
    assert not box.is_behind("one", 3)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a disk of its own takes root: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_real_disk_that_is_full(boxes: Boxes, small_disk: Path) -> None:
    box = boxes(small_disk)
    issue(box, 3)
    (small_disk / "else").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    with pytest.raises(WriterError, match=r"verdicts\.db: .*full; make room on its disk"):
        issue(box, 200)
    accepted = box.accept("one", "x" * 8000, utc_now()).future
    with pytest.raises(WriterError, match="full"):
        accepted.result()
    last = box.last_seq("one")
    assert waiting(box)
    (small_disk / "else").unlink()
    issue(box, 20)
    assert kept(box) == [*range(1, last + 21)]
    box = boxes(small_disk)
    assert (box.last_seq("one"), box.depth("one").count) == (last + 20, last + 20)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[: len(data) // 2], id="truncated"),
        pytest.param(lambda data: data[:8192] + b"\xff" + data[8193:], id="a byte flipped"),
        pytest.param(lambda data: b"", id="emptied"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_left_alone(boxes: Boxes, damage: Callable[[bytes], bytes]) -> None:
    box = boxes()
    issue(box, 20)
    box.stop()
    damaged = damage(box.path.read_bytes())
    box.path.write_bytes(damaged)
    with pytest.raises(DatabaseError, match=rf"{box.path}.*"):
        boxes()
    assert box.path.read_bytes() == damaged


def test_an_outbox_that_does_not_run_says_so(tmp_path: Path) -> None:
    box = Outbox(tmp_path, HistorySettings())
    box.stop()
    with pytest.raises(WriterError, match="was not started"):
        box.last_seq("one")
    box = Outbox(tmp_path, HistorySettings())
    box.start()
    late = [box.accept("one", f"part {number}", utc_now()) for number in range(200)]
    box.stop()
    box.stop()
    assert [one.future.result().trigger for one in late] == [*range(1, 201)]  # what was asked for is done
    box.delivered("one", "x")
    with pytest.raises(WriterError, match="is not open"):
        box.accept("one", "part", utc_now()).future.result()
    with pytest.raises(WriterError, match="is not open"):
        issued(box, verdict("one", 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]


def test_many_lines_at_once(boxes: Boxes) -> None:
    box = boxes()

    def work(line: str) -> None:
        for seq in range(1, 9):
            trigger = box.accept(line, f"part {seq}", utc_now()).future.result().trigger
            issued(box, verdict(line, seq, f"part {seq}"), trigger)
            for one in box.waiting(line, 5):
                box.delivered(line, one.id)

    lines = [f"line-{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, lines))
    box = boxes()
    for line in lines:
        assert (box.last_seq(line), box.depth(line).count, box.unanswered(line)) == (8, 0, [])
        assert kept(box, line) == [*range(1, 9)]
