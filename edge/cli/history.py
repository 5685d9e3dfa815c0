"""`alfa-edge history`: what was judged, beside the running service or without one."""

from __future__ import annotations

from collections.abc import Mapping
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
from edge.zone import zone_of

if TYPE_CHECKING:
    from edge.storage.feedback import Feedback
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
    from edge.storage.export import ExportError
    from edge.storage.export import export as write_export
    from edge.storage.feedback import FeedbackLog
    from edge.storage.history import History

    with explained():
        settings = load_settings(config)
        folder = state_dir(settings.service.state_dir)
        kept, log = History(folder), FeedbackLog(folder)
        known = sorted({*settings.lines, *kept.lines()})  # a line that was taken out keeps its history
    if line not in known:
        raise typer.BadParameter(shown(f"no line {line!r}; there are {', '.join(known)}"), param_hint="--line")
    if export is not None:
        try:
            written = write_export(
                export, kept, log, line, since=since, until=until, zone=zone_of(settings.service.zone)
            )
        except (ExportError, DatabaseError) as error:
            raise typer.BadParameter(shown(str(error)), param_hint="--export") from None
        out.print(f"{export}: {written} verdicts of line {line}", soft_wrap=True)
        return
    with explained():
        kinds = [chosen.value for chosen in kind or ()]
        found = kept.verdicts(line, since=since, until=until, kinds=kinds, part_id=part, count=count)
        said = log.of(line) if found else {}
    if as_json:
        show_json([entry.to_dict() | {"feedback": _kind(said.get(entry.seq))} for entry in found])
    elif found:
        out.print(_table(found, said))
    else:
        out.print(f"no such verdicts of line {line} in {kept.path}", soft_wrap=True)


def _table(found: list[Entry], said: Mapping[int, Feedback]) -> Table:
    columns = [number("seq", 8), Column("issued", 7), Column("part", 6), Column("verdict", 9)]
    columns += [number("score", 5), number("threshold", 3), number("took", 1), Column("why", 4, wraps=True)]
    table = Table(*columns, Column("feedback", 2))
    for entry in found:
        code = f" {entry.error_code}" if entry.error_code else ""
        verdict = Text.assemble(styled(entry.verdict, _COLOURS[entry.verdict]), shown(code))
        score = "" if entry.score is None else f"{entry.score:.4f}"
        took = "" if entry.total_ms is None else f"{entry.total_ms:.0f} ms"
        known = (local(entry.issued_at), entry.part_id or "", verdict, score, f"{entry.threshold:.4f}", took)
        table.add_row(str(entry.seq), *known, _why(entry), _kind(said.get(entry.seq)) or "")
    return table


def _why(entry: Entry) -> str:
    """Of an anomaly what its worst region is likest and where that is; of an error what was wrong."""
    if entry.verdict == "normal":
        return ""
    return ", ".join(filter(None, (entry.defect or entry.reason, entry.position)))


def _kind(feedback: Feedback | None) -> str | None:
    return None if feedback is None else feedback.kind
