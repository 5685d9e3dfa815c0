"""A line whose own parts fail: no part goes without an answer unnoticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.alfa import Alfa
from core.backbone import load_backbone
from edge.inference import Inference
from edge.ops.worker import Workers
from edge.settings import CameraSettings, LineSettings
from edge.storage.verdict_database import VerdictDatabase
from tests.support.hall import Hall
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.quick import QUICK

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    """A line with a simulated camera, in trigger mode."""
    settings = LineSettings(
        camera=CameraSettings(source="sim:tile?seed=1&defects=0"), mode="trigger", deadline_ms=30_000
    )
    alfa = Alfa(load_backbone("untrained", None, "cpu", "fp32"), QUICK)
    with (
        Mosquitto() as mosquitto,
        subscribe(mosquitto.port, "line/#") as heard,
        Hall(settings, alfa, mosquitto, heard, tmp_path) as one,
    ):
        yield one


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_a_part_that_the_disk_refused_to_answer_is_not_answered_again_by_the_next_run(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(VerdictDatabase, "issue", full)
        refused = hall.line.trigger("part-1").answer.result(30)
        assert refused.error is not None
        assert refused.error.code == "state_failed"
    hall.line.trigger("part-2").answer.result(30)
    eventually(lambda: hall.outbox._writer.noted() == [])
    with closing(sqlite3.connect(hall.outbox.path)) as database:
        assert database.execute("SELECT part_id FROM triggers").fetchall() == []


def test_a_line_of_which_a_thread_has_failed_ends_the_service(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a test")

    assert hall.workers.stalled() is None
    monkeypatch.setattr(hall.publisher, "publish_verdict", fails)
    hall.line.trigger("part-1")
    assert hall.workers.failed.wait(30)
    assert hall.workers.failure == "the thread issuer-one has failed: RuntimeError: a test"
    eventually(lambda: hall.workers.stalled() == "issuer-one: its thread has ended", 10)
    monkeypatch.setattr(hall.line._acquisition._camera, "poll", fails)
    eventually(lambda: "acquisition-one: its thread has ended" in (hall.workers.stalled() or ""), 10)


def test_an_inference_that_has_failed_ends_the_service() -> None:
    class Broken:
        def inspect(self, *_: object, **__: object) -> None:
            raise SystemExit

    workers = Workers()
    inference = Inference(1, workers)
    inference.start()
    eventually(lambda: workers.stalled() is None)
    inference.submit(Broken(), None, None)  # type: ignore[arg-type]
    assert workers.failed.wait(10)
    eventually(lambda: workers.stalled() == "inference: its thread has ended")
