"""`alfa-edge cameras`: the integrator's first look at what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from pydantic import ValidationError

from edge.address import shown_source
from edge.cli.explained import explained
from edge.cli.table import Column, Table
from edge.cli.terminal import Terminal, show_json
from edge.settings import CameraSettings, Roi

if TYPE_CHECKING:
    from edge.tools.cameras import Listed, Mode

_SIZE = re.compile(r"(\d{2,5})(?:x(\d{2,5}))?")
out = Terminal()


def cameras(
    source: Annotated[Optional[str], typer.Argument(help="A camera to open. Default: list what there is.")] = None,  # noqa: UP045
    picture: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Write a picture here, with region, tiles and the smallest defect that is seen."),
    ] = None,
    roi: Annotated[Optional[str], typer.Option(help="The inspected region: X,Y,WIDTH,HEIGHT.")] = None,  # noqa: UP045
    tiles: Annotated[str, typer.Option(help="Rows x columns, as 2x2, or auto.")] = "1x1",
    overlap: Annotated[float, typer.Option(min=0, max=0.5, help="What neighbouring tiles share.")] = 0.2,
    image_size: Annotated[
        str, typer.Option(help="The model's input, pixels: 240 is of ViT-B-16-plus-240; or height x width.")
    ] = "240",
    trigger: Annotated[str, typer.Option(help="Of a GenICam camera: free, software or line.")] = "free",
    features: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="NAME=VALUE", help="A feature of a GenICam camera, to try it. Repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the cameras that are here, or open one: its modes, and a picture of what would be inspected."""
    with explained():
        from core.tiles import parse_tiles, tiling_of
        from edge.tools.camera_picture import check_name, write_picture
        from edge.tools.cameras import first_frames, listed, modes

        if source is None:
            _show_list(*listed(), as_json=as_json)
            return
        region = None if roi is None else _region(roi)
        sees = _input(image_size)
        if picture is not None:
            check_name(picture)
        settings = _settings(source, trigger, features or [])
        of_camera = modes(settings)
        frame, status = first_frames(settings)
        height, width = frame.image.shape[:2]
        seen = f"{width} x {height} pixels, sharpness {frame.health.sharpness:.0f}, mean {frame.health.brightness:.0f}"
        rate = "" if status.interval_s is None else f", {1 / status.interval_s:.1f} frames a second"
        smallest = None
        if picture is not None:
            tiling = tiling_of(parse_tiles(tiles), overlap, (height, width) if region is None else region.size)
            smallest = write_picture(picture, frame.image, region, tiling, sees)
    fault = frame.health.fault
    if as_json:
        found = {
            "source": shown_source(source),
            "modes": [vars(mode) for mode in of_camera],
            "width": width,
            "height": height,
            "interval_s": status.interval_s,
            "fault": None if fault is None else fault.message,
            "picture": None if picture is None else str(picture),
            "smallest_defect": smallest,
        }
        show_json(found)
        return
    _show_modes(of_camera)
    out.print(f"{shown_source(source)}: {seen}{rate}", soft_wrap=True)
    if fault is not None:
        out.print(f"such a frame is not judged: {fault.message}", soft_wrap=True)
    if picture is not None:
        words = f"the squares in the middle are the smallest defect that is seen, {smallest} pixels along each side"
        out.print(f"{picture}: {words}", soft_wrap=True)


def _show_list(found: list[Listed], missing: str | None, *, as_json: bool) -> None:
    if as_json:
        show_json({"cameras": [vars(one) for one in found], "missing": missing})
        return
    if found:
        table = Table(Column("source", 9), Column("camera", 8, wraps=True), Column("where", 7, wraps=True))
        for one in found:
            table.add_row(one.source, one.camera, one.where)
        out.print(table)
    else:
        out.print("no camera is here; network cameras of a URL are not looked for: name one", soft_wrap=True)
    if missing is not None:
        out.print(f"not looked for: {missing}", soft_wrap=True)


def _show_modes(of_camera: list[Mode]) -> None:
    if not of_camera:
        return
    table = Table("mode", Column("now", 8), Column("choice", 9, wraps=True))
    for mode in of_camera:
        table.add_row(mode.name, mode.now, mode.choice)
    out.print(table)


def _settings(source: str, trigger: str, features: list[str]) -> CameraSettings:
    asked = {}
    for feature in features:
        name, equals, value = feature.partition("=")
        if not equals:
            raise typer.BadParameter(f"{feature}: write NAME=VALUE", param_hint="--set")
        asked[name.strip()] = _value(value.strip())
    try:
        return CameraSettings.model_validate({"source": source, "trigger": trigger, "features": asked})
    except ValidationError as error:
        named = {"source": "source", "trigger": "--trigger", "features": "--set"}
        wrong = {named[str(one["loc"][0])] if one["loc"] else "--trigger, --set": one["msg"] for one in error.errors()}
        raise typer.BadParameter(
            "; ".join(words.removeprefix("Value error, ") for words in wrong.values()), param_hint=", ".join(wrong)
        ) from None


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _region(text: str) -> Roi:
    try:
        x, y, width, height = (int(one) for one in text.split(","))
        return Roi(x=x, y=y, width=width, height=height)
    except ValueError:  # pydantic's is one, too
        raise typer.BadParameter(
            f"{text}: write X,Y,WIDTH,HEIGHT in pixels, 16 wide and high at least", param_hint="--roi"
        ) from None


def _input(text: str) -> tuple[int, int]:
    if (found := _SIZE.fullmatch(text)) is None:
        raise typer.BadParameter(f"{text}: name pixels, as 240, or height x width", param_hint="--image-size")
    return int(found[1]), int(found[2] or found[1])
