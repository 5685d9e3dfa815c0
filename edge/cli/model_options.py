"""What commands on pictures say of a model: its input size, and what is assumed of its weights."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from core.backbone import Backbone
    from core.overrides import Overrides

_SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")


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


def say_assumed(backbone: Backbone) -> None:
    """Says on standard error what nobody said of the weights, so that it is no surprise in the scores."""
    if backbone.assumed:
        print(f"alfa-edge: {backbone.assumed}", file=sys.stderr)  # noqa: T201
