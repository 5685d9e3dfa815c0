"""`alfa-edge status | trigger | pause | resume | audit`: what people ask of the running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from rich.table import Table

from edge.cli.ask import ConfigFile, Json, Line, ask_service, out, say_smallest
from edge.cli.explained import explained
from edge.cli.table import Column
from edge.cli.table import Table as FittingTable
from edge.cli.terminal import counted, show_json, styled
from edge.messages import NOT_CALIBRATED

_COLOURS = {"ok": "green", "warning": "yellow", "fault": "bold red"}

line_app = typer.Typer(help="Lines that are not configured any more.", no_args_is_help=True)


def status(config: ConfigFile, as_json: Json = False) -> None:
    """Say how the running service's lines are."""
    found = ask_service(config, "status", {})
    if as_json:
        show_json(found)
        return
    table = Table("line", "state", "parts", "normal", "anomaly", "error")
    for name, line in found["lines"].items():
        counts = line["counts"]
        kinds = [str(counts[kind]) for kind in ("normal", "anomaly", "error")]
        state = styled(line["state"], _COLOURS[line["level"]])  # the level is a colour; in words it stands below
        table.add_row(name, state, str(line["seq"]), *kinds)
    for column in table.columns[:2]:
        column.no_wrap = True
    out.print(table)
    for name, line in found["lines"].items():
        _print_recipe(name, line)
        _print_health(name, line)
        say_smallest(name, line)


def _print_recipe(name: str, line: dict[str, Any]) -> None:
    """What the line judges by: too long for cells of 80 columns."""
    recipe, shots = line["recipe"], counted(line["bank"]["shots"], "shot")
    threshold = f"threshold {line['threshold']:.4f} ({recipe['threshold_source']})"
    judged_by = f"recipe {recipe['name']} ({recipe['number']}), pack {recipe['pack']} {recipe['pack_version']}"
    out.print(f"line {name}: {judged_by}, {shots}, {threshold}", soft_wrap=True)
    if (method := line["method"]) is not None and method["name"] == "filo":
        kept = "the model's text half stays in memory" if method["text_half"] else None
        told = "; ".join(filter(None, (f"line {name}: FiLo, head {method['head'][:12]}", method["remark"], kept)))
        out.print(told, soft_wrap=True)


def _print_health(name: str, line: dict[str, Any]) -> None:
    """What a cell of the table is too narrow for."""
    told = line["reason"] if line["reason"] != NOT_CALIBRATED else None
    if told or any(health["level"] != "ok" for health in line["components"].values()):
        state = "in fault" if line["state"] == "fault" else line["state"]
        out.print(f"line {name} is {state}: {told}" if told else f"line {name} is {state}", soft_wrap=True)
    for component, health in line["components"].items():
        if health["level"] != "ok":
            told = f"  {component}: {health['level']}: {health['reason']}"
            new = health["remedy"] if (health["remedy"] or "") not in (health["reason"] or "") else None
            out.print(f"{told}; what to do: {new}" if new else told, soft_wrap=True)
    if line.get("provisional"):
        words = f"line {name} is {NOT_CALIBRATED}; until then its verdicts are provisional"
        out.print(words, style="yellow", soft_wrap=True)


def trigger(
    config: ConfigFile,
    line: Line,
    part: Annotated[str, typer.Argument(help="What the verdict will name.")],
    deadline: Annotated[Optional[int], typer.Option(min=10, help="Milliseconds until the answer.")] = None,  # noqa: UP045
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Name or number of its recipe, which is the line's from then on."),
    ] = None,
) -> None:
    """Have a part judged now, and print its verdict. Exit code 1 when it is an error."""
    arguments = {"line": line, "part_id": part, "deadline_ms": deadline, "recipe": recipe}
    verdict = ask_service(config, "trigger", arguments, timeout=(deadline or 60_000) / 1000 + 10)["verdict"]
    show_json(verdict)
    if verdict["verdict"] == "error":
        raise typer.Exit(1)


def snapshot(
    config: ConfigFile,
    line: Line,
    file: Annotated[Path, typer.Argument(help="The PNG file to write.")],
) -> None:
    """Keep the picture of a line's next part."""
    pictures: list[bytes] = []
    found = ask_service(config, "snapshot", {"line": line}, received=pictures)
    with explained():
        file.write_bytes(pictures[0])
    out.print(f"{file}: score {found['score']:.4f}", soft_wrap=True)


def pause(config: ConfigFile, line: Line) -> None:
    """Have a line judge no parts, also after a restart; triggers are answered `error` `paused`."""
    found = ask_service(config, "pause", {"line": line})
    out.print(f"line {line} is paused; `alfa-edge resume` goes on")
    _warn_unless_kept(found)


def resume(config: ConfigFile, line: Line) -> None:
    """Have a paused line judge again."""
    found = ask_service(config, "resume", {"line": line})
    out.print(f"line {line}: {found['state']}")
    _warn_unless_kept(found)


def _warn_unless_kept(found: dict[str, Any]) -> None:
    if not found.get("kept", True):
        out.print("the disk of the state does not take that, so that a restart would undo it", style="yellow")


@line_app.command("forget")
def line_forget(
    config: ConfigFile,
    line: Annotated[str, typer.Argument(metavar="NAME", help="A line that was renamed or taken out.")],
) -> None:
    """Clear what the broker still shows of a line that is not configured any more. Its history and shots stay."""
    ask_service(config, "line_forget", {"line": line})
    out.print(f"the broker shows nothing of line {line} any more")


def audit(
    config: ConfigFile,
    count: Annotated[int, typer.Option(min=1, max=1000, help="The last so many entries.")] = 20,
    as_json: Json = False,
) -> None:
    """Who changed what: the user by the kernel, and what they call themselves where that is another name."""
    found = ask_service(config, "audit", {"count": count})
    if as_json:
        show_json(found)
        return
    columns = [Column("at"), Column("who", 8, wraps=True), Column("command", 9), Column("what changed", 6, wraps=True)]
    table = FittingTable(*columns, Column("arguments", 5, wraps=True), Column("outcome", 7, wraps=True))
    for entry in found["entries"]:
        who = entry["who"] if entry["claimed"] is None else f"{entry['who']} (says {entry['claimed']})"
        changed = _changed(entry["before"], entry["after"])
        table.add_row(entry["at"], who, entry["command"], changed, entry["arguments"], entry["outcome"])
    out.print(table)


def _changed(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    """`threshold 0.5000 -> 0.6200`; empty where nothing did, or where it was not kept."""
    if before is None or after is None:
        return ""
    return "; ".join(f"{name} {_value(before[name])} -> {_value(after[name])}" for name in before)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "none" if value is None else str(value)
