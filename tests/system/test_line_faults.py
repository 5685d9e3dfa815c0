"""A line whose own parts fail: no part goes without an answer unnoticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.alfa import Alfa
from core.backbone import load_backbone
from edge.inference import Inference
from edge.messages import Verdict
from edge.ops.systemd import Beat
from edge.ops.worker import Workers
from edge.settings import CameraSettings, LineSettings
from edge.storage.verdict_database import Ledger
from tests.support.hall import Hall
from tests.support.mosquitto import Mosquitto, eventually, subscribe

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    """A line with a simulated camera, in trigger mode."""
    settings = LineSettings(
        camera=CameraSettings(source="sim:tile?seed=1&defects=0"), mode="trigger", deadline_ms=30_000
    )
    alfa = Alfa(load_backbone("untrained", None, "cpu", "fp32"))
    with (
        Mosquitto() as mosquitto,
        subscribe(mosquitto.port, "line/#") as heard,
        Hall(settings, alfa, mosquitto, heard, tmp_path) as one,
    ):
        yield one


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def answer(hall: Hall, part: str, **more: Any) -> Verdict:
    ticket = hall.line.trigger(part, **more)
    assert ticket is not None
    return ticket.answer.result(30)


def test_a_part_that_the_disk_refused_to_answer_is_not_answered_again_by_the_next_run(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "issue", full)
        refused = answer(hall, "part-1")
        assert refused.error is not None
        assert refused.error.code == "state_failed"
    answer(hall, "part-2")
    eventually(lambda: hall.outbox._forgotten == {})
    with closing(sqlite3.connect(hall.outbox.path)) as database:
        assert database.execute("SELECT part_id FROM triggers").fetchall() == []


def test_a_redelivered_trigger_is_answered_when_the_disk_cannot_tell_whether_it_was(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "accept", full)
    monkeypatch.setattr(Ledger, "issue", full)
    refused = answer(hall, "part-1", again=True)
    assert refused.error is not None
    assert refused.error.code == "state_failed"


def test_a_line_of_which_a_thread_has_failed_stands_still_for_the_watchdog(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a test")

    assert hall.line._beat.stalled() is None
    monkeypatch.setattr(hall.publisher, "publish_verdict", fails)
    hall.line.trigger("part-1")
    eventually(lambda: hall.line._beat.stalled() == "line one: issuer: its thread has ended", 30)
    eventually(lambda: hall.state() == ("fault", "internal error: RuntimeError: a test"), 10)
    monkeypatch.setattr(hall.line._taker._camera, "poll", fails)
    eventually(lambda: _beat_of_taker(hall).stalled() == "line one: taker: its thread has ended", 10)


def _beat_of_taker(hall: Hall) -> Beat:
    return hall.line._taker._beat


def test_a_scorer_that_has_failed_stands_still_for_the_watchdog() -> None:
    class Broken:
        def inspect(self, *_: object) -> None:
            raise SystemExit

    workers = Workers()
    scorer = Inference(Broken(), 1, workers)  # type: ignore[arg-type]
    scorer.start()
    eventually(lambda: workers.stalled() is None)
    scorer.submit(None, None)  # type: ignore[arg-type]
    eventually(lambda: workers.stalled() == "inference: its thread has ended")
