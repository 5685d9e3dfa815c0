"""`alfa-edge status | trigger | pause | resume | audit`: what people ask of the running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge.cli import completion
from edge.cli.ask import ConfigFile, Json, Line, ask_service, is_service_there, out, say_smallest
from edge.cli.explained import explained
from edge.cli.table import Column, Table, number
from edge.cli.terminal import counted, show_json, styled
from edge.cli.when import local
from edge.messages import NOT_CALIBRATED, not_calibrated
from edge.settings_file import load_settings

NO_SERVICE = 1
"""The exit code of `status` where no service runs."""
IN_FAULT = 3
"""The exit code of `status` where a line is in fault."""
_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}
_COLOURS = {"ok": "green", "warning": "yellow", "fault": "bold red"}

line_app = typer.Typer(help="Lines that are not configured any more.", no_args_is_help=True)


def status(config: ConfigFile, as_json: Json = False) -> None:
    """Say how the running service's lines are. Exit code 1 when no service runs, 3 when a line is in fault."""
    with explained():
        runs = is_service_there(load_settings(config))
    found = ask_service(config, "status", {})
    if as_json:
        show_json(found)
    else:
        _print_status(found["lines"])
    if not runs:
        raise typer.Exit(NO_SERVICE)
    if any(line["level"] == "fault" for line in found["lines"].values()):
        raise typer.Exit(IN_FAULT)


def _print_status(lines: dict[str, Any]) -> None:
    kinds = ("normal", "anomaly", "error")
    table = Table("line", Column("state", 9), number("parts", 8), *(number(kind, 7) for kind in kinds))
    for name, line in lines.items():
        state = styled(line["state"], _COLOURS[line["level"]])  # the level is a colour; in words it stands below
        table.add_row(name, state, str(line["seq"]), *(str(line["counts"][kind]) for kind in kinds))
    out.print(table)
    for name, line in lines.items():
        _print_recipe(name, line)
        _print_health(name, line)
        say_smallest(name, line)


def _print_recipe(name: str, line: dict[str, Any]) -> None:
    """What the line judges by: too long for cells of 80 columns."""
    recipe, shots = line["recipe"], counted(line["bank"]["shots"], "shot")
    threshold = f"threshold {line['threshold']:.4f} ({recipe['threshold_source']})"
    judged_by = f"recipe {recipe['name']} ({recipe['number']}), pack {recipe['pack']} {recipe['pack_version']}"
    out.print(f"line {name}: {judged_by}, {shots}, {threshold}", soft_wrap=True)
    if (below := line["review_below"]) is not None or line["in_review"]:
        borders = "no review" if below is None else f"review of anomalies below {below:.4f}"
        waiting = f"{counted(line['in_review'], 'part')} to answer; `alfa-edge review list` has them"
        out.print(f"line {name}: {borders}, {waiting}", soft_wrap=True)
    if (shadow := line["shadow"]) is not None:
        counts, pair = shadow["counts"], (shadow["recipe"]["name"], shadow["beside"]["name"])
        judged = f"{counts['judged']} judged, {sum(counts.values()) - counts['judged']} not"
        resting = ", resting" if shadow["state"] == "resting" else ""
        out.print(f"line {name}: shadow {pair[0]} beside {pair[1]}{resting}: {judged}", soft_wrap=True)
    if (method := line["method"]) is not None and method["name"] == "filo":
        kept = "the model's text half stays in memory" if method["text_half"] else None
        told = "; ".join(filter(None, (f"line {name}: FiLo, head {method['head'][:12]}", method["remark"], kept)))
        out.print(told, soft_wrap=True)


def _print_health(name: str, line: dict[str, Any]) -> None:
    """What a cell of the table is too narrow for."""
    told = line["reason"] if line["reason"] not in NOT_CALIBRATED else None
    troubled = {
        component: health
        for component, health in line["components"].items()
        if health["level"] != "ok" and health["reason"] not in NOT_CALIBRATED  # which stands below
    }
    if told or troubled:
        state = "in fault" if line["state"] == "fault" else line["state"]
        out.print(f"line {name} is {state}: {told}" if told else f"line {name} is {state}", soft_wrap=True)
    for component, health in troubled.items():
        told = f"  {component}: {health['level']}: {health['reason']}"
        new = health["remedy"] if (health["remedy"] or "") not in (health["reason"] or "") else None
        out.print(f"{told}; what to do: {new}" if new else told, soft_wrap=True)
    if line.get("provisional"):
        words = f"line {name} is {not_calibrated(line['bank']['shots'])}; until then its verdicts are provisional"
        out.print(words, style="yellow", soft_wrap=True)


def trigger(
    config: ConfigFile,
    line: Line,
    part: Annotated[str, typer.Argument(help="What the verdict will name.")],
    deadline: Annotated[Optional[int], typer.Option(min=10, help="Milliseconds until the answer.")] = None,  # noqa: UP045
    recipe: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Name or number of its recipe, which is the line's from then on.", autocompletion=completion.recipes
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Have a part judged now, and say its verdict. Exit code 1 when it is an error."""
    arguments = {"line": line, "part_id": part, "deadline_ms": deadline, "recipe": recipe}
    verdict = ask_service(config, "trigger", arguments, timeout=(deadline or 60_000) / 1000 + 10)["verdict"]
    if as_json:
        show_json(verdict)
    else:
        style = {"normal": "green", "anomaly": "bold red", "error": "bold yellow"}[verdict["verdict"]]
        out.print(_sentence(verdict), style=style, soft_wrap=True)
    if verdict["verdict"] == "error":
        raise typer.Exit(1)


def _sentence(verdict: dict[str, Any]) -> str:
    """A verdict in a line: what was judged, how, by which score, where and why."""
    beginning = f"line {verdict['line']} part {verdict['part_id']} (seq {verdict['seq']}): {verdict['verdict']}"
    if (error := verdict.get("error")) is not None:
        return f"{beginning} {error['code']}: {error['message']}"
    words = [f"score {verdict['score']:.4f}, threshold {verdict['threshold']:.4f}"]
    if verdict["regions"]:
        region = verdict["regions"][0]
        words.append(" ".join(filter(None, (region["position"], region.get("descriptor")))))
    words.append(f"{verdict['timing_ms']['total']:.0f} ms")
    return f"{beginning}, {', '.join(words)}" + ("; provisional" if verdict.get("provisional") else "")


def snapshot(
    config: ConfigFile,
    line: Line,
    file: Annotated[Path, typer.Argument(help="The .jpg or .png file to write.")],
    crop: Annotated[bool, typer.Option("--crop", help="Only the inspected region, as it is judged.")] = False,
) -> None:
    """Keep the picture of a line's next part: the whole frame, with the inspected region drawn into it."""
    if (kind := _FORMATS.get(file.suffix.lower())) is None:
        raise typer.BadParameter(f"{file}: its name ends in {', '.join(_FORMATS)}", param_hint="FILE")
    pictures: list[bytes] = []
    found = ask_service(config, "snapshot", {"line": line, "crop": crop, "format": kind}, received=pictures)
    with explained():
        file.write_bytes(pictures[0])
    size = f"{found['width']} x {found['height']} pixels"
    out.print(f"{file}: {size}, part {found['seq']} of line {line}, score {found['score']:.4f}", soft_wrap=True)


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
    table = Table(*columns, Column("arguments", 5, wraps=True), Column("outcome", 7, wraps=True))
    for entry in found["entries"]:
        who = entry["who"] if entry["claimed"] is None else f"{entry['who']} (says {entry['claimed']})"
        changed = _changed(entry["before"], entry["after"])
        table.add_row(local(entry["at"]), who, entry["command"], changed, entry["arguments"], entry["outcome"])
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
