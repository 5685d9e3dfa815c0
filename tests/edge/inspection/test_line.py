"""One line, with a real camera process, a real scorer, a real disk and a real broker: one answer for every part."""

import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.alfa import Alfa
from core.backbone import Backbone, load_backbone
from core.database.database import DatabaseError
from core.simline import render
from edge.clock import utc_now
from edge.control.feed_client import FeedClient
from edge.control.feed_messages import FeedPicture, FeedVerdict
from edge.inspection import issuer, status
from edge.settings import CameraSettings, HistorySettings, LineSettings, Roi
from edge.storage.history import History
from edge.storage.outbox import Outbox
from edge.storage.verdict_database import VerdictDatabase
from tests.support.hall import ANOMALY, Hall
from tests.support.mosquitto import Mosquitto, Subscription, eventually, subscribe
from tests.support.quick import QUICK


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("untrained", None, "cpu", "fp32")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three pictures, of which the second is torn."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(render("tile", 1, index, 0.0, size=480).image).save(folder / f"{index}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:400])
    return folder


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[Subscription]:
    with subscribe(mosquitto.port, "line/#") as messages:
        yield messages


def free(parts: Path, **more: Any) -> LineSettings:
    return LineSettings(camera=CameraSettings(source=str(parts), rate=0), **more)


def triggered(**more: Any) -> LineSettings:
    return LineSettings(camera=CameraSettings(source="sim:tile?seed=1&defects=0"), mode="trigger", **more)


def slow(alfa: Alfa, monkeypatch: pytest.MonkeyPatch, seconds: float) -> Alfa:
    """A model that takes its time."""
    vision = alfa.vision

    def wait(*arguments: Any) -> Any:
        time.sleep(seconds)
        return vision(*arguments)

    monkeypatch.setattr(alfa, "vision", wait)
    return alfa


def test_a_torn_picture_is_an_error_verdict_and_the_next_part_is_judged(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    with Hall(free(parts), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        found = hall.verdicts(3)
    assert [one["seq"] for one in found] == [1, 2, 3]
    assert [one["verdict"] == "error" for one in found] == [False, True, False]
    assert found[1]["error"]["code"] == "camera_no_frame"
    assert "1.png" in found[1]["error"]["message"]
    # The broker acknowledges the last state to the line before, or after, it hands it on to us.
    eventually(lambda: hall.state()[0] == "stopped", 10)


def test_a_region_outside_the_frame_is_an_error_verdict(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    (parts / "1.png").unlink()
    roi = Roi(x=400, y=0, width=100, height=100)
    with Hall(free(parts, roi=roi), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        found = hall.verdicts(2)
    assert {one["error"]["code"] for one in found} == {"roi_outside_frame"}
    assert "480 x 480" in found[0]["error"]["message"]
    assert found[0]["camera"]["width"] == 480


def test_a_pass_that_fails_is_an_error_verdict(
    parts: Path,
    backbone: Backbone,
    mosquitto: Mosquitto,
    heard: Subscription,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (parts / "1.png").unlink()
    alfa = Alfa(backbone, QUICK)

    def fail(*_: object) -> None:
        raise RuntimeError("device lost")

    monkeypatch.setattr(alfa, "vision", fail)
    with Hall(free(parts), alfa, mosquitto, heard, tmp_path) as hall:
        found = hall.verdicts(2)
    assert {one["error"]["code"] for one in found} == {"scorer_failed"}
    assert "device lost" in found[0]["error"]["message"]


def test_a_disk_that_takes_no_pictures_stops_the_archive_and_not_the_line(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")
    (parts / "1.png").unlink()
    with Hall(free(parts, threshold=0.0), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        found = hall.verdicts(2)
    assert [one["verdict"] for one in found] == ["anomaly", "anomaly"]


def test_overlays_are_where_the_verdict_says(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    (parts / "1.png").unlink()
    with Hall(free(parts, threshold=0.0), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        found = hall.verdicts(2)
    for one in found:
        with Image.open(tmp_path / "archive" / one["heatmap"]["archive"]) as overlay:
            assert overlay.width == 480
            assert overlay.height > 480, "the picture, and a caption below"


def test_each_trigger_is_answered_once_and_in_sequence(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    with Hall(triggered(deadline_ms=30_000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        requests = [hall.line.trigger(f"part-{number}") for number in range(6)]
        answers = [request.answer.result(30) for request in requests]
        found = hall.verdicts(6)
        assert hall.line.stats().triggers == 6
    assert [one.part_id for one in answers] == [f"part-{number}" for number in range(6)]
    assert [one["seq"] for one in found] == [1, 2, 3, 4, 5, 6]
    assert {one["mode"] for one in found} == {"trigger"}
    assert all(one["verdict"] != "error" and not one.get("duplicate") for one in found)


def test_a_part_that_is_not_scored_in_time_is_an_error_and_holds_up_no_other(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alfa = slow(Alfa(backbone, QUICK), monkeypatch, 1.5)
    with Hall(triggered(deadline_ms=60_000), alfa, mosquitto, heard, tmp_path) as hall:
        first = hall.line.trigger("patient")
        second = hall.line.trigger("hurried", deadline_ms=300)
        began = time.monotonic()
        late = second.answer.result(10)
        assert time.monotonic() - began < 1.2, "it did not wait for the pass"
        assert late.error is not None
        assert late.error.code == "deadline"
        assert first.answer.result(30).verdict != "error"
        time.sleep(0.5)
        assert [one["part_id"] for one in hall.verdicts(2)] == ["hurried", "patient"]


def test_what_finds_no_room_or_no_line_is_answered_at_once(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alfa = slow(Alfa(backbone, QUICK), monkeypatch, 0.5)
    with Hall(triggered(deadline_ms=60_000, queue=2), alfa, mosquitto, heard, tmp_path) as hall:
        requests = [hall.line.trigger(f"part-{number}") for number in range(3)]
        full = requests[2]
        refused = full.answer.result(10)
        assert refused.error is not None
        assert refused.error.code == "queue_full"
        assert refused.seq == 1
        hall.line.pause("eva")
        paused = hall.line.trigger("part-3")
        answer = paused.answer.result(10)
        assert answer.error is not None
        assert (answer.error.code, answer.error.message) == ("paused", "the line is paused by eva")
        eventually(lambda: hall.state() == ("paused", "by eva"), 10)
        hall.line.resume()
        again = hall.line.trigger("part-3")
        assert again.answer.result(30).duplicate, "that part_id was used before"


def test_a_line_in_free_run_answers_triggers_with_an_error(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    with Hall(free(parts), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        request = hall.line.trigger("part-1")
        answer = request.answer.result(10)
        assert answer.error is not None
        assert answer.error.code == "free_run"


def test_without_a_camera_a_trigger_is_answered_at_once(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    settings = LineSettings(camera=CameraSettings(source="/dev/video77"), mode="trigger", deadline_ms=60_000)
    with Hall(settings, Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        request = hall.line.trigger("part-1")
        answer = request.answer.result(20)
        assert answer.error is not None
        assert answer.error.code == "camera_no_frame"
        assert "video77" in answer.error.message


def test_the_run_before_left_triggers_and_a_sequence(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    with Hall(triggered(deadline_ms=30_000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        request = hall.line.trigger("part-1")
        request.answer.result(30)
        hall.outbox.accept("one", "part-2", utc_now()).future.result(10)  # and there it ended
    with Hall(triggered(deadline_ms=30_000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        found = hall.verdicts(2)
    assert [(one["seq"], one["part_id"]) for one in found] == [(1, "part-1"), (2, "part-2")]
    assert found[1]["error"]["code"] == "restart"
    assert hall.outbox.last_seq("one") == 2


def test_a_disk_that_takes_no_verdicts_is_a_fault_and_parts_are_answered_all_the_same(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hall(triggered(deadline_ms=30_000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(VerdictDatabase, "issue", full)
            patch.setattr(VerdictDatabase, "amend", full)
            request = hall.line.trigger("part-1")
            answer = request.answer.result(30)
            assert answer.error is not None
            assert (answer.seq, answer.error.code) == (1, "state_failed")
            eventually(lambda: hall.state()[0] == "fault", 10)
            assert "make room on its disk" in (hall.state()[1] or "")
        request = hall.line.trigger("part-2")
        assert request.answer.result(30).seq == 2
        eventually(lambda: hall.state()[0] == "running", 10)
        assert [one["part_id"] for one in hall.verdicts(2)] == ["part-1", "part-2"]


def test_parts_that_wait_when_the_line_ends_are_answered(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alfa = slow(Alfa(backbone, QUICK), monkeypatch, 0.7)
    with Hall(triggered(deadline_ms=60_000), alfa, mosquitto, heard, tmp_path) as hall:
        requests = [hall.line.trigger(f"part-{number}") for number in range(4)]
        time.sleep(0.2)
    answers = [request.answer.result(0) for request in requests]
    assert sorted(one.seq for one in answers) == [1, 2, 3, 4]
    assert len(heard.of(ANOMALY)) == 4


def test_a_failure_while_a_verdict_is_made_costs_that_part_only(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hall(triggered(deadline_ms=30_000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:

        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("a test")

        with monkeypatch.context() as patch:
            patch.setattr(issuer, "make_verdict", fail)
            answer = hall.line.trigger("part-1").answer.result(30)
        assert answer.error is not None
        assert (answer.seq, answer.error.code) == (1, "internal")
        assert "ZeroDivisionError: a test" in answer.error.message
        assert hall.line.trigger("part-2").answer.result(30).verdict != "error"
        assert hall.workers.stalled() is None


def test_a_score_that_is_no_number_costs_that_part_only(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alfa = Alfa(backbone, QUICK)
    inspect = alfa.inspect

    def no_number(*arguments: Any, **named: Any) -> Any:
        return [replace(found, score=float("nan")) for found in inspect(*arguments, **named)]

    with Hall(triggered(deadline_ms=30_000), alfa, mosquitto, heard, tmp_path) as hall:
        with monkeypatch.context() as patch:
            patch.setattr(alfa, "inspect", no_number)
            answer = hall.line.trigger("part-1").answer.result(30)
        assert answer.error is not None
        assert (answer.seq, answer.error.code) == (1, "internal")
        assert hall.line.trigger("part-2").answer.result(30).verdict != "error"


class SlowDisk:
    """Commits take their time, or are refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self.is_full = False
        transaction = VerdictDatabase.transaction

        @contextmanager
        def slow_transaction(database: VerdictDatabase) -> Iterator[None]:
            if self.is_full:
                raise DatabaseError("it is full")
            with transaction(database):
                yield
                time.sleep(self.seconds)

        monkeypatch.setattr(VerdictDatabase, "transaction", slow_transaction)


def test_a_disk_that_is_slow_is_answered_as_one_that_failed(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    with Hall(triggered(deadline_ms=1000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        hall.line.trigger("warm", 30_000).answer.result(30)
        disk.seconds = 2.5
        for number in range(5):
            began = time.monotonic()
            answer = hall.line.trigger(f"part-{number}").answer.result(10)
            assert time.monotonic() - began < 1.3
            assert answer.error is not None
            assert answer.error.code == "state_failed"
        eventually(lambda: hall.state()[0] == "fault", 10)
        disk.seconds = 0.0
        time.sleep(5.0)  # what is under way
        good = hall.line.trigger("good", 30_000).answer.result(10)
        assert (good.seq, good.error) == (7, None)
        eventually(lambda: hall.state()[0] == "running", 10)
        found = hall.verdicts(7)
    first = {one["id"]: one for one in reversed(found)}
    assert sorted(one["seq"] for one in first.values()) == [1, 2, 3, 4, 5, 6, 7]
    history = History(tmp_path / "state")
    assert [one.error_code for one in history.verdicts("one")][::-1] == [None, *["state_failed"] * 5, None]
    assert hall.outbox.last_seq("one") == 7


def test_the_frame_in_work_in_free_run_gets_its_verdict_at_the_end(
    parts: Path,
    backbone: Backbone,
    mosquitto: Mosquitto,
    heard: Subscription,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (parts / "1.png").unlink()
    alfa = slow(Alfa(backbone, QUICK), monkeypatch, 0.7)
    with Hall(free(parts), alfa, mosquitto, heard, tmp_path) as hall:
        eventually(lambda: hall.line.stats().open == 1, 10)
        time.sleep(0.2)
    assert [json.loads(one.payload)["verdict"] != "error" for one in heard.of(ANOMALY)] == [True]


def test_a_message_that_is_no_text_costs_that_part_only(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alfa = Alfa(backbone, QUICK)

    def fail(*_: object, **__: object) -> None:
        raise OSError("cannot read weights\udcff.bin")

    with Hall(triggered(deadline_ms=30_000), alfa, mosquitto, heard, tmp_path) as hall:
        with monkeypatch.context() as patch:
            patch.setattr(alfa, "inspect", fail)
            answer = hall.line.trigger("part-1").answer.result(30)
        assert answer.error is not None
        assert answer.error.message.endswith(r"weights\udcff.bin")
        assert hall.line.trigger("part-2").answer.result(30).verdict != "error"
        assert [one["part_id"] for one in hall.verdicts(2)] == ["part-1", "part-2"]


def test_a_failure_after_a_verdict_costs_no_part(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hall(triggered(deadline_ms=30_000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:

        def fail(*_: object) -> None:
            raise ZeroDivisionError("a test")

        with monkeypatch.context() as patch:
            patch.setattr(hall.archive, "keep", fail)
            assert hall.line.trigger("part-1").answer.result(30).verdict != "error"
            eventually(lambda: [alarm.code for alarm in hall.alarms.of("one")] == ["internal"])
        assert hall.line.trigger("part-2").answer.result(30).verdict != "error"
        assert hall.workers.failure is None


def test_a_frame_that_comes_after_the_end_is_no_part(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    settings = LineSettings(camera=CameraSettings(source="sim:tile?seed=1&defects=0", rate=20))
    with Hall(settings, Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        hall.verdicts(2)
        hall.line._issuer.halt()  # its thread ends between two parts; the camera's goes on
        hall.line._issuer.join(10)
    assert hall.line.stats().open == 0


def test_a_disk_that_is_now_and_then_slow_is_one_alarm(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_STEADY_S", 4.0)  # a part may take longer than usual here
    disk = SlowDisk(monkeypatch)
    with Hall(triggered(deadline_ms=1000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        hall.line.trigger("warm", 30_000).answer.result(30)
        eventually(lambda: hall.state()[0] == "running", 10)
        before = len(heard.of("line/one/status"))
        for number in range(2):
            disk.seconds = 1.2
            hall.line.trigger(f"slow-{number}", 700).answer.result(10)
            disk.seconds = 0.0
            eventually(lambda: not hall.outbox.keeps("one"), 10)
            assert hall.line.trigger(f"good-{number}", 10_000).answer.result(10).error is None
            time.sleep(0.6)
        said = [json.loads(one.payload) for one in heard.of("line/one/status")[before:]]
        states = [one["state"] for one in said]
        assert set(states[states.index("fault") :]) == {"fault"}
        messages = {alarm["message"] for one in said for alarm in one["alarms"] if alarm["code"] == "state_disk"}
        assert len(messages) == 1
        eventually(lambda: hall.state()[0] == "running", 10)


def test_parts_of_one_name_that_the_run_before_left_are_told_apart(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    settings = triggered()
    box = Outbox(tmp_path / "state", HistorySettings())
    box.start()
    for _ in range(2):
        box.accept("one", "carrier-1", utc_now()).future.result()
    box.stop()
    with Hall(settings, Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        found = hall.verdicts(2)
    assert [(one["part_id"], one.get("duplicate", False)) for one in found] == [
        ("carrier-1", False),
        ("carrier-1", True),
    ]


def test_a_part_of_an_earlier_run_is_told_apart_though_the_disk_takes_nothing(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hall(triggered(), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        first = hall.line.trigger("carrier-1", 30_000).answer.result(30)
    disk = SlowDisk(monkeypatch)
    with Hall(triggered(deadline_ms=1000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        hall.line.trigger("warm", 30_000).answer.result(30)
        disk.is_full = True
        second = hall.line.trigger("carrier-1").answer.result(10)
        disk.is_full = False
    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.error is not None


def test_parts_that_err_are_logged_once_a_minute(
    backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Hall(triggered(deadline_ms=30_000), Alfa(backbone, QUICK), mosquitto, heard, tmp_path) as hall:
        hall.line.pause("eva")
        for number in range(30):
            hall.line.trigger(f"part-{number}").answer.result(10)
        (alarm,) = [alarm for alarm in hall.alarms.of("one") if alarm.code == "errors"]
        assert alarm.count == 30
    records = [record for record in caplog.records if "paused" in record.getMessage()]
    assert len(records) == 1
    assert records[0].__dict__["line"] == "one"


def test_the_feed_shows_each_part_and_where_in_the_frame_its_picture_is(
    parts: Path, backbone: Backbone, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    """Of the three parts the second has no picture. The last one is there for whoever subscribes after it."""
    roi = Roi(x=100, y=50, width=300, height=200)
    with FeedClient(tmp_path) as reader:
        reader.subscribe("one")
        with Hall(free(parts, roi=roi), Alfa(backbone), mosquitto, heard, tmp_path) as hall:
            found = hall.verdicts(3)
            eventually(lambda: hall.feed._shown.get("one") is not None and hall.feed._shown["one"].verdict.seq == 3, 20)
            with FeedClient(tmp_path) as late:
                late.subscribe("one", "picture")
                picture = late.next(20)
            messages = [reader.next(0.2) for _ in range(6)]
    assert isinstance(picture, FeedPicture)
    assert (picture.head["seq"], picture.head["id"], picture.head["score"]) == (3, found[2]["id"], found[2]["score"])
    assert (picture.head["frame"], picture.head["region"]) == ([480, 480], [100, 50, 300, 200])
    assert (picture.head["width"], picture.head["height"]) == (300, 200)
    assert [message.verdict for message in messages if isinstance(message, FeedVerdict)][-1] == found[2]
