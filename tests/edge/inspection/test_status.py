"""What the state of a line says, and which of several troubles comes first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.drift import DriftTest
from edge.camera.supervisor import Camera
from edge.inspection.counters import Counters
from edge.inspection.issuer import Issuer
from edge.inspection.judging import FAILING_PARTS
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.services import Services
from edge.inspection.status import Status
from edge.messages import Bank, LineHealth, not_calibrated
from edge.ops.alarms import Alarms
from edge.settings_recipe import RecipeSettings
from edge.storage.outbox import Depth
from tests.support.recipes import only_recipe
from tests.support.verdicts import RECIPE, failure, verdict

SHADOW = SimpleNamespace(counts={"judged": 5, "passed_over": 3, "failed": 1, "unkept": 0}, trouble=None)
DRIFT = SimpleNamespace(state=SimpleNamespace(drifting=True, reason="30 % of the last 100 parts alarmed"))


class Observed(Status):
    """With what it looks at."""

    counters: Counters
    raised: Alarms


def status(
    *,
    provisional: bool = False,
    drift: Any = None,
    shots: int = 0,
    camera: str = "running",
    alarms: dict[str, str] | None = None,
    said: list[LineHealth] | None = None,
) -> Observed:
    """Of a line with these troubles; what it publishes goes to `said`."""
    of_camera = SimpleNamespace(state=camera, reconnects=2, restarts=0, damaged=0)
    published = [] if said is None else said
    raised = Alarms()
    for code, message in (alarms or {}).items():
        raised.raise_(code, message, "one")
    services = SimpleNamespace(
        archive=SimpleNamespace(status=SimpleNamespace(skipped=0, failed=0)),
        publisher=SimpleNamespace(
            state=SimpleNamespace(connected=True, last_puback_age_s=None),
            rejected={},
            set_status=lambda health, **_: published.append(health),
        ),
        outbox=SimpleNamespace(depth=lambda _: Depth(0, None, 0), keeps=lambda _: True, look=lambda: None),
        alarms=raised,
    )
    recipe = LoadedRecipe(
        *[cast(Any, None)] * 3,
        0.5,
        0.5,
        RECIPE,
        provisional=provisional,
        drift=cast(DriftTest, drift),
        bank=Bank(shots=shots, revision=shots),
    )
    counters = Counters()
    found = Observed(
        "one",
        counters,
        cast(Camera, SimpleNamespace(status=of_camera)),
        only_recipe("one", RecipeSettings(), recipe),
        cast(Issuer, SimpleNamespace(open=0, issued=0, generation=1, shadow=SHADOW)),
        cast(Services, services),
        review_queue=2,
    )
    found.counters, found.raised = counters, raised
    return found


@pytest.mark.parametrize(("camera", "state"), [("running", "running"), ("starting", "ready")])
def test_a_line_that_is_not_calibrated_says_so_and_goes_on(camera: str, state: str) -> None:
    found = status(provisional=True, camera=camera).health()
    assert (found.state, found.reason) == (state, "not calibrated: show it good parts with `alfa-edge learn`")
    assert (found.level, found.components["judging"].level) == ("warning", "warning")
    well = status(camera=camera).health()
    assert (well.state, well.reason, well.level) == (state, None, "ok")


def test_a_line_with_shots_is_not_sent_to_a_first_run_which_refuses_it() -> None:
    found = status(provisional=True, shots=4).health()
    assert found.reason == "not calibrated: show it good parts with `alfa-edge calibrate`"


def test_graver_troubles_come_first() -> None:
    troubles = {"archive": "the disk is full", "broker": "nothing listens"}
    found = status(provisional=True, alarms=troubles)
    assert found.health().reason == f"archive: the disk is full; broker: nothing listens; {not_calibrated(0)}"
    assert status(drift=DRIFT).health().reason == f"drift: {DRIFT.state.reason}; calibrate anew"
    found.ask("show it four good parts")
    assert (found.health().reason or "").endswith("; show it four good parts")
    assert [alarm.code for alarm in found.alarms()] == ["archive", "broker", "uncalibrated"]


def test_parts_that_are_all_errors_are_a_fault_until_one_is_judged() -> None:
    found = status()
    for seq in range(1, FAILING_PARTS):
        found.counters.issued(failure("one", seq, code="late"))
    assert found.health().state == "running"
    found.counters.issued(failure("one", FAILING_PARTS, code="late"))
    health = found.health()
    assert (health.state, health.level, health.components["judging"].level) == ("fault", "fault", "fault")
    assert health.reason == "the last 5 parts were all answered `error`: late: a test"
    assert "NTP" in (health.remedy or "")
    assert [alarm.code for alarm in found.alarms()] == ["judging"]
    assert found.gauges().line_state == "fault"
    assert found.gauges().component_health["judging"] == 2
    found.pause("by eva")
    paused = found.health()
    assert (paused.state, paused.level, paused.components["judging"].level) == ("paused", "fault", "fault")
    found.pause(None)
    found.counters.issued(verdict("one", FAILING_PARTS + 1))
    assert (found.health().state, found.health().level) == ("running", "ok")


def test_what_the_parts_said_of_a_fault_that_is_over_is_of_the_past() -> None:
    """Else a controller that waits for the line to run would wait for ever."""
    found = status(alarms={"camera": "the camera gives no frames: gone"})
    for seq in range(1, 10):
        found.counters.issued(failure("one", seq, code="camera_no_frame"))
    assert {name for name, part in found.health().components.items() if part.level == "fault"} == {"camera", "judging"}
    found.raised.clear("camera", "one")
    assert found.health().state == "running"


def test_a_line_whose_source_has_ended_says_only_that() -> None:
    found = status(provisional=True, camera="ended").health()
    assert (found.state, found.reason) == ("ready", "the source has ended")


@pytest.mark.parametrize("provisional", [True, False])
def test_the_gauge_is_what_the_verdicts_say(provisional: bool) -> None:
    assert status(provisional=provisional).gauges().provisional is provisional


def test_what_is_published_is_what_is_asked_for() -> None:
    said: list[LineHealth] = []
    found = status(alarms={"archive": "full", "state_disk": "worn"}, said=said)
    found.publish()
    assert said == [found.health()]


def test_more_parts_that_wait_for_review_than_may_are_an_alarm_until_they_are_answered() -> None:
    line = status()
    line.counters.in_review = 2
    line.health()
    assert "review" not in {alarm.code for alarm in line.raised.of("one")}
    line.counters.in_review = 3
    line.health()
    [alarm] = [alarm for alarm in line.raised.of("one") if alarm.code == "review"]
    assert alarm.message == "more than 2 parts wait for review (lines.one.review_queue)"
    line.counters.in_review = 0
    line.health()
    assert "review" not in {alarm.code for alarm in line.raised.of("one")}


def test_a_shadow_that_judges_nothing_is_a_warning_and_the_stats_count_its_parts() -> None:
    line = status()
    assert (line.stats().shadow_judged, line.stats().shadow_passed_over) == (5, 4)
    assert line.gauges().shadow_parts == SHADOW.counts
    line._issuer = cast(Issuer, SimpleNamespace(shadow=SimpleNamespace(trouble="recipe B: its pack is gone")))
    found = line.health()
    assert (found.level, found.reason) == ("warning", "shadow: recipe B: its pack is gone")
    assert "alfa-edge shadow stop" in (found.remedy or "")
