"""What others may ask of a line."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from edge.inspection.recipe import LoadedRecipe, Seen
from edge.inspection.request import Ticket
from edge.messages import State


class Judge(Protocol):
    """What commands know of a line."""

    @property
    def seq(self) -> int: ...

    @property
    def recipe(self) -> LoadedRecipe: ...

    def change_recipe(self, recipe: LoadedRecipe) -> None: ...

    def watch(self) -> AbstractContextManager[queue.SimpleQueue[Seen | None]]: ...

    def stats_so_far(self) -> Mapping[str, int]: ...

    def say(self, words: str | None) -> None: ...

    def state(self) -> tuple[State, str | None]: ...

    def trigger(self, part_id: str, deadline_ms: int | None = None) -> Ticket | None: ...

    def pause(self, who: str) -> None: ...

    def resume(self) -> None: ...
