"""What the commands print: text as it is, whoever it comes from."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from core.printable import shown


class Terminal(Console):
    """A console on which nothing is markup, and what is no printable text is a visible escape, in tables too.

    out = Terminal()
    out.print(f"part {part_id}", soft_wrap=True)
    table.add_row(part_id, styled("anomaly", "bold red"))
    """

    def __init__(self, **options: Any) -> None:
        """`options`: of `rich.console.Console`."""
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | options)
        if "width" not in options:
            self._width = None  # else it is for ever what COLUMNS was as the module was imported

    def render_str(self, text: str, **options: Any) -> Text:
        """All that is printed as a string, and each cell of a table, goes through here."""
        return super().render_str(shown(text), **options)


def styled(text: str, style: str) -> Text:
    """`text` in a colour, fit for a terminal."""
    return Text(shown(text), style=style)


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 line`, `2 lines`: a number with its noun; `many` where the plural is no `s` more."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def show_json(found: Any) -> None:
    """Prints JSON in ASCII, which nobody's terminal takes for anything else."""
    print(json.dumps(found, indent=2))  # noqa: T201
