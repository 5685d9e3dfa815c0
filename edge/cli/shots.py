"""`alfa-edge shots | threshold`: normal shots, and what comes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edge.cli.ask import ALL_S, WORK_S, ConfigFile, Json, Line, Recipe, Wait, ask_service, out, say_notes
from edge.cli.explained import explained
from edge.cli.model_options import threshold_value
from edge.cli.table import Column, Table, number
from edge.cli.terminal import show_json
from edge.cli.when import local

shots_app = typer.Typer(help="The normal shots of a line.", no_args_is_help=True)


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
    found = ask_service(config, "shots_remove", {"shot": shot})
    out.print(f"shot {found['shot']['id']} of line {found['shot']['line']} is put aside")
    say_notes(found)


@shots_app.command("restore")
def shots_restore(config: ConfigFile, shot: Annotated[int, typer.Argument(help="Its number.")]) -> None:
    """Take a shot back that was put aside."""
    found = ask_service(config, "shots_restore", {"shot": shot})
    out.print(f"shot {found['shot']['id']} of line {found['shot']['line']} counts again")
    say_notes(found)


@shots_app.command("reembed")
def shots_reembed(config: ConfigFile, line: Line, recipe: Recipe = None, timeout: Wait = ALL_S) -> None:
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
    found = ask_service(config, "shots_export", arguments, timeout=ALL_S)
    out.print(f"{len(found['shots'])} shots of line {line} in {folder}", soft_wrap=True)


@shots_app.command("import")
def shots_import(
    config: ConfigFile,
    line: Line,
    folder: Annotated[Path, typer.Argument(help="What `shots export` wrote, of whichever line.")],
    recipe: Recipe = None,
    timeout: Wait = ALL_S,
) -> None:
    """Enrol the shots of an exported folder; those that the line has already are passed over."""
    arguments = {"line": line, "recipe": recipe, "folder": str(folder.absolute())}
    found = ask_service(config, "shots_import", arguments, timeout=timeout)
    out.print(f"{len(found['shots'])} new shots; line {line} has {found['bank']['shots']}")
    say_notes(found)


def threshold(
    config: ConfigFile,
    line: Line,
    value: Annotated[float, typer.Argument(callback=threshold_value, help="The threshold.")],
    recipe: Recipe = None,
) -> None:
    """Set a recipe's threshold by hand; it promises nothing."""
    arguments = {"line": line, "recipe": recipe, "threshold": value}
    found = ask_service(config, "threshold", arguments, timeout=WORK_S)
    kept = found["calibration"]
    out.print(f"line {line}: threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True)
    say_notes(found)
