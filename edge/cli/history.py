"""`alfa-edge history`: what was judged, beside the running service or without one."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.text import Text

from core.printable import shown
from edge.cli.ask import ConfigFile, Json, Line
from edge.cli.explained import explained
from edge.cli.table import Column, Table, number
from edge.cli.terminal import Terminal, show_json, styled
from edge.cli.when import local, parse_when
from edge.settings import state_dir
from edge.settings_file import load_settings

if TYPE_CHECKING:
    from edge.storage.history import Entry

_COLOURS = {"normal": "green", "anomaly": "bold red", "error": "bold yellow"}
out = Terminal()


class Kind(str, Enum):
    """Of a verdict."""

    NORMAL = "normal"
    ANOMALY = "anomaly"
    ERROR = "error"


def history(
    config: ConfigFile,
    line: Line,
    since: Annotated[
        Optional[datetime],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
        typer.Option(parser=parse_when, help="Issued since then: 2026-01-31T06:00, or 2h, 3d ago."),
    ] = None,
    until: Annotated[
        Optional[datetime],  # noqa: UP045
        typer.Option(parser=parse_when, help="Issued before then."),
    ] = None,
    kind: Annotated[
        Optional[list[Kind]],  # noqa: UP045
        typer.Option(help="Of this kind; may be given more than once. Default: all."),
    ] = None,
    part: Annotated[Optional[str], typer.Option(help="Of the part of this id.")] = None,  # noqa: UP045
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="The last so many.")] = 20,
    export: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write all of the stretch to this .csv or .parquet file.", dir_okay=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verdicts of a line, the newest first; or all of a stretch as a file, the oldest first."""
    if export is not None and (kind or part or as_json):
        raise typer.BadParameter("it takes all verdicts from --since to --until", param_hint="--export")
    from core.database.database import DatabaseError
    from edge.storage.history import ExportError, History

    with explained():
        settings = load_settings(config)
        kept = History(state_dir(settings.service.state_dir))
        known = sorted({*settings.lines, *kept.lines()})  # a line that was taken out keeps its history
    if line not in known:
        raise typer.BadParameter(shown(f"no line {line!r}; there are {', '.join(known)}"), param_hint="--line")
    if export is not None:
        try:
            written = kept.export(export, line, since=since, until=until)
        except (ExportError, DatabaseError) as error:
            raise typer.BadParameter(shown(str(error)), param_hint="--export") from None
        out.print(f"{export}: {written} verdicts of line {line}", soft_wrap=True)
        return
    with explained():
        kinds = [chosen.value for chosen in kind or ()]
        found = kept.verdicts(line, since=since, until=until, kinds=kinds, part_id=part, count=count)
    if as_json:
        show_json([entry.to_dict() for entry in found])
    elif found:
        out.print(_table(found))
    else:
        out.print(f"no such verdicts of line {line} in {kept.path}", soft_wrap=True)


def _table(found: list[Entry]) -> Table:
    table = Table(
        Column("issued"),
        number("seq", 9),
        Column("part", 7, wraps=True),
        Column("verdict", 8, wraps=True),
        number("score", 6),
        number("threshold", 3),
        number("took", 2),
    )
    for entry in found:
        code = f" {entry.error_code}" if entry.error_code else ""
        what = Text.assemble(styled(entry.verdict, _COLOURS[entry.verdict]), shown(code))
        score = "" if entry.score is None else f"{entry.score:.4f}"
        took = "" if entry.total_ms is None else f"{entry.total_ms:.0f} ms"
        threshold = f"{entry.threshold:.4f}"
        table.add_row(local(entry.issued_at), str(entry.seq), entry.part_id or "", what, score, threshold, took)
    return table
