"""`alfa-edge filo ...`: heads of the method FiLo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from edge.cli.explained import explained
from edge.cli.filo_train import filo_train
from edge.cli.terminal import Terminal
from edge.clock import iso_ms, utc_now
from edge.settings import store_dir

filo_app = typer.Typer(help="Heads of the method FiLo, which is trained once.", no_args_is_help=True)
filo_app.command("train")(filo_train)
out = Terminal()


@filo_app.command("import")
def filo_import(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of FiLo's release, or a head (.safetensors).")
    ],
    name: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
        typer.Option(help="What to call the head. Default: as the file."),
    ] = None,
    model: Annotated[str, typer.Option(help="The model of open_clip that a checkpoint is of.")] = "ViT-L-14-336",
    size: Annotated[int, typer.Option(help="Height and width of the model's input, pixels.")] = 518,
    sha256: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The SHA-256 that the file must have, hexadecimal."),
    ] = None,
    store: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Directory of the weights. Default: that of the setting model.store."),
    ] = None,
) -> None:
    """Keep a trained head in the store, out of a released checkpoint or as it is; needs no network."""
    with explained():
        from core.filo.checkpoint import architecture_of
        from core.filo.heads import import_head
        from core.weights.store import Store

        here = Store(store_dir(store))
        record, head = import_head(here, checkpoint, architecture_of(model, size), iso_ms(utc_now()), name, sha256)
        path = here.root / record.model / record.file
        out.print(f"FiLo head {record.tag}: {path}, SHA-256 {record.sha256}", soft_wrap=True)
        height, width = head.image_size
        activation = "GELU" if head.activation == "gelu" else "QuickGELU"
        out.print(f"It is for {head.model} at {height} x {width} px, with {activation}.", soft_wrap=True)
