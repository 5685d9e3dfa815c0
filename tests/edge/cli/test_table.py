"""Tables of the commands on terminals of any width."""

from __future__ import annotations

import io

import pytest

from edge.cli.table import LONGEST_WORD, Column, Table, number
from edge.cli.terminal import Terminal, styled

NOTE = "the lamp was changed, and the parts look brighter than before"


def printed(table: Table, width: int) -> list[str]:
    sink = io.StringIO()
    Terminal(file=sink, width=width).print(table)
    return sink.getvalue().splitlines()


def some(part: str = "A-17") -> Table:
    table = Table(
        Column("part"), Column("issued", 8), Column("by", 2), Column("note", 3, wraps=True), number("score", 9)
    )
    table.add_row(part, "2026-01-31 06:00:00 CET", "maintenance@box", NOTE, "0.4711")
    table.add_row("A-18", "2026-01-31 06:00:01 CET", "maintenance@box", "", "0.1234")
    return table


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (160, ""),
        (80, ""),
        (62, "by"),
        (48, "by, note"),
        (30, "issued, by, note"),
        (12, "issued, by, note, score"),
    ],
)
def test_what_does_not_fit_is_left_out_by_importance_and_named(width: int, left_out: str) -> None:
    lines = printed(some(), width)
    assert max(map(len, lines)) <= width or width == 12
    said = "\n".join(lines)
    assert "…" not in said
    assert ("not shown in" in said) == bool(left_out)
    if left_out:
        assert " ".join(said.split()).split("columns: ")[1] == left_out


@pytest.mark.parametrize("width", range(40, 130, 7))
def test_no_word_is_cut(width: int) -> None:
    said = " ".join(printed(some(), width)).split()
    for words in ("A-17", "0.4711", *(NOTE.split() if width > 60 else ())):
        assert words in said, width


def test_a_word_without_an_end_takes_no_other_column_its_place() -> None:
    part = "X" * (3 * LONGEST_WORD)
    table = Table(Column("seq"), Column("part", 5, wraps=True), Column("verdict", 9), number("score", 9))
    table.add_row("1", part, "anomaly", "0.4711")
    said = printed(table, 60)
    assert "".join(said).count("X") == len(part)
    assert "anomaly" in "".join(said)
    assert max(map(len, said)) <= 60


def test_an_empty_column_is_not_shown_and_not_missed() -> None:
    table = Table(Column("shot"), Column("flags"), Column("note", wraps=True))
    table.add_row("1", "", NOTE)
    said = "\n".join(printed(table, 200))
    assert "flags" not in said
    assert "not shown" not in said


def test_a_cell_may_be_styled_and_nothing_is_markup() -> None:
    table = Table(Column("part"), Column("verdict"))
    table.add_row("[red]\x1b", styled("anomaly", "bold red"))
    said = "\n".join(printed(table, 80))
    assert r"[red]\x1b" in said
    assert "anomaly" in said


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table(Column("a"), Column("b")).add_row("1")
