"""`alfa-edge enroll`, and `shots candidates | take | drop`: pictures of good parts on their way to the shots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from core.printable import shown
from edge.cli.ask import (
    WORK_S,
    ConfigFile,
    Json,
    Line,
    Recipe,
    Wait,
    Yes,
    ask_service,
    of_recipe,
    out,
    say_notes,
    say_smallest,
)
from edge.cli.explained import explained
from edge.cli.shots import shots_app
from edge.cli.table import Column, Table, lines, number
from edge.cli.terminal import show_json

Numbers = Annotated[list[int] | None, typer.Argument(metavar="[CANDIDATE]...", help="Their numbers.")]


def enroll(
    config: ConfigFile,
    line: Line,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="Pictures of normal parts, or folders of them.")
    ] = None,
    shots: Annotated[
        int, typer.Option(min=0, max=64, help="Instead of files: hold the line's next so many parts.")
    ] = 0,
    note: Annotated[str, typer.Option(help="What there is to say of them.")] = "",
    yes: Yes = None,
    hold: Annotated[bool, typer.Option("--hold", help="Enrol nothing yet: hold the pictures as candidates.")] = False,
    recipe: Recipe = None,
    timeout: Wait = 600.0,
    as_json: Json = False,
) -> None:
    """Enrol pictures of normal parts, or hold parts as candidates. Exit code 1 when a picture was flagged."""
    with explained():
        from core.picture_files import pictures_of
        from edge.control.protocol import batches, sendable

        paths = pictures_of(files or [])
        blobs = [sendable(path) for path in paths]
    arguments: dict[str, Any] = {"line": line, "recipe": recipe, "shots": shots, "note": note, "timeout_s": timeout}
    arguments |= {"yes": yes or [], "hold": hold}
    pictures: list[dict[str, Any]] = []
    notes: list[str] = []
    for some in batches(blobs) or [[]]:  # each no larger than one request may be
        first = len(pictures)
        names = [shown(path.name) for path in paths[first : first + len(some)]]
        found = ask_service(config, "enroll", arguments | {"names": names}, some, timeout + WORK_S)
        pictures += found["pictures"]
        notes += found["notes"]
    found |= {"pictures": pictures, "notes": list(dict.fromkeys(notes))}
    _say(line, recipe, found, as_json, asked_to_hold=hold or shots > 0)


@shots_app.command("candidates")
def shots_candidates(
    config: ConfigFile,
    line: Line,
    folder: Annotated[Path | None, typer.Option("--out", help="Write their pictures into this folder.")] = None,
    recipe: Recipe = None,
    as_json: Json = False,
) -> None:
    """The pictures that wait to be taken as shots, each with its score and its flags."""
    found = ask_service(config, "shots_candidates", {"line": line, "recipe": recipe})
    if folder is not None:
        write_candidates(config, line, [held["candidate"] for held in found["candidates"]], folder)
    if as_json:
        show_json(found)
        return
    table = Table(
        number("candidate"),
        number("score", 8),
        Column("size", 2),
        Column("source", 6, wraps=True),
        Column("flags", 7, wraps=True),
    )
    for held in found["candidates"]:
        score = "" if held["score"] is None else f"{held['score']:.4f}"
        flags = lines(*(f"{flag['code']}: {flag['message']}" for flag in held["flags"]))
        table.add_row(str(held["candidate"]), score, f"{held['width']} x {held['height']}", held["name"], flags)
    out.print(table)
    if found["threshold"] is not None:
        out.print(f"line {line}: threshold {found['threshold']:.4f}")


@shots_app.command("take")
def shots_take(
    config: ConfigFile,
    line: Line,
    candidates: Numbers = None,
    yes: Yes = None,
    recipe: Recipe = None,
    as_json: Json = False,
) -> None:
    """Take candidates as shots, by default all. Exit code 1 when one stays held, as a flag speaks against it."""
    arguments = {"line": line, "recipe": recipe, "candidates": candidates or [], "yes": yes or []}
    _say(line, recipe, ask_service(config, "shots_take", arguments, timeout=WORK_S), as_json)


@shots_app.command("drop")
def shots_drop(
    config: ConfigFile,
    line: Line,
    candidates: Numbers = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the recipe.")] = False,
    recipe: Recipe = None,
) -> None:
    """Drop candidates: they do not become shots."""
    if bool(candidates) == everything:
        raise typer.BadParameter("name candidates, or say --all")
    found = ask_service(config, "shots_drop", {"line": line, "recipe": recipe, "candidates": candidates or []})
    out.print(f"line {line}: dropped {', '.join(map(str, found['candidates']))}", soft_wrap=True)


def write_candidates(config: Path, line: str, numbers: list[int], folder: Path) -> None:
    """Writes the pictures of candidates into a folder, as `<line>-candidate-<number>.png`."""
    for candidate in numbers:
        pictures: list[bytes] = []
        ask_service(config, "shots_candidate", {"candidate": candidate}, received=pictures)
        with explained():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{line}-candidate-{candidate}.png").write_bytes(pictures[0])


def _say(line: str, recipe: str | None, found: dict[str, Any], as_json: bool, asked_to_hold: bool = False) -> None:
    """Says what became of pictures; ends with 1 where one was not taken that was to be."""
    if as_json:
        show_json(found)
    else:
        for picture in found["pictures"]:
            say_picture(picture)
        out.print(f"line {line} has {found['bank']['shots']} shots, revision {found['bank']['revision']}")
        say_smallest(line, found)
        say_notes(found)
        if any(picture["shot"] is None for picture in found["pictures"]):
            candidates = f"alfa-edge shots candidates --line {line}{of_recipe(recipe)} --out DIR"
            look = f"`{candidates}` shows what is held"
            out.print(f"{look}; `shots take` enrols it, `shots drop` does not", soft_wrap=True)
    if not asked_to_hold and any(picture["shot"] is None for picture in found["pictures"]):
        raise typer.Exit(1)


def say_picture(picture: dict[str, Any]) -> None:
    """Says what became of one picture, with its flags one by one."""
    flagged = bool(picture["flags"])
    if picture["shot"]:
        words = f"shot {picture['shot']}"
    elif "not_held" in picture:
        words = f"not enrolled; {picture['not_held']}"
    else:
        words = f"held as candidate {picture['candidate']}"
    if picture.get("score") is not None:
        words += f", score {picture['score']:.4f}"
    colour = "yellow" if flagged or "not_held" in picture else None
    out.print(f"{picture['name']}: {words}", style=colour, soft_wrap=True)
    for flag in picture["flags"]:
        remedy = "" if picture["shot"] else f" (--yes {flag['code']})"
        out.print(f"  {flag['code']}: {flag['message']}{remedy}", style=colour, soft_wrap=True)
