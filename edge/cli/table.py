"""Tables of the commands: as many columns as the terminal is wide for, the least important of them left out first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import console, table
from rich.cells import cell_len
from rich.text import Text

from core.printable import shown

LONGEST_WORD = 24
"""Cells that a word of a column that wraps may take from the other columns; a longer one goes on in the next row."""
_FRAME = 1  # cells left of the first column
_BORDER = 3  # cells that each column takes besides its own: a blank at both sides, and a line
_TIGHT_BORDER = 2  # of a tight table: a blank on the left


@dataclass(frozen=True)
class Column:
    """A column: its heading, and what becomes of it on a narrow terminal.

    `importance`: columns of a lower one are left out first; of equal ones the one on the right.
    `wraps`: between words. Others stand in one line, or are left out.
    """

    heading: str
    importance: int = 1
    wraps: bool = False
    justify: Literal["left", "right"] = "left"


def number(heading: str, importance: int = 1) -> Column:
    """A column of numbers."""
    return Column(heading, importance, justify="right")


def lines(*texts: str) -> Text:
    """A cell of several lines, those that are empty left out."""
    return Text("\n".join(shown(text) for text in texts if text))


class Table:
    """A table that fits the terminal. No cell is cut: a column stands there with all that it says, or not at all.

    table = Table("line", Column("note", 0, wraps=True), number("parts", 5))
    table.add_row("press-1", "spare camera", "17")
    out.print(table)

    The first column is never left out. Below the table stand the headings of what was.
    """

    def __init__(self, *columns: Column | str, tight: bool = False) -> None:
        """`columns`: a string is a column of that heading and of the usual importance. `tight`: with fewer blanks."""
        self._border = _TIGHT_BORDER if tight else _BORDER
        self._columns = [Column(column) if isinstance(column, str) else column for column in columns]
        self._rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """One cell for each column; what is no printable text in a string becomes a visible escape."""
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(cells)} cells for {len(self._columns)} columns")
        self._rows.append([cell if isinstance(cell, Text) else Text(shown(cell)) for cell in cells])

    def __rich_console__(
        self, _console: console.Console, options: console.ConsoleOptions
    ) -> Iterator[console.RenderableType]:
        chosen, left_out = self._fitting(options.max_width)
        shown_table = table.Table(padding=(0, self._border - 2, 0, 1))
        for place, width in zip(chosen, self._widths(chosen, options.max_width), strict=True):
            column = self._columns[place]
            shown_table.add_column(Text(shown(column.heading)), justify=column.justify, width=width, overflow="fold")
        for row in self._rows:
            shown_table.add_row(*(row[place] for place in chosen))
        yield shown_table
        if left_out:
            names = ", ".join(shown(self._columns[place].heading) for place in left_out)
            yield Text(f"not shown in {options.max_width} columns: {names}", style="dim")

    def _fitting(self, width: int) -> tuple[list[int], list[int]]:
        """The columns that fit, and those that are left out, each from left to right."""
        chosen = [place for place in range(len(self._columns)) if place == 0 or not self._is_empty(place)]
        left_out = []
        while len(chosen) > 1 and _FRAME + sum(self._border + self._least(place) for place in chosen) > width:
            least_important = min(chosen[1:], key=lambda place: (self._columns[place].importance, -place))
            chosen.remove(least_important)
            left_out.append(least_important)
        return chosen, sorted(left_out)

    def _is_empty(self, place: int) -> bool:
        return bool(self._rows) and not any(row[place].plain for row in self._rows)

    def _widths(self, chosen: Sequence[int], width: int) -> list[int]:
        """Cells of the columns: what each needs; and of the rest as much as it likes, as long as the others have it."""
        room = width - _FRAME - self._border * len(chosen)
        widths = [min(self._least(place), max(1, room)) for place in chosen]
        wished = [max(0, self._most(place) - cells) for place, cells in zip(chosen, widths, strict=True)]
        rest = max(0, room - sum(widths))
        modest_first = sorted(range(len(chosen)), key=lambda index: wished[index])
        for served, index in enumerate(modest_first):
            more = min(wished[index], rest // (len(chosen) - served))
            widths[index] += more
            rest -= more
        return widths

    def _least(self, place: int) -> int:
        """The cells that a column needs."""
        if not self._columns[place].wraps:
            return self._most(place)
        return min(LONGEST_WORD, _longest(word for cell in self._cells(place) for word in cell.split()))

    def _most(self, place: int) -> int:
        """The cells in which a column does not wrap."""
        return _longest(line for cell in self._cells(place) for line in cell.split("\n"))

    def _cells(self, place: int) -> list[str]:
        return [shown(self._columns[place].heading), *(row[place].plain for row in self._rows)]


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)
