"""What commands on pictures say of model and method: its input size, what is assumed of its weights, FiLo's head."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge.cli import completion
from edge.settings import store_dir

Model = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
    typer.Option(
        help="A model of open_clip. Default: ViT-B-16-plus-240 with --weights, else bundled.",
        autocompletion=completion.models,
    ),
]
Weights = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="A weights file, or a tag that was fetched.", autocompletion=completion.tags),
]

if TYPE_CHECKING:
    from core.backbone import Backbone
    from core.filo.head import FiloHead
    from core.overrides import Overrides

MethodName = Annotated[str, typer.Option("--method", help="alfa or filo.")]
Checkpoint = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time on Python 3.10 too
    typer.Option(help="FiLo's head: bundled, a name in the store, or a file."),
]
_SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")


def threshold_value(value: float | None) -> float | None:
    """A threshold as it was typed; BadParameter unless it is one."""
    if value is not None and not 0 <= value <= 1:  # as is nothing of what is no number
        raise typer.BadParameter(f"{value:g}: a threshold is a number from 0 to 1")
    return value


def overrides(image_size: str | None) -> Overrides:
    """What `--image-size` sets: `336`, or height and width as `240x480`."""
    from core.overrides import Overrides

    if image_size is None:
        return Overrides()
    if (found := _SIZE.fullmatch(image_size)) is None:
        raise typer.BadParameter(
            f"{image_size}: name pixels, as 336, or height and width, as 240x480", param_hint="--image-size"
        )
    height, width = found.groups()
    return Overrides(image_size=int(height) if width is None else (int(height), int(width)))


def check_head(method: str, checkpoint: str | None) -> None:
    """Raises BadParameter unless `--checkpoint` names a head where `--method` is filo, and none elsewhere."""
    if checkpoint is not None and method != "filo":
        raise typer.BadParameter("it is for --method filo", param_hint="--checkpoint")
    if method == "filo" and checkpoint is None:
        remedy = "FiLo needs a head: bundled, or one that `alfa-edge filo train` or `filo import` made"
        raise typer.BadParameter(remedy, param_hint="--checkpoint")


def head_of(method: str, checkpoint: str | None) -> FiloHead | None:
    """FiLo's head as `--method` and `--checkpoint` name it; None for alfa.

    Raises:
        BadParameter: there is another method, or no head where one is needed.
        ModelError: the head cannot be had.
    """
    from core.filo.heads import find_head
    from core.weights.store import Store

    if method not in ("alfa", "filo"):
        raise typer.BadParameter(f"{method}: use alfa or filo", param_hint="--method")
    check_head(method, checkpoint)
    return None if checkpoint is None else find_head(checkpoint, Store(store_dir()))


def say_assumed(backbone: Backbone) -> None:
    """Says on standard error what nobody said of the weights, so that it is no surprise in the scores."""
    if backbone.assumed:
        print(f"alfa-edge: {backbone.assumed}", file=sys.stderr)  # noqa: T201
