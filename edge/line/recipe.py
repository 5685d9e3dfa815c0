"""What a line judges by, ready for use, and what it has seen."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from core.image import Rgb
from edge.verdict import Bank, Recipe, State

if TYPE_CHECKING:
    from core.adaptation import TextFeatures
    from core.alfa import Inspection
    from core.drift import DriftTest
    from core.memory import Index
    from edge.line.ticket import Ticket

NO_SHOTS = Bank(shots=0, revision=0)


@dataclass(frozen=True, eq=False)
class LoadedRecipe:
    """What the line judges by.

    Attributes:
        drift: Whether the line still does what its calibration promised; fed by the line. None without calibration.
    """

    text: TextFeatures
    threshold: float
    pixel_threshold: float
    wire: Recipe
    index: Index | None = None
    bank: Bank = NO_SHOTS
    drift: DriftTest | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """An inspected picture, what was found, and what it was judged by."""

    image: Rgb
    inspection: Inspection
    recipe: LoadedRecipe


class Judge(Protocol):
    """What commands know of a line."""

    @property
    def seq(self) -> int: ...

    @property
    def recipe(self) -> LoadedRecipe: ...

    def change_recipe(self, recipe: LoadedRecipe) -> None: ...

    def watch(self) -> AbstractContextManager[queue.SimpleQueue[Seen | None]]: ...

    def stats_so_far(self) -> Mapping[str, int]: ...

    def state(self) -> tuple[State, str | None]: ...

    def trigger(self, part_id: str, deadline_ms: int | None = None) -> Ticket | None: ...

    def pause(self, who: str) -> None: ...

    def resume(self) -> None: ...
