"""`alfa-edge review`: the two borders of a line, and the parts between them, which a person looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge.cli.ask import ALL_S, WORK_S, ConfigFile, Json, Line, Recipe, ask_service, out
from edge.cli.candidates import say_picture
from edge.cli.explained import explained
from edge.cli.table import Column, Table, number
from edge.cli.terminal import show_json
from edge.cli.when import local

review_app = typer.Typer(help="Parts that a person looks at.", no_args_is_help=True)

_Seq = Annotated[int, typer.Argument(min=1, help="The verdict's number.")]
_Note = Annotated[str, typer.Option(help="What there is to say of it.")]


@review_app.command("set")
def review_set(
    config: ConfigFile,
    line: Line,
    false_alarm_rate: Annotated[
        float, typer.Option(min=0.0001, max=0.9999, help="Share of good parts that may be rejected without a look.")
    ] = 0.01,
    review_rate: Annotated[
        float | None, typer.Option(min=0.0001, max=0.9999, help="Share of good parts that people may have to look at.")
    ] = None,
    escape_rate: Annotated[
        float | None, typer.Option(min=0.0001, max=0.9999, help="Instead: share of bad parts that may pass.")
    ] = None,
    bad: Annotated[
        Path | None,
        typer.Option(help="For --escape-rate: a folder of pictures of bad parts, as they come."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Set them; without it they are only shown.")] = False,
    recipe: Recipe = None,
    as_json: Json = False,
) -> None:
    """Show the two borders that keep two rates, and how many parts they send to review; --yes sets them."""
    if (review_rate is None) == (escape_rate is None) or (escape_rate is None) != (bad is None):
        raise typer.BadParameter("name --review-rate, or --escape-rate with --bad; one of the two")
    arguments: dict[str, Any] = {"line": line, "false_alarm_rate": false_alarm_rate, "sure": yes}
    arguments |= {"recipe": recipe, "review_rate": review_rate, "escape_rate": escape_rate}
    arguments |= {"bad": None if bad is None else str(bad.absolute())}
    found = ask_service(config, "review_set", arguments, timeout=ALL_S)
    if as_json:
        show_json(found)
        return
    borders = found["borders"]
    out.print(f"line {line}: {found['source']}", soft_wrap=True)
    out.print(
        f"normal below {borders['lower']:.4f}, review from there to {borders['upper']:.4f}, rejected from there on; "
        f"the threshold {'is' if yes else 'is still'} {found['threshold']:.4f}",
        soft_wrap=True,
    )
    pace = found["parts_per_hour"]
    queue = (
        "the line's rate is not known yet"
        if pace is None
        else f"about {found['reviews_per_hour']:.3g} an hour, at {pace:.4g} parts an hour"
    )
    bad_share = "" if found["share_of_bad"] is None else f" and {100 * found['share_of_bad']:.3g} % of the bad ones"
    out.print(
        f"to look at: {100 * found['share_of_good']:.3g} % of the good parts{bad_share}; of good parts {queue}",
        soft_wrap=True,
    )
    if not found["archive"]:
        out.print("no pictures are kept: `review show` needs archive.dir", style="yellow", soft_wrap=True)
    if not yes:
        out.print("nothing is set yet: the same command with --yes sets it", style="yellow")


@review_app.command("off")
def review_off(config: ConfigFile, line: Line, recipe: Recipe = None) -> None:
    """End a line's review: what was reviewed is rejected, until the line is calibrated anew."""
    kept = ask_service(config, "review_off", {"line": line, "recipe": recipe}, timeout=WORK_S)["calibration"]
    out.print(f"line {line}: threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True)


@review_app.command("list")
def review_list(
    config: ConfigFile,
    line: Line,
    count: Annotated[int, typer.Option(min=1, max=1000, help="The oldest so many.")] = 100,
    as_json: Json = False,
) -> None:
    """The parts that wait for a person, the oldest first."""
    found = ask_service(config, "review_list", {"line": line, "count": count})
    if as_json:
        show_json(found)
        return
    table = Table(number("verdict"), Column("issued", 5), Column("part", 6, wraps=True), number("score", 8), "borders")
    for part in found["parts"]:
        borders = f"{part['threshold']:.4f} to {part['review_below']:.4f}"
        table.add_row(
            str(part["seq"]), local(part["issued_at"]), part["part_id"] or "", f"{part['score']:.4f}", borders
        )
    out.print(table)
    out.print(f"line {line}: {found['waiting']} wait for review")


@review_app.command("show")
def review_show(
    config: ConfigFile,
    line: Line,
    seq: _Seq,
    picture: Annotated[Path | None, typer.Option("--out", help="Write its picture to this PNG file.")] = None,
) -> None:
    """What is known of a part that waits, as JSON, and its picture."""
    pictures: list[bytes] = []
    found = ask_service(config, "review_show", {"line": line, "seq": seq}, received=pictures)
    show_json(found["verdict"])
    if picture is None:
        return
    if not pictures:
        out.print(f"verdict {seq} of line {line} has no picture: {found['missing']}", style="yellow", soft_wrap=True)
        raise typer.Exit(1)
    with explained():
        picture.write_bytes(pictures[0])


@review_app.command("good")
def review_good(
    config: ConfigFile,
    line: Line,
    seq: _Seq,
    note: _Note = "",
    hold: Annotated[bool, typer.Option("--hold", help="Hold its picture as a candidate for the shots.")] = False,
) -> None:
    """Say that a part is good."""
    _answer(config, {"line": line, "seq": seq, "good": True, "note": note, "hold": hold})


@review_app.command("bad")
def review_bad(config: ConfigFile, line: Line, seq: _Seq, note: _Note = "") -> None:
    """Say that a part is defective."""
    _answer(config, {"line": line, "seq": seq, "good": False, "note": note})


def _answer(config: Path, arguments: dict[str, Any]) -> None:
    found = ask_service(config, "review_answer", arguments, timeout=WORK_S)
    verdict, what = f"verdict {arguments['seq']} of line {arguments['line']}", "good" if arguments["good"] else "bad"
    out.print(f"{verdict}: {what}; {found['waiting']} wait for review", soft_wrap=True)
    for picture in found["pictures"]:
        say_picture(picture)
