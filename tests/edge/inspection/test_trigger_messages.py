"""Triggers as messages: what is acknowledged when, what is a repetition, and what is too old."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from core.alfa import Alfa
from core.backbone import load_backbone
from edge.clock import monotonic, utc_now
from edge.inspection.line_recipes import RecipeSlot
from edge.inspection.triggers import Triggers
from edge.mqtt.inbound import InboundMessage
from edge.ops.metrics import Metrics
from edge.settings import CameraSettings, LineSettings
from edge.storage.verdict_database import VerdictDatabase
from edge.storage.verdict_tables import MessageIdentity
from tests.support.hall import Hall
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.quick import QUICK
from tests.support.recipes import Keeper, stored


@dataclass
class Connection:
    """Notes what it was to acknowledge."""

    acknowledged: list[int] = field(default_factory=list)

    def acknowledge(self, packet: int, trigger: int | None) -> None:
        self.acknowledged.append(packet)


class Bench:
    """A line, and triggers for it."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.connection = Connection()
        self.triggers = Triggers({"one": hall.line}, hall.outbox, Metrics(), hall.alarms)

    def send(self, part_id: str, packet: int, connection: str = "c1", *, again: bool = False, **more: Any) -> None:
        waited_s, received = more.pop("waited_s", 0.0), more.pop("received", monotonic())
        payload = json.dumps({"part_id": part_id} | more).encode()
        identity = MessageIdentity("one", connection, packet, part_id, again)
        self.triggers.receive(InboundMessage("one", "trigger", payload, received, waited_s, identity, self.connection))

    def answers(self, part_id: str, count: int = 1) -> list[dict[str, Any]]:
        eventually(lambda: len(self._of(part_id)) >= count, 30)
        return self._of(part_id)

    def _of(self, part_id: str) -> list[dict[str, Any]]:
        return [one for one in self.hall.verdicts() if one["part_id"] == part_id]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    settings = LineSettings(
        camera=CameraSettings(source="sim:tile?seed=1&defects=0"), mode="trigger", deadline_ms=20_000
    )
    alfa = Alfa(load_backbone("untrained", None, "cpu", "fp32"), QUICK)
    with (
        Mosquitto() as mosquitto,
        subscribe(mosquitto.port, "line/#") as heard,
        Hall(settings, alfa, mosquitto, heard, tmp_path) as hall,
    ):
        yield Bench(hall)


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def code(verdict: dict[str, Any]) -> str:
    return str(verdict["error"]["code"] if verdict["verdict"] == "error" else verdict["verdict"])


def test_a_trigger_is_acknowledged_once_it_is_on_disk_and_a_repetition_is_not_answered(bench: Bench) -> None:
    bench.send("part", 7)
    eventually(lambda: bench.connection.acknowledged == [7])
    assert not bench.answers("part")[0]["duplicate"]
    bench.send("part", 7, "c2", again=True)  # the PUBACK was lost
    eventually(lambda: bench.connection.acknowledged == [7, 7])
    bench.send("part", 8, "c2", again=True)  # the carrier is back, and the first transmission was lost
    assert [one["duplicate"] for one in bench.answers("part", 2)] == [False, True]
    assert bench.connection.acknowledged == [7, 7, 8]


def test_a_trigger_that_the_disk_refuses_is_acknowledged_when_it_is_answered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for name in ("accept", "issue", "amend"):
            patch.setattr(VerdictDatabase, name, full)
        bench.hall.line.pause("eva")
        bench.send("part", 7)
        assert code(bench.answers("part")[0]) == "state_failed"
        eventually(lambda: bench.connection.acknowledged == [7])
        bench.send("part", 7, "c2", again=True)  # it has its answer, though the disk knows of neither
        eventually(lambda: bench.connection.acknowledged == [7, 7])
        bench.send("part", 8, "c2", again=True)  # of this one nobody knows: it is answered, and marked
        assert [one["duplicate"] for one in bench.answers("part", 2)] == [False, True]
    eventually(lambda: not bench.hall.outbox.keeps("one"))
    assert bench.hall.outbox.last_seq("one") == 2


def test_what_is_no_part_any_more_is_answered_and_not_judged(bench: Bench) -> None:
    bench.send("fresh", 1, waited_s=3.0)  # at most: a connection was away for so long
    bench.send("old", 2, waited_s=30.0)
    bench.send("kept", 3, received=monotonic() - 25.0)  # while the service started
    bench.send("away", 4, waited_s=float("inf"))
    stamp = datetime.now(timezone.utc) - timedelta(seconds=40)
    bench.send("stamped", 5, at=stamp.isoformat())
    found = {part: bench.answers(part)[0] for part in ("fresh", "old", "kept", "away", "stamped")}
    assert code(found["fresh"]) == "normal" or found["fresh"]["verdict"] == "anomaly"
    assert {code(found[part]) for part in ("old", "kept", "away", "stamped")} == {"late"}
    assert "while the service was away" in found["away"]["error"]["message"]
    assert "`at`" in found["stamped"]["error"]["message"]


def test_a_trigger_that_changes_the_recipe_is_acknowledged_once_that_is_on_disk_too(bench: Bench) -> None:
    recipes, keeper = bench.hall.line.recipes, cast(Keeper, bench.hall.line.recipes._keeper)
    recipes.add(RecipeSlot(stored("B", 2)))
    bench.send("part", 7, recipe="B", deadline_ms=100)
    assert code(bench.answers("part")[0]) == "recipe_not_ready"
    assert (keeper.kept, bench.connection.acknowledged) == (["B"], [])
    keeper.on_disk[0].set_result(None)
    eventually(lambda: bench.connection.acknowledged == [7])
    bench.send("again", 8, recipe=2, deadline_ms=100)  # which the line judges by already
    eventually(lambda: bench.connection.acknowledged == [7, 8])
    assert keeper.kept == ["B"]


def test_a_repetition_changes_the_recipe_only_where_the_service_was_killed_before_it_was_kept(bench: Bench) -> None:
    recipes, keeper = bench.hall.line.recipes, cast(Keeper, bench.hall.line.recipes._keeper)
    recipes.add(RecipeSlot(stored("B", 2)))
    bench.hall.outbox.accept("one", "part", utc_now(), MessageIdentity("one", "c1", 7, "part", False)).future.result(30)
    bench.send("part", 7, "c2", again=True, recipe="B")  # to the run before it was new
    eventually(lambda: keeper.kept == ["B"])
    assert bench.connection.acknowledged == []
    keeper.on_disk[0].set_result(None)
    eventually(lambda: bench.connection.acknowledged == [7])
    bench.send("next", 8, recipe="default")
    bench.send("part", 7, "c3", again=True, recipe="B")  # its acknowledgement was lost
    eventually(lambda: bench.connection.acknowledged == [7, 7])
    assert (keeper.kept, recipes.active.stored.name) == (["B", "default"], "default")
