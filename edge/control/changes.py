"""What commands change, as the audit keeps it: the state before and after, of which only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from edge.control.line_control import LineControl

State: TypeAlias = dict[str, Any]
"""By name, as JSON has it."""


def line_state(line: LineControl) -> State:
    """What commands can change of a line."""
    recipe = line.recipe
    return {
        "paused": line.paused,
        "pack": recipe.wire.pack,
        "pack_version": recipe.wire.pack_version,
        "threshold": recipe.threshold,
        "pixel_threshold": recipe.pixel_threshold,
        "threshold_source": recipe.wire.threshold_source,
        "shots": recipe.bank.shots,
        "bank_revision": recipe.bank.revision,
    }


def differing(before: State, after: State) -> tuple[State, State]:
    """Of both what is not the same; what only one of them has is None in the other."""
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}
