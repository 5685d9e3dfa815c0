"""A line with a triggered GigE Vision camera: one answer for every exposure, and for every trigger."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.alfa import Alfa
from core.backbone import load_backbone
from edge.clock import utc_now
from edge.settings import CameraSettings, LineSettings
from tests.support.gige import Relay
from tests.support.hall import Hall
from tests.support.mosquitto import Mosquitto, Subscription, eventually, subscribe


@pytest.fixture(scope="module")
def alfa() -> Alfa:
    return Alfa(load_backbone("untrained", None, "cpu", "fp32"))


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[Subscription]:
    with subscribe(mosquitto.port, "line/#") as messages:
        yield messages


def line(relay: Relay, trigger: str, **more: Any) -> LineSettings:
    camera = CameraSettings(source=relay.source, trigger=trigger, read_timeout_s=20, resend=False)
    # The camera gives a test picture.
    return LineSettings(**{"camera": camera, "deadline_ms": 60_000, "queue": 100, "health": {"flat": False}} | more)


def outcome(verdict: dict[str, Any]) -> str:
    return verdict["error"]["code"] if verdict["verdict"] == "error" else "judged"


def test_a_gap_in_the_frame_numbers_is_that_many_missed_parts(
    relay: Relay, alfa: Alfa, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    with Hall(line(relay, "line"), alfa, mosquitto, heard, tmp_path) as hall:
        eventually(lambda: relay.by_line and hall.state()[0] in ("ready", "running"), 60)
        relay.lose_frames([2, 3, 6])
        for _ in range(9):
            relay.pulse()
        found = hall.verdicts(9)
    lost = (2, 3, 6)
    assert [outcome(one) for one in found] == ["camera_missed" if place in lost else "judged" for place in range(9)]
    assert [one["seq"] for one in found] == list(range(1, 10))
    exposures = [one["camera"]["exposure"] for one in found if outcome(one) == "judged"]
    assert exposures == [number for place, number in enumerate(relay.frames) if place not in lost]
    assert "exposure 3 since the camera was opened brought no frame" in found[2]["error"]["message"]


def test_what_is_exposed_during_a_pause_is_answered(
    relay: Relay, alfa: Alfa, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    with Hall(line(relay, "line"), alfa, mosquitto, heard, tmp_path) as hall:
        eventually(lambda: relay.by_line and hall.state()[0] in ("ready", "running"), 60)
        relay.pulse()
        hall.verdicts(1)
        hall.line.pause("eva")
        relay.pulse()
        hall.verdicts(2)
        hall.line.resume()
        relay.pulse()
        found = hall.verdicts(3)
    assert [outcome(one) for one in found] == ["judged", "paused", "judged"]


def test_exposures_that_come_too_fast_are_answered_at_once(
    relay: Relay,
    alfa: Alfa,
    mosquitto: Mosquitto,
    heard: Subscription,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vision = alfa.vision
    judging = threading.Event()

    def wait(*arguments: Any) -> Any:
        judging.wait(30)
        return vision(*arguments)

    monkeypatch.setattr(alfa, "vision", wait)
    with Hall(line(relay, "line", queue=2), alfa, mosquitto, heard, tmp_path) as hall:
        eventually(lambda: relay.by_line and hall.state()[0] in ("ready", "running"), 60)
        for _ in range(5):
            relay.pulse()
        time.sleep(0.5)
        assert hall.verdicts() == [], "none is answered before those that came before it"
        judging.set()
        found = hall.verdicts(5)
    assert [outcome(one) for one in found] == ["judged"] * 2 + ["queue_full"] * 3, "in the order of the exposures"
    assert [one["camera"]["exposure"] for one in found] == relay.frames


def test_an_exposure_that_shows_nothing_waits_for_those_before_it(
    relay: Relay,
    alfa: Alfa,
    mosquitto: Mosquitto,
    heard: Subscription,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vision = alfa.vision
    judging = threading.Event()

    def wait(*arguments: Any) -> Any:
        judging.wait(30)
        return vision(*arguments)

    monkeypatch.setattr(alfa, "vision", wait)
    pattern = random.Random(5)
    relay.pixels = lambda place, sent: b"\x80" * len(sent) if place == 1 else pattern.randbytes(len(sent))
    with Hall(line(relay, "line", health={}), alfa, mosquitto, heard, tmp_path) as hall:
        eventually(lambda: relay.by_line and hall.state()[0] in ("ready", "running"), 60)
        for _ in range(3):
            relay.pulse()
        time.sleep(0.5)
        assert hall.verdicts() == [], "none is answered before those that came before it"
        judging.set()
        found = hall.verdicts(3)
    assert [outcome(one) for one in found] == ["judged", "camera_flat", "judged"]
    assert [one["camera"]["exposure"] for one in found] == relay.frames


def test_a_trigger_exposes_and_a_frame_that_is_not_whole_is_an_error(
    relay: Relay, alfa: Alfa, mosquitto: Mosquitto, heard: Subscription, tmp_path: Path
) -> None:
    with Hall(line(relay, "software", mode="trigger"), alfa, mosquitto, heard, tmp_path) as hall:
        while hall.line.trigger("first").answer.result(60).error is not None:
            pass  # the camera's process was still starting
        answers = []
        for part in range(6):
            torn = part in (1, 4)
            relay.keeps = lambda frame, packet, torn=torn: not (torn and packet == 50)
            before = utc_now()
            answers.append(hall.line.trigger(f"part-{part}").answer.result(60))
            captured = answers[-1].captured_at
            assert captured is not None
            assert captured >= before, "it was exposed after its trigger"
    codes = [answer.error.code if answer.error else "judged" for answer in answers]
    assert codes == ["camera_torn" if part in (1, 4) else "judged" for part in range(6)]
    assert [answer.part_id for answer in answers] == [f"part-{part}" for part in range(6)]
    assert "the frame did not come whole" in (answers[1].error.message if answers[1].error else "")
    exposures = [answer.camera.exposure if answer.camera else None for answer in answers]
    assert exposures == sorted(set(exposures)), "a new one for each"  # type: ignore[type-var]
