"""What the commands print: text as it is, whoever it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from core.printable import shown

_UNITS = frozenset({"%", "ms", "s", "px", "MB", "MiB", "GiB"})


class Terminal(Console):
    """A console on which nothing is markup, and what is no printable text is a visible escape, in tables too.

    out = Terminal()
    out.print(f"part {part_id}", soft_wrap=True)
    table.add_row(part_id, styled("anomaly", "bold red"))

    With `soft_wrap` lines end between words where there is a terminal; a word that is longer, such as a path, stays in
    one piece. In a pipe lines are not wrapped, for programs that read them.
    """

    def __init__(self, **options: Any) -> None:
        """`options`: of `rich.console.Console`."""
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | options)
        if "width" not in options:
            self._width = None  # else it is for ever what COLUMNS was as the module was imported

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """As of `Console`."""
        if not soft_wrap or len(objects) != 1 or not isinstance(objects[0], str) or not self.is_terminal:
            super().print(*objects, soft_wrap=soft_wrap, **options)
            return
        for line in wrapped(shown(objects[0]), self.width):
            super().print(line, soft_wrap=True, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """All that is printed as a string, and each cell of a table, goes through here."""
        return super().render_str(shown(text), **options)


def wrapped(text: str, width: int) -> Iterator[str]:
    """`text` in lines of at most `width` cells that end between words; of an indented one the next are indented more.

    A longer word has a line of its own, and is not broken; a unit stays with its number.
    """
    words: list[str] = []
    for word in text.split():
        if words and word.rstrip(".,;:)") in _UNITS:
            words[-1] += f" {word}"
        else:
            words.append(word)
    first = text[: len(text) - len(text.lstrip())]
    indent = first and f"{first}  "
    line = first + (words.pop(0) if words else "")
    for word in words:
        if cell_len(line) + 1 + cell_len(word) <= width:
            line += f" {word}"
        else:
            yield line
            line = indent + word
    yield line


def styled(text: str, style: str) -> Text:
    """`text` in a colour, fit for a terminal."""
    return Text(shown(text), style=style)


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 line`, `2 lines`: a number with its noun; `many` where the plural is no `s` more."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def show_json(found: Any) -> None:
    """Prints JSON in ASCII, which nobody's terminal takes for anything else."""
    print(json.dumps(found, indent=2))  # noqa: T201
