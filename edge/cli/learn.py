"""`alfa-edge learn | suggest`: a new line's first run, and parts that would make good shots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.printable import shown
from edge.cli.ask import WORK_S, ConfigFile, Json, Line, Recipe, Wait, ask_service, out, say_notes, say_smallest
from edge.cli.candidates import say_picture, write_candidates
from edge.cli.explained import explained
from edge.cli.table import Table, number
from edge.cli.terminal import show_json


def learn(
    config: ConfigFile,
    line: Line,
    parts: Annotated[int, typer.Option(min=1, max=1000, help="So many of the line's next parts, all good.")] = 24,
    good: Annotated[
        Path | None, typer.Option(help="Instead: so many pictures of this folder, evenly spread by name, all good.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.0001, max=0.9999, help="The false-alarm rate to promise.")] = 0.05,
    accept: Annotated[
        float | None, typer.Option(min=0.0001, max=1, help="The highest rate to set, where the parts are too few.")
    ] = None,
    recipe: Recipe = None,
    timeout: Wait = 600.0,
    as_json: Json = False,
) -> None:
    """Show a new line good parts: the most different ones are enrolled, the others set its threshold."""
    names, blobs = [], []
    with explained():
        if good is not None:
            from edge.control.protocol import sendable
            from edge.tools.playlist import good_pictures

            paths = good_pictures(good, parts)
            names, blobs = [shown(path.name) for path in paths], [sendable(path) for path in paths]
    told = {"line": line, "recipe": recipe, "parts": parts, "rate": rate, "accept": accept, "timeout_s": timeout}
    if not as_json and good is None:
        out.print(f"show line {line} {parts} good parts; `alfa-edge status` says how far it is", soft_wrap=True)
    found = ask_service(config, "learn", told | {"names": names}, blobs, timeout + WORK_S)
    if as_json:
        show_json(found)
        return
    say_notes(found)
    kept = found["calibration"]
    shots = ", ".join(str(picture["shot"]) for picture in found["pictures"])
    out.print(
        f"line {line}: enrolled as shots {shots}; threshold {kept['threshold']:.4f}, {kept['source']}", soft_wrap=True
    )
    say_smallest(line, found)


def suggest(
    config: ConfigFile,
    line: Line,
    count: Annotated[int, typer.Option(min=1, max=64, help="How many are proposed.")] = 4,
    parts: Annotated[int, typer.Option(min=2, max=200, help="Of so many of the line's next parts.")] = 24,
    enrol: Annotated[bool, typer.Option("--enrol", "--enroll", help="They are good: enrol them.")] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Write their pictures into this folder.")] = None,
    timeout: Wait = 600.0,
    as_json: Json = False,
) -> None:
    """Propose shots from parts that nobody has sorted: the most typical one, and the most different ones."""
    arguments = {"line": line, "count": count, "parts": parts, "timeout_s": timeout}
    found = ask_service(config, "suggest", arguments, timeout=timeout + WORK_S)
    numbers = [part["candidate"] for part in found["suggested"]]
    if folder is not None:
        write_candidates(config, line, numbers, folder)
    if enrol:  # that one scores high is no news: it was not sorted
        take = {"line": line, "candidates": numbers, "yes": ["anomalous"]}
        found |= ask_service(config, "shots_take", take, timeout=WORK_S)
    if as_json:
        show_json(found)
        return
    table = Table(*map(number, ("candidate", "seq", "score", "unlike the others")))
    for part in found["suggested"]:
        table.add_row(str(part["candidate"]), str(part["seq"]), f"{part['score']:.4f}", f"{part['unlike']:.4f}")
    out.print(table)
    for picture in found["pictures"]:
        say_picture(picture)
    if not enrol:
        out.print(f"if they are good: `alfa-edge shots take --line {line}`; else `shots drop`", soft_wrap=True)
