"""The documentation shows what the commands print, and none of it is wider than the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from rich.cells import cell_len

from edge.cli.app import app
from tests.support import screens
from tests.support.screens import NOT_SHOWN, WIDTHS, Screen

DOCUMENT = Path(__file__).parents[3] / "edge" / "cli" / "README.md"
COMMANDS = (*screens.AT_REST, *screens.RUNNING, *screens.WITH_PARTS, *screens.STOPPED, *screens.OF_THIS_MACHINE)
REMEDY = "bring the screens up to date: python -m tests.support.screens edge/cli/README.md"


@pytest.fixture(scope="module")
def printed() -> list[Screen]:
    return screens.all_screens()


def leaves(command: Any, path: str = "") -> list[str]:
    inside = getattr(command, "commands", None)
    if inside is None:
        return [path]
    return [leaf for name, found in inside.items() for leaf in leaves(found, f"{path} {name}".strip())]


def test_every_command_has_a_screen_or_a_reason_why_not() -> None:
    names = leaves(typer.main.get_command(app))
    shown = {name for name in names if any(f"{command} ".startswith(f"{name} ") for command in COMMANDS)}
    assert shown | set(NOT_SHOWN) == set(names)
    assert shown.isdisjoint(NOT_SHOWN)
    assert screens.without_a_screen() in DOCUMENT.read_text("utf-8"), REMEDY


@pytest.mark.timeout(300)
def test_the_documents_screens_are_what_the_commands_print(printed: list[Screen]) -> None:
    known = screens.sections(DOCUMENT.read_text("utf-8"))
    for heading, screen in zip(screens.headings(printed), printed, strict=True):
        old, new = known.get(heading, "").strip(), screens.section_of(screen).strip()
        assert screens.masked(screen.command, old) == screens.masked(screen.command, new), REMEDY


def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(printed: list[Screen]) -> None:
    for screen in printed:
        for width in WIDTHS:
            assert screen.text[width], screen.command
            for line in screen.text[width].splitlines():
                one_long_word = len(line.split()) == 1  # such as a path, which stays in one piece
                assert cell_len(line) <= width or one_long_word, (screen.command, line)
            assert "…" not in screen.text[width], screen.command


def test_a_wider_terminal_shows_no_less(printed: list[Screen]) -> None:
    for screen in printed:
        texts = [screen.text[width].partition("not shown in")[0] for width in WIDTHS]
        narrow, wide = (set(text.replace("│", " ").split()) for text in texts)
        assert not [word for word in narrow - wide if word.isalpha()], screen.command
