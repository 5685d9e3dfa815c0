"""What commands need of a line."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

from edge.inspection.line_recipes import LineRecipes
from edge.inspection.recipe import LoadedRecipe, Seen
from edge.messages import LineHealth, Verdict
from edge.ops.metrics import Gauges

SeenQueue: TypeAlias = "queue.Queue[Seen | None] | queue.SimpleQueue[Seen | None]"
"""What a line has judged, as it comes; None when the line has ended. Read with `get(timeout=...)` alone."""


class TriggeredPart(Protocol):
    """A part that was triggered, and will be answered."""

    @property
    def answer(self) -> Future[Verdict]: ...

    def left(self) -> float:
        """Seconds until it must be answered."""
        ...


class LineControl(Protocol):
    """A line as commands see it: one that runs, or one at rest. Any thread may call it."""

    @property
    def seq(self) -> int: ...

    @property
    def paused(self) -> str | None:
        """By whom the line is paused, in words; None: it is not."""
        ...

    @property
    def recipes(self) -> LineRecipes: ...

    @property
    def shadow_counts(self) -> Mapping[str, int]:
        """What became of the parts that the line's shadow was handed, of `edge.inspection.shadow.OUTCOMES`."""
        ...

    @property
    def recipe(self) -> LoadedRecipe:
        """What the next part will be judged by. Raises RecipeNotReadyError: it is not ready."""
        ...

    def watch(self) -> AbstractContextManager[SeenQueue]: ...

    @property
    def in_review(self) -> int: ...

    def note_review(self, waiting: int) -> None: ...

    def stats_so_far(self) -> Mapping[str, int]: ...

    def say(self, words: str | None) -> None: ...

    def health(self) -> LineHealth: ...

    def gauges(self) -> Gauges:
        """Its figures at the moment."""
        ...

    def trigger(
        self, part_id: str, deadline_ms: int | None = None, recipe: str | None = None
    ) -> TriggeredPart | None: ...

    def pause(self, who: str) -> None: ...

    def resume(self) -> None: ...
