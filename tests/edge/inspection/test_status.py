"""What the state of a line says, and which of several troubles comes first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.drift import DriftTest
from edge.camera.supervisor import Camera
from edge.inspection.counters import Counters
from edge.inspection.issuer import Issuer
from edge.inspection.recipe import CurrentRecipe, LoadedRecipe
from edge.inspection.services import Services
from edge.inspection.status import Status
from edge.messages import NOT_CALIBRATED, Fault
from edge.ops.alarms import Alarms
from edge.storage.outbox import Depth
from tests.support.verdicts import RECIPE

DRIFT = SimpleNamespace(state=SimpleNamespace(drifting=True, reason="30 % of the last 100 parts alarmed"))


def status(
    *,
    provisional: bool = False,
    drift: Any = None,
    camera: str = "running",
    fault: Fault | None = None,
    alarms: dict[str, str] | None = None,
) -> Status:
    """Of a line with these troubles."""
    of_camera = SimpleNamespace(
        state=camera, reason="gone", reconnects=2, restarts=0, health=SimpleNamespace(fault=fault)
    )
    raised = Alarms()
    for code, message in (alarms or {}).items():
        raised.raise_(code, message, "one")
    services = SimpleNamespace(
        archive=SimpleNamespace(status=None),
        publisher=SimpleNamespace(
            state=SimpleNamespace(connected=True, last_puback_age_s=None), rejected={}, set_status=lambda *_, **__: None
        ),
        outbox=SimpleNamespace(depth=lambda _: Depth(0, None, 0), keeps=lambda _: True, look=lambda: None),
        alarms=raised,
    )
    recipe = LoadedRecipe(cast(Any, None), 0.5, 0.5, RECIPE, provisional=provisional, drift=cast(DriftTest, drift))
    return Status(
        "one",
        Counters(),
        cast(Camera, SimpleNamespace(status=of_camera)),
        CurrentRecipe(recipe),
        cast(Issuer, SimpleNamespace(open=0, issued=0, generation=1)),
        cast(Services, services),
    )


@pytest.mark.parametrize(("camera", "state"), [("running", "running"), ("starting", "ready")])
def test_a_line_that_is_not_calibrated_says_so_and_goes_on(camera: str, state: str) -> None:
    assert status(provisional=True, camera=camera).state() == (
        state,
        "not calibrated: show it good parts with `alfa-edge learn`",
    )
    assert status(camera=camera).state() == (state, None)


def test_graver_troubles_come_first() -> None:
    troubles = {"archive": "the disk is full", "broker": "nothing listens"}
    found = status(provisional=True, alarms=troubles)
    assert found.state() == ("running", f"archive: the disk is full; broker: nothing listens; {NOT_CALIBRATED}")
    assert status(drift=DRIFT).state() == ("running", f"drift: {DRIFT.state.reason}; calibrate anew")
    found.ask("show it four good parts")
    assert (found.state()[1] or "").endswith("; show it four good parts")
    assert [alarm.code for alarm in found.alarms()] == ["archive", "broker", "uncalibrated"]


def test_events_are_alarms_but_do_not_change_the_reason() -> None:
    assert status(alarms={"errors": "no frame", "messages_refused": "no trigger"}).state() == ("running", None)


@pytest.mark.parametrize(
    ("camera", "fault", "state", "reason"),
    [
        ("ended", None, "ready", "the source has ended"),
        ("fault", None, "fault", "camera: gone (attempt 3)"),
        ("running", Fault(code="camera_black", message="black"), "fault", "camera: black"),
    ],
)
def test_a_line_that_cannot_judge_says_only_that(camera: str, fault: Fault | None, state: str, reason: str) -> None:
    assert status(provisional=True, camera=camera, fault=fault).state() == (state, reason)


def test_what_a_person_wants_stands_before_the_camera_and_a_failed_disk_before_both() -> None:
    found = status(camera="fault")
    found.pause("by eva")
    assert found.state() == ("paused", "by eva")
    failed = status(camera="fault", alarms={"state_disk": "make room on its disk"})
    failed.pause("by eva")
    assert failed.state() == ("fault", "make room on its disk")
    failed.halt()
    assert failed.state() == ("stopping", None)


@pytest.mark.parametrize("provisional", [True, False])
def test_the_gauge_is_what_the_verdicts_say(provisional: bool) -> None:
    assert status(provisional=provisional).gauges().provisional is provisional
