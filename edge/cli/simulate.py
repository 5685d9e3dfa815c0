"""`alfa-edge simulate`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.progress import track

from edge.cli.explained import explained
from edge.cli.terminal import Terminal, counted


def simulate(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the data set; made when it is not there.")],
    classes: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
        typer.Option(help="Some of the simulated classes, separated by commas. Default: all."),
    ] = None,
    train: Annotated[int, typer.Option(min=0, max=100_000, help="Normal parts for enrolment, a class.")] = 20,
    count: Annotated[int, typer.Option(min=0, max=100_000, help="Normal parts for testing, a class.")] = 20,
    defective: Annotated[int, typer.Option(min=0, max=100_000, help="Parts of each defect, a class.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The line; the same one gives the same pictures.")] = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="Height and width in pixels.")] = 240,
) -> None:
    """Write a data set of simulated parts with exact masks, in MVTec AD's layout."""
    with explained():
        from core.simline import CLASSES, UnknownName
        from core.simline.dataset import Amount, DatasetExists, write_dataset

        names = CLASSES if classes is None else tuple(classes.split(","))
        try:
            pictures = write_dataset(folder, names, Amount(train, count, defective), seed, size)
            console = Terminal(stderr=True)
            written = sum(1 for _ in track(pictures, "pictures", console=console, transient=True))
        except (UnknownName, DatasetExists) as error:
            raise typer.BadParameter(str(error)) from None
    of_classes = counted(len(names), "class", "classes")
    Terminal().print(f"{counted(written, 'picture')} of {of_classes} in {folder}", soft_wrap=True)
