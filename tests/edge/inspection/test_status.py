"""What the state of a line says, and which of several troubles comes first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.drift import DriftTest
from edge.inspection.counters import Tally
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.status import Condition, Services
from edge.messages import NOT_CALIBRATED, Fault
from edge.storage.outbox import Depth
from tests.support.verdicts import RECIPE

DRIFT = SimpleNamespace(state=SimpleNamespace(drifting=True, reason="30 % of the last 100 parts alarmed"))


def condition(
    archive: str | None = None, broker: str | None = None, camera: str = "running", fault: Fault | None = None
) -> Condition:
    """Of a line whose archive and broker have these troubles."""
    status = SimpleNamespace(state=camera, reason="gone", reconnects=2, restarts=0, health=SimpleNamespace(fault=fault))
    services = SimpleNamespace(
        archive=SimpleNamespace(status=SimpleNamespace(fault=archive)),
        publisher=SimpleNamespace(
            state=SimpleNamespace(trouble=broker, connected=True, last_puback_age_s=None), rejected={}
        ),
        outbox=SimpleNamespace(depth=lambda _: Depth(0, None, 0)),
    )
    return Condition("one", Tally(), cast(Any, SimpleNamespace(status=status)), cast(Services, services))


def recipe(provisional: bool, drift: Any = None) -> LoadedRecipe:
    return LoadedRecipe(cast(Any, None), 0.5, 0.5, RECIPE, provisional=provisional, drift=cast(DriftTest, drift))


@pytest.mark.parametrize(("camera", "state"), [("running", "running"), ("starting", "ready")])
def test_a_line_that_is_not_calibrated_says_so_and_goes_on(camera: str, state: str) -> None:
    assert condition(camera=camera).state(recipe(True)) == (
        state,
        "not calibrated: show it good parts with `alfa-edge learn`",
    )
    assert condition(camera=camera).state(recipe(False)) == (state, None)


def test_graver_troubles_come_first() -> None:
    found = condition(archive="the disk is full", broker="nothing listens").state(recipe(True))
    assert found == ("running", f"archive: the disk is full; broker: nothing listens; {NOT_CALIBRATED}")
    state, reason = condition(broker="nothing listens").state(recipe(False, DRIFT))
    assert (state, reason) == ("running", f"drift: {DRIFT.state.reason}; calibrate anew; broker: nothing listens")


@pytest.mark.parametrize(
    ("camera", "fault", "state", "reason"),
    [
        ("ended", None, "ready", "the source has ended"),
        ("fault", None, "fault", "camera: gone (attempt 3)"),
        ("running", Fault(code="camera_black", message="black"), "fault", "camera: black"),
    ],
)
def test_a_line_that_cannot_judge_says_only_that(camera: str, fault: Fault | None, state: str, reason: str) -> None:
    assert condition(camera=camera, fault=fault).state(recipe(True)) == (state, reason)


@pytest.mark.parametrize("provisional", [True, False])
def test_the_gauge_is_what_the_verdicts_say(provisional: bool) -> None:
    assert condition().gauges("running", 0, recipe(provisional)).provisional is provisional
