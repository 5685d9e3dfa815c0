"""Where the numbers of a line are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge.clock import monotonic

_MOST = 2**62  # beyond it SQLite cannot count on
_TELL_S = 2.0


@dataclass(frozen=True, order=True)
class LineNumber:
    """A number, which is given once within its generation; a later generation is beyond all of an earlier one."""

    generation: int = 1
    seq: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError: no line can have got there."""
        if not 1 <= self.generation <= _MOST or not 0 <= self.seq <= _MOST:
            raise ValueError(f"number {self.seq} of generation {self.generation} is none of a line")


def latest(numbers: Iterable[Mapping[str, LineNumber]]) -> dict[str, LineNumber]:
    """By line, the highest generation and the highest number that any of them knows."""
    found: dict[str, LineNumber] = {}
    for some in numbers:
        for line, number in some.items():
            before = found.get(line, number)
            found[line] = LineNumber(max(before.generation, number.generation), max(before.seq, number.seq))
    return found


class NumberKeeper(Protocol):
    """Who knows the last numbers besides the verdict database."""

    def note_number(self, line: str, number: LineNumber) -> None:
        """Has one kept, soon; returns at once."""
        ...


class NumberTeller:
    """Tells a keeper what has changed, every two seconds: that costs a part nothing."""

    def __init__(self, keeper: NumberKeeper) -> None:
        self._keeper = keeper
        self._told: dict[str, LineNumber] = {}
        self._due_at = -math.inf

    @property
    def due(self) -> bool:
        """Whether it is time to tell again."""
        return monotonic() >= self._due_at

    def tell(self, numbers: Mapping[str, LineNumber]) -> None:
        """Tells the numbers that the keeper does not have yet; `numbers` are by line."""
        self._due_at = monotonic() + _TELL_S
        for line, number in numbers.items():
            if self._told.get(line) != number:
                self._told[line] = number
                self._keeper.note_number(line, number)
