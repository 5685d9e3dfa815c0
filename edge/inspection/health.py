"""How a line is, and why: one value that follows from the alarms. Nothing else computes a state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from edge.camera.protocol import CameraState
from edge.messages import ComponentHealth, Level, LineHealth, State
from edge.ops.alarms import Alarm, Component

COMPONENTS: tuple[Component, ...] = get_args(Component)
"""What a line depends on, in the order in which they explain each other."""
LEVELS: tuple[Level, ...] = get_args(Level)
"""From good to bad."""
SOURCE_ENDED = "the source has ended"
"""The reason of a line whose file holds no more frames."""

_UNUSED_BY_PAUSED = ("camera", "judging")
_RESUME = "`alfa-edge resume`, or the command `resume`, has it judge again"
_PASSING = ("errors", "messages_refused")  # they come and go: the components have them, the state's reason does not
_MILD = "uncalibrated"  # graver troubles stand before it


def line_health(
    alarms: Sequence[Alarm], *, camera: CameraState, paused: str | None = None, halted: bool = False
) -> LineHealth:
    """How a line is.

    A component is as bad as its worst alarm. A component in `fault` makes the line's state `fault`, unless the line is
    paused and does without it. The level is the worst component's; a line that judges no parts is at least a `warning`.

    Args:
        alarms: The line's and the whole service's, faults first, then the oldest.
        camera: The state of the camera.
        paused: By whom the line is paused, in words; None: it is not.
        halted: Whether it takes no more parts.
    """
    components = {name: _component([alarm for alarm in alarms if alarm.component == name]) for name in COMPONENTS}
    level = max((found.level for found in components.values()), key=LEVELS.index)
    state, reason, remedy = _state(alarms, components, camera, paused, halted)
    if state not in ("ready", "running"):
        level = max(level, "warning", key=LEVELS.index)
    return LineHealth(state=state, level=level, reason=reason, remedy=remedy, components={**components})


def _component(alarms: Sequence[Alarm]) -> ComponentHealth:
    """Of its alarms, faults first."""
    if not alarms:
        return ComponentHealth(level="ok")
    level = alarms[0].severity
    worst = [alarm for alarm in alarms if alarm.severity == level]
    return ComponentHealth(
        level=level,
        reason="; ".join(dict.fromkeys(alarm.message for alarm in worst)),
        remedy="; ".join(dict.fromkeys(alarm.remedy for alarm in worst if alarm.remedy)) or None,
        since=min(alarm.since for alarm in worst),
    )


def _state(
    alarms: Sequence[Alarm],
    components: dict[Component, ComponentHealth],
    camera: CameraState,
    paused: str | None,
    halted: bool,
) -> tuple[State, str | None, str | None]:
    """The state, the reason, the remedy."""
    if halted:
        return "stopping", None, None
    for name, found in components.items():
        if found.level == "fault" and not (paused is not None and name in _UNUSED_BY_PAUSED):
            return "fault", found.reason, found.remedy
    if paused is not None:
        return "paused", paused, _RESUME
    if camera == "ended":
        return "ready", SOURCE_ENDED, None
    told = sorted((alarm for alarm in alarms if alarm.code not in _PASSING), key=lambda alarm: alarm.code == _MILD)
    notes = [alarm.message if alarm.code == _MILD else f"{alarm.code}: {alarm.message}" for alarm in told]
    state: State = "running" if camera == "running" else "ready"
    return state, "; ".join(notes) or None, next((alarm.remedy for alarm in told if alarm.remedy), None)
