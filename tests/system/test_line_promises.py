"""What a line promises, each promise tried by the fault that once broke it. The numbers are those of the faults."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.support.account import Account, codes, generation_of
from tests.support.faults import Faults
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.plant import Plant
from tests.support.quick import TABLE
from tests.support.service import Service, toml

pytestmark = pytest.mark.timeout(300)  # the first start compiles a pack, on a busy machine for long

FREE = "line-3"
FPS = 10.0  # so that a picture of the next 200 ms is taken for a part
PICTURES_S = 2.5 / FPS  # so that each part has a picture of its own in time
OTHER_PACK = "magnetic_tile"


@pytest.fixture(scope="module")
def whole_plant() -> Iterator[Plant]:
    free: dict[str, Any] = {f"lines.{FREE}": {"mode": "free"}, f"lines.{FREE}.camera": {"rate": 2.0}}
    with Plant(3, fps=FPS, deadline_ms=1000, proxied=True, faulty=True, mqtt={"keepalive_s": 3}, **free) as one:
        yield one


@pytest.fixture
def plant(whole_plant: Plant) -> Plant:
    """The one that is there, started anew if a test has ended it."""
    assert whole_plant.service.process is not None
    if whole_plant.service.process.poll() is not None:
        whole_plant.start()
    return whole_plant


@pytest.fixture
def faults(plant: Plant) -> Faults:
    """What can go wrong in it."""
    assert plant.faults is not None
    return plant.faults


def answer(plant: Plant, part_id: str, timeout_s: float = 15.0) -> dict[str, Any]:
    """The first verdict of a part."""
    plant.service.until(lambda: bool(plant.monitor.answers(part_id)), f"verdict of {part_id}", timeout_s)
    return plant.monitor.answers(part_id)[0]


def code(verdict: dict[str, Any]) -> str:
    """`normal`, `anomaly` or the code of the error."""
    return str(verdict["error"]["code"] if verdict["verdict"] == "error" else verdict["verdict"])


def restart(plant: Plant) -> None:
    """`kill -9` and a start; not each line need run afterwards."""
    plant.kill()
    plant.start(wait=False)


def test_triggers_as_plcs_send_them_are_answered(plant: Plant) -> None:
    """Fault 13."""
    payloads = {
        "nul-1": b'{"part_id": "nul-1"}\0\0\0',
        "bom-1": b'\xef\xbb\xbf{"part_id": "bom-1"}',
        "4711": b'{"part_id": 4711}',
        "crlf-1": b'{"part_id": "crlf-1"}\r\n',
        "float-1": b'{"part_id": "float-1", "deadline_ms": 5000.0}',
        "inner-1": b'{"part_id": "inner\\u0000-1"}',
    }
    for payload in payloads.values():
        plant.plc.publish("line/line-1/trigger", payload)
        time.sleep(PICTURES_S)
    with suppress(AssertionError):  # what follows says which are missing
        eventually(lambda: set(payloads) <= plant.monitor.answered(), 5.0)
    assert {part: [code(one) for one in plant.monitor.answers(part)] for part in payloads} == {
        part: ["normal"] for part in payloads
    }


def test_a_refused_command_is_answered_with_its_id(plant: Plant) -> None:
    """Fault 13."""
    for payload in (b'{"id": 7, "command": "nonsense"}', b'{"id": "seven", "command": 7}'):
        plant.plc.publish("line/line-1/command", payload)
    eventually(lambda: len(plant.monitor.replies("line-1")) >= 2, 5.0)
    assert [reply["id"] for reply in plant.monitor.replies("line-1")] == ["7", "seven"]
    assert all(reply["refusal"]["message"] for reply in plant.monitor.replies("line-1"))


@pytest.mark.parametrize(("line", "ahead_s"), [("line-1", -3.0), ("line-2", 3600.0)], ids=["behind", "ahead"])
def test_a_part_is_not_late_for_a_clock_that_is_wrong(plant: Plant, line: str, ahead_s: float) -> None:
    """Fault 16: a few stamps tell a wrong clock from parts that had to wait."""
    end = time.monotonic() + 6.0
    while plant.monitor.alarm(line, "clock_skew") is None and time.monotonic() < end:
        trigger_stamped(plant, line, ahead_s)
        time.sleep(0.6)
    parts = [trigger_stamped(plant, line, ahead_s) for _ in range(3)]
    assert [code(answer(plant, part)) for part in parts] == ["normal"] * 3
    assert plant.monitor.alarm(line, "clock_skew") is not None


def trigger_stamped(plant: Plant, line: str, ahead_s: float) -> str:
    """Triggers a part by a clock that is so far ahead; the part."""
    at = datetime.now(timezone.utc) + timedelta(seconds=ahead_s)
    plant.plc.trigger(line, f"stamped {at}", at=at.isoformat())
    time.sleep(PICTURES_S)
    return f"stamped {at}"


def test_a_picture_that_comes_long_after_its_trigger_is_not_judged(plant: Plant) -> None:
    """Fault 9."""
    plant.films["line-1"].stall()
    time.sleep(0.3)  # what was on its way has come
    plant.plc.trigger("line-1", "too early", deadline_ms=5000)
    time.sleep(1.5)
    plant.films["line-1"].resume()
    assert code(answer(plant, "too early")) == "camera_late"
    plant.plc.trigger("line-1", "in time", deadline_ms=5000)
    assert code(answer(plant, "in time")) == "normal"


def test_a_score_that_is_no_number_costs_its_own_part_only(plant: Plant, faults: Faults) -> None:
    """Fault 6."""
    with faults.no_number():
        plant.plc.trigger("line-1", "no number")
        assert answer(plant, "no number")["verdict"] == "error"
    plant.plc.trigger("line-1", "a number")
    assert code(answer(plant, "a number")) == "normal"


def test_a_part_that_comes_back_is_answered_again_although_its_trigger_was_lost_on_the_way(plant: Plant) -> None:
    """Fault 2: what tells triggers apart is the message, not the part."""
    assert plant.proxy is not None
    plant.plc.trigger("line-1", "carrier")
    answer(plant, "carrier")
    plant.proxy.swallow()
    plant.plc.trigger("line-1", "carrier")
    plant.plc.acknowledged()
    time.sleep(0.2)  # the broker has sent it
    plant.proxy.cut()
    plant.service.until(lambda: len(plant.monitor.answers("carrier")) == 2, "second verdict of the carrier", 10.0)
    assert [verdict.get("duplicate", False) for verdict in plant.monitor.answers("carrier")] == [False, True]


def test_a_trigger_that_comes_twice_is_answered_once(plant: Plant, faults: Faults) -> None:
    """Fault 2: killed between the trigger's way to the disk and its acknowledgement, before the answer and after."""
    assert plant.proxy is not None
    plant.proxy.swallow_from_clients()
    plant.plc.trigger("line-1", "answered")
    plant.service.until(lambda: "answered" in history(plant, "line-1"), "verdict on disk", 5.0)
    with faults.slow_pass(2.0):
        plant.plc.trigger("line-2", "unanswered", deadline_ms=10_000)
        time.sleep(0.5)
        restart(plant)
    for part in ("answered", "unanswered"):
        answer(plant, part, 60.0)
    time.sleep(1.0)
    assert [len(plant.monitor.answers(part)) for part in ("answered", "unanswered")] == [1, 1]


def history(plant: Plant, line: str) -> set[str | None]:
    """The parts of the line's last verdicts on disk."""
    return {verdict.get("part_id") for verdict in plant.ask("history", line=line, count=20)["verdicts"]}


def test_what_is_no_command_does_not_end_the_service_while_it_starts(plant: Plant) -> None:
    """Fault 1: kept by the broker, repeated during the start, and retained."""
    wrong = (b"pause", b'{"command": "stop"}')
    lines, topic = ("line-1", "line-2"), "line/line-1/command"
    before = len(plant.monitor.replies("line-1"))
    plant.kill()
    for payload in wrong:
        plant.plc.publish(topic, payload)
        plant.plc.publish(topic, payload, retain=True)
    plant.plc.acknowledged()
    plant.start(wait=False)
    try:
        while not all(map(plant.runs, lines)):
            for payload in wrong:
                plant.plc.publish(topic, payload)
            time.sleep(0.3)
            assert plant.service.process is not None
            assert plant.service.process.poll() is None, "it ended"
    finally:
        plant.plc.publish(topic, b"", retain=True)
    plant.service.until(lambda: len(plant.monitor.replies("line-1")) >= before + 4, "refusals", 5.0)
    assert all(reply["refusal"]["code"] for reply in plant.monitor.replies("line-1")[before:])
    assert plant.metric("alfa_edge_mqtt_rejected_total", line="line-1") >= 4


def test_what_was_set_stays_set_over_a_kill(plant: Plant) -> None:
    """Fault 10."""
    before = {line: plant.ask("recipe_list")["lines"][line]["pack"] for line in plant.lines}
    plant.ask("pause", line="line-1")
    plant.ask("recipe_set", line="line-2", pack=OTHER_PACK)
    restart(plant)
    plant.plc.trigger("line-2", "first")
    plant.service.until(lambda: plant.runs("line-2"), "line that runs", 60.0)
    plant.plc.trigger("line-2", "second")
    assert [answer(plant, part)["recipe"]["pack"] for part in ("first", "second")] == [OTHER_PACK] * 2
    plant.service.until(lambda: state_of(plant, "line-1") in ("paused", "running"), "state of the line", 10.0)
    assert state_of(plant, "line-1") == "paused"
    plant.ask("resume", line="line-1")
    plant.ask("recipe_set", line="line-2", pack=before["line-2"])
    plant.service.until(lambda: plant.runs("line-1"), "line that runs", 10.0)


def state_of(plant: Plant, line: str) -> str | None:
    """What the line has said since the last start of the service."""
    said = plant.monitor.state(line)
    return said.message["state"] if said is not None and said.at > plant.started else None


def test_a_stop_leaves_no_part_without_an_answer(plant: Plant, faults: Faults) -> None:
    """Fault 14."""
    logged = plant.service.log.stat().st_size
    with faults.slow_pass(0.5), plant.plc.shift(["line-1", "line-2"], 10.0) as shift:
        time.sleep(1.0)
        asked, wall = time.monotonic(), time.time()
        plant.signal(signal.SIGTERM)
        assert plant.service.process is not None
        assert plant.service.process.wait(20) == 0
        ended = time.monotonic()
    with plant.service.log.open() as file:
        file.seek(logged)
        assert "connection lost" not in file.read()
    after = [one for one in plant.monitor.verdicts() if one.line == FREE and one.moment("issued_at") > asked]
    plant.start()
    plant.settle(shift)
    answers = Account(plant.monitor.verdicts()).answers(shift.parts.values())
    late = [one for one in answers if one.part.sent > asked]
    print(f"\nstopped within {ended - asked:.1f} s; triggers since then: {codes(late)}")
    assert "restart" not in {one.code for one in late}, "a trigger was acknowledged, and kept for the next run"
    assert after, "the frame in work has no verdict"
    assert all(datetime.fromisoformat(one.message["captured_at"]).timestamp() < wall + 0.1 for one in after)


def test_a_stop_while_it_loads_takes_no_longer_than_two_seconds(tmp_path: Path) -> None:
    """Fault 14: models and packs are read in seconds, here of packs that are not compiled yet."""
    with Mosquitto() as broker:
        tables: dict[str, dict[str, Any]] = {
            "service": {"state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run")},
            "model": {"name": "untrained", "device": "cpu", "dtype": "fp32", "store": str(tmp_path / "models")},
            "method": TABLE,
            "mqtt": {"host": broker.host, "port": broker.port},
        }
        for number, pack in enumerate(("bottle", "commutator", "magnetic_tile")):
            tables[f"lines.line-{number}"] = {"pack": pack, "mode": "trigger"}
            tables[f"lines.line-{number}.camera"] = {"source": "sim:bottle?rate=1"}
        config = tmp_path / "edge.toml"
        config.write_text(toml(tables))
        with subscribe(broker.port, "line/+/status") as said, Service(config) as service:
            said.wait(1)  # `starting`
            asked = time.monotonic()
            assert service.stop() == 0
            took = time.monotonic() - asked
        assert took <= 2.0, f"it ended {took:.1f} s after it was asked to"


def test_a_restored_backup_gives_no_number_twice_and_answers_no_trigger_again(
    plant: Plant, faults: Faults, tmp_path: Path
) -> None:
    """Fault 11."""
    backup = tmp_path / "backup"
    with faults.slow_pass(1.5):
        plant.plc.trigger("line-1", "while it was copied", deadline_ms=5000)
        time.sleep(0.3)
        plant.ask("backup", folder=str(backup))
        answer(plant, "while it was copied")
    with plant.plc.shift(["line-1", "line-2"], 5.0) as shift:
        time.sleep(1.0)
    plant.settle(shift)
    plant.caught_up(10)
    plant.stop()
    for file in plant.state.glob("*.db*"):
        file.unlink()
    for file in backup.iterdir():
        shutil.copy(file, plant.state)
    plant.start()
    with plant.plc.shift(["line-1", "line-2"], 5.0) as again:
        time.sleep(1.0)
    plant.settle(again)
    assert len(plant.monitor.answers("while it was copied")) == 1
    account = Account(plant.monitor.verdicts())
    account.answers(shift.parts.values())
    assert {generation_of(one.heard) for one in account.answers(again.parts.values())} == {2}
