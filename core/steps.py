"""Work in short steps, so that the thread that does it can do something else in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in short steps; its value is the result."""


def finish(steps: Steps[T]) -> T:
    """The result of all `steps`, one after the other."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
