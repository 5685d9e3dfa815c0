"""`alfa-edge enroll | shots | calibrate | threshold`: normal shots, and what comes of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from core.printable import shown
from edge.cli.ask import ConfigFile, Json, Line, Recipe, Wait, ask_service, out, say_smallest
from edge.cli.explained import explained
from edge.cli.model_options import threshold_value
from edge.cli.table import Column, Table, number
from edge.cli.terminal import show_json
from edge.cli.when import local, parse_when

shots_app = typer.Typer(help="The normal shots of a line.", no_args_is_help=True)


def enroll(
    config: ConfigFile,
    line: Line,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="Pictures of normal parts, or folders of them.")
    ] = None,
    shots: Annotated[int, typer.Option(min=0, max=64, help="Instead of files: the line's next so many parts.")] = 0,
    note: Annotated[str, typer.Option(help="What there is to say of them.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Enrol also what is flagged.")] = False,
    recipe: Recipe = None,
    timeout: Wait = 600.0,
    as_json: Json = False,
) -> None:
    """Enrol normal parts: the line compares its parts with them from the next one on. Exit code 1 when one was not."""
    with explained():
        from core.picture_files import pictures_of
        from edge.control.protocol import batches, sendable

        paths = pictures_of(files or [])
        blobs = [sendable(path) for path in paths]
    arguments = {"line": line, "recipe": recipe, "shots": shots, "note": note, "sure": yes, "timeout_s": timeout}
    pictures: list[dict[str, Any]] = []
    for some in batches(blobs) or [[]]:  # each no larger than one request may be
        first = len(pictures)
        names = [shown(path.name) for path in paths[first : first + len(some)]]
        found = ask_service(config, "enroll", arguments | {"names": names}, some, timeout)
        pictures += found["pictures"]
    found["pictures"] = pictures
    if as_json:
        show_json(found)
    else:
        for picture in found["pictures"]:
            flags = "; ".join(f"{flag['code']}: {flag['message']}" for flag in picture["flags"])
            what = f"shot {picture['shot']}" if picture["shot"] else "not enrolled, --yes enrols it"
            colour = None if picture["shot"] else "yellow"
            out.print(f"{picture['name']}: {what}{f' ({flags})' if flags else ''}", style=colour, soft_wrap=True)
        out.print(f"line {line} has {found['bank']['shots']} shots, revision {found['bank']['revision']}")
        say_smallest(line, found)
    if any(picture["shot"] is None for picture in found["pictures"]):
        raise typer.Exit(1)


@shots_app.command("list")
def shots_list(
    config: ConfigFile,
    line: Line,
    everything: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    recipe: Recipe = None,
    as_json: Json = False,
) -> None:
    """The shots of a line."""
    found = ask_service(config, "shots_list", {"line": line, "recipe": recipe, "all": everything})
    if as_json:
        show_json(found)
        return
    table = Table(
        number("shot"),
        Column("added", 5),
        Column("by", 3, wraps=True),
        Column("source", 6, wraps=True),
        Column("size", 2),
        Column("flags", 7, wraps=True),
        Column("note", 4, wraps=True),
        Column("state", 8, wraps=True),
    )
    for shot in found["shots"]:
        flags = ", ".join(flag["code"] for flag in shot["flags"])
        state = "" if shot["active"] else f"removed by {shot['removed_by']}"
        size, added = f"{shot['width']} x {shot['height']}", local(shot["added_at"])
        known = (str(shot["id"]), added, shot["who"], shot["source"], size)
        table.add_row(*known, flags, shot["note"], state)
    out.print(table)
    if found["weights"]:
        shares = sorted(found["weights"].items(), key=lambda pair: -pair[1])
        said = ", ".join(f"{source} {100 * share:.0f} %" for source, share in shares)
        out.print(f"by these shots, what has a say in a verdict: {said}", soft_wrap=True, highlight=False)


@shots_app.command("show")
def shots_show(
    config: ConfigFile,
    shot: Annotated[int, typer.Argument(help="Its number.")],
    picture: Annotated[Optional[Path], typer.Option("--out", help="Write its picture to this PNG file.")] = None,  # noqa: UP045
) -> None:
    """What is known of a shot, as JSON, and its picture."""
    pictures: list[bytes] = []
    show_json(ask_service(config, "shots_show", {"shot": shot}, received=pictures)["shot"])
    if picture is not None:
        with explained():
            picture.write_bytes(pictures[0])


@shots_app.command("remove")
def shots_remove(config: ConfigFile, shot: Annotated[int, typer.Argument(help="Its number.")]) -> None:
    """Put a shot aside; `restore` takes it back."""
    found = ask_service(config, "shots_remove", {"shot": shot})["shot"]
    out.print(f"shot {found['id']} of line {found['line']} is put aside")


@shots_app.command("restore")
def shots_restore(config: ConfigFile, shot: Annotated[int, typer.Argument(help="Its number.")]) -> None:
    """Take a shot back that was put aside."""
    found = ask_service(config, "shots_restore", {"shot": shot})["shot"]
    out.print(f"shot {found['id']} of line {found['line']} counts again")


@shots_app.command("reembed")
def shots_reembed(config: ConfigFile, line: Line, recipe: Recipe = None, timeout: Wait = 600.0) -> None:
    """Make the features of shots anew from their pictures, where those of the model are missing or damaged."""
    made = ask_service(config, "shots_reembed", {"line": line, "recipe": recipe}, timeout=timeout)["shots"]
    out.print(f"line {line}: features of {len(made)} shots made anew")


@shots_app.command("export")
def shots_export(
    config: ConfigFile,
    line: Line,
    folder: Annotated[Path, typer.Argument(help="A new or empty folder that the service can write.")],
    recipe: Recipe = None,
) -> None:
    """Write the shots' pictures, and what is known of them, into a folder: for another box, or to keep."""
    arguments = {"line": line, "recipe": recipe, "folder": str(folder.absolute())}
    found = ask_service(config, "shots_export", arguments, timeout=600)
    out.print(f"{len(found['shots'])} shots of line {line} in {folder}", soft_wrap=True)


@shots_app.command("import")
def shots_import(
    config: ConfigFile,
    line: Line,
    folder: Annotated[Path, typer.Argument(help="What `shots export` wrote, of whichever line.")],
    recipe: Recipe = None,
    timeout: Wait = 600.0,
) -> None:
    """Enrol the shots of an exported folder; those that the line has already are passed over."""
    arguments = {"line": line, "recipe": recipe, "folder": str(folder.absolute())}
    found = ask_service(config, "shots_import", arguments, timeout=timeout)
    out.print(f"{len(found['shots'])} new shots; line {line} has {found['bank']['shots']}")


def calibrate(
    config: ConfigFile,
    line: Line,
    rate: Annotated[float, typer.Option(min=0.0001, max=0.9999, help="The false-alarm rate to promise.")] = 0.05,
    parts: Annotated[
        int, typer.Option(min=0, help="From the line's next so many parts, all good. 0: from its shots.")
    ] = 0,
    since: Annotated[
        Optional[datetime],  # noqa: UP045
        typer.Option(parser=parse_when, help="From the history since then, all good: 2026-01-31T06:00, or 2h, 3d ago."),
    ] = None,
    until: Annotated[
        Optional[datetime],  # noqa: UP045
        typer.Option(parser=parse_when, help="And until then; without it, until now."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept a higher rate, where the parts are too few.")] = False,
    recipe: Recipe = None,
    timeout: Wait = 600.0,
) -> None:
    """Set a line's threshold from good parts, with the false-alarm rate that they can promise."""
    stretch = {name: when.isoformat() for name, when in (("since", since), ("until", until)) if when is not None}
    arguments = {
        "line": line,
        "recipe": recipe,
        "rate": rate,
        "parts": parts,
        "sure": yes,
        "timeout_s": timeout,
    } | stretch
    found = ask_service(config, "calibrate", arguments, timeout=timeout)
    kept = found["calibration"]
    out.print(f"line {line}: threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True)
    if kept["rate"] > rate + 1e-9:
        out.print(f"{kept['count']} parts cannot promise {100 * rate:.3g} %", style="yellow")
    for note in found["notes"]:
        out.print(note, style="yellow", soft_wrap=True)


def threshold(
    config: ConfigFile,
    line: Line,
    value: Annotated[float, typer.Argument(callback=threshold_value, help="The threshold.")],
    recipe: Recipe = None,
) -> None:
    """Set a recipe's threshold by hand; it promises nothing."""
    kept = ask_service(config, "threshold", {"line": line, "recipe": recipe, "threshold": value})["calibration"]
    out.print(f"line {line}: threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True)
