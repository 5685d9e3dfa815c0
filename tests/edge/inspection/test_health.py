"""What the lights of a line show: nothing that is alarmed is lit green, and what is worst is said."""

from __future__ import annotations

import pytest

from edge.camera.protocol import CameraState
from edge.inspection.health import COMPONENTS, line_health
from edge.messages import LineHealth, State
from edge.ops.alarms import ALARMS, Alarms


def health(*codes: str, camera: CameraState = "running", paused: str | None = None, halted: bool = False) -> LineHealth:
    """Of a line with these alarms."""
    alarms = Alarms()
    for code in codes:
        alarms.raise_(code, f"trouble of {code}", "one")
    return line_health(alarms.of("one"), camera=camera, paused=paused, halted=halted)


def test_a_line_without_alarms_is_green() -> None:
    found = health()
    assert (found.state, found.level, found.reason, found.remedy) == ("running", "ok", None, None)
    assert set(found.components) == set(COMPONENTS)
    assert {component.level for component in found.components.values()} == {"ok"}


@pytest.mark.parametrize("code", ALARMS)
def test_no_alarm_is_lit_green(code: str) -> None:
    kind, found = ALARMS[code], health(code)
    assert (found.level, found.state) == (kind.severity, "fault" if kind.severity == "fault" else "running")
    component = found.components[kind.component]
    assert (component.level, component.reason, component.remedy) == (kind.severity, f"trouble of {code}", kind.remedy)
    assert component.since is not None
    assert [name for name, other in found.components.items() if other.level != "ok"] == [kind.component]
    assert kind.remedy, "say what to do about it"


@pytest.mark.parametrize(
    ("paused", "halted", "camera", "codes", "state", "reason"),
    [
        (None, False, "starting", (), "ready", None),
        (None, False, "ended", (), "ready", "the source has ended"),
        ("by eva", False, "running", (), "paused", "by eva"),
        ("by eva", False, "fault", ("camera", "judging"), "paused", "by eva"),  # it does without them
        ("by eva", False, "fault", ("camera", "state_disk"), "fault", "trouble of state_disk"),
        (None, False, "fault", ("judging", "camera"), "fault", "trouble of camera"),  # which explains the other
        (None, True, "fault", ("state_disk",), "stopping", None),
    ],
)
def test_which_of_several_comes_first(
    paused: str | None, halted: bool, camera: CameraState, codes: tuple[str, ...], state: State, reason: str | None
) -> None:
    found = health(*codes, paused=paused, halted=halted, camera=camera)
    assert (found.state, found.reason) == (state, reason)
    for code in codes:
        assert found.components[ALARMS[code].component].level == "fault"
    assert (found.level == "ok") == (state == "ready")


def test_what_comes_and_goes_is_a_warning_of_its_component_and_not_the_reason() -> None:
    found = health("errors", "messages_refused")
    assert (found.state, found.level, found.reason) == ("running", "warning", None)
    assert found.components["judging"].reason == "trouble of errors"
