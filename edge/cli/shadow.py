"""`alfa-edge shadow ...`: a second recipe that judges a line's parts beside the first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from edge.cli.ask import ConfigFile, Json, Line, Wait, ask_service, out
from edge.cli.recipe import Named, say_recipe
from edge.cli.table import Column, Table, number
from edge.cli.terminal import counted, show_json
from edge.cli.when import local

shadow_app = typer.Typer(help="A second recipe that judges a line's parts beside the first.", no_args_is_help=True)


@shadow_app.command("start")
def shadow_start(config: ConfigFile, line: Line, recipe: Named, timeout: Wait = 120.0) -> None:
    """Have a recipe judge a line's parts a second time, when no part needs the time, also after a restart."""
    found = ask_service(config, "shadow_start", {"line": line, "recipe": recipe}, timeout=timeout)["shadow"]
    out.print(f"line {line}: {_pair(found)}", soft_wrap=True)


@shadow_app.command("stop")
def shadow_stop(config: ConfigFile, line: Line) -> None:
    """End the shadow of a line. Its report stays."""
    found = ask_service(config, "shadow_stop", {"line": line})["shadow"]
    out.print(f"line {line}: the shadow of recipe {found['recipe']['name']} has ended", soft_wrap=True)


@shadow_app.command("report")
def shadow_report(
    config: ConfigFile,
    line: Line,
    count: Annotated[int, typer.Option(min=0, max=10_000, help="The last so many parts with other answers.")] = 20,
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="A new or empty folder that the service can write: pictures of these parts."),
    ] = None,
    timeout: Wait = 600.0,
    as_json: Json = False,
) -> None:
    """What a line's shadow, or its last one, would have changed, part by part."""
    arguments: dict[str, Any] = {"line": line, "count": count}
    if folder is not None:
        arguments["folder"] = str(folder.absolute())
    found = ask_service(config, "shadow_report", arguments, timeout=timeout)
    if as_json:
        show_json(found)
        return
    shadow = found["shadow"]
    out.print(f"line {line}: {_pair(shadow)}", soft_wrap=True)
    judged = f"{counted(found['parts'], 'part')} judged: {found['both']} by both, {found['passed_over']} passed over"
    out.print(f"{judged}, since {local(shadow['started_at'])}{_until(shadow)}", soft_wrap=True)
    _print_agreement(found)
    _print_feedback(found["feedback"])
    _print_changed(found["changed"])
    if folder is not None:
        missing = f"; of {counted(found['without_picture'], 'part')} none was kept" if found["without_picture"] else ""
        out.print(f"{counted(len(found['overlays']), 'picture')} in {folder}{missing}", soft_wrap=True)


@shadow_app.command("promote")
def shadow_promote(
    config: ConfigFile,
    line: Line,
    swap: Annotated[bool, typer.Option("--swap", help="The recipe of before becomes the shadow.")] = False,
    timeout: Wait = 120.0,
) -> None:
    """Have a line judge by its shadow's recipe from its next part on, and end the shadow."""
    found = ask_service(config, "shadow_promote", {"line": line, "swap": swap}, timeout=timeout)
    say_recipe(line, found)
    if found["shadow"] is not None:
        out.print(f"line {line}: {_pair(found['shadow'])}", soft_wrap=True)


def _pair(shadow: dict[str, Any]) -> str:
    name, beside = shadow["recipe"]["name"], shadow["beside"]["name"]
    resting = f", and rests while the line judges by another one than {beside}" if shadow["state"] == "resting" else ""
    return f"recipe {name} {'judged' if shadow['state'] == 'ended' else 'judges'} beside recipe {beside}{resting}"


def _until(shadow: dict[str, Any]) -> str:
    return "" if shadow["ended_at"] is None else f" until {local(shadow['ended_at'])}"


def _print_agreement(found: dict[str, Any]) -> None:
    answers = list(found["table"])
    table = Table(Column("line \\ shadow"), *(number(answer) for answer in answers))
    for live in answers:
        table.add_row(live, *(str(found["table"][live][answer]) for answer in answers))
    out.print(table)
    shares = found["shares"]
    for words, name in (
        ("both say the same of", "agree"),
        ("the shadow would reject", "more_rejected"),
        ("the shadow would pass", "fewer_rejected"),
    ):
        if (share := shares[name]) is not None:
            whose = {"agree": "parts", "more_rejected": "normal parts", "fewer_rejected": "rejected parts"}[name]
            out.print(f"{words} {_share(share, whose)}", soft_wrap=True)


def _print_feedback(found: dict[str, Any]) -> None:
    if found["parts"]:
        live, shadow = (_share(found[name], "parts") for name in ("live", "shadow"))
        out.print(f"by the feedback the line was right about {live}", soft_wrap=True)
        out.print(f"by the feedback the shadow was right about {shadow}", soft_wrap=True)


def _print_changed(parts: list[dict[str, Any]]) -> None:
    if not parts:
        return
    table = Table(
        number("seq", 9),
        Column("line", 8),
        Column("shadow", 8),
        Column("right", 7),
        Column("part", 5, wraps=True),
        Column("at", 4),
        Column("archive", 3),
    )
    for part in parts:
        answers = [
            f"{part[f'{who}_answer']} {part[f'{who}_score']:.4f} / {part[f'{who}_threshold']:.4f}"
            for who in ("live", "shadow")
        ]
        right = {"live": "line", "shadow": "shadow"}
        rightly = ", ".join(right[who] for who in part["right"])
        more = (part["part_id"] or "", local(part["issued_at"]), part["archive"] or "")
        table.add_row(str(part["seq"]), *answers, rightly, *more)
    out.print(table)
    out.print("each with its score and its threshold", soft_wrap=True)


def _share(share: dict[str, Any], whose: str) -> str:
    low, high = 100 * share["low"], 100 * share["high"]
    return f"{share['count']} of {share['of']} {whose} ({low:.2f} to {high:.2f} %, with 95 % confidence)"
