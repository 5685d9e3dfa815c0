"""`alfa-edge score`: pictures from disk, judged like parts on a line."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edge.cli import completion
from edge.cli.explained import explained
from edge.cli.model_options import Checkpoint, MethodName, Model, Weights, head_of, overrides, threshold_value
from edge.cli.table import Column, Table, number
from edge.cli.terminal import Terminal, counted, show_json, styled
from edge.settings import store_dir

if TYPE_CHECKING:
    from edge.tools.score import ScoredPicture

_COLOURS = {"normal": "green", "anomaly": "bold red", "error": "bold yellow"}
out = Terminal()


def score(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Pictures, or folders of pictures.")],
    pack: Annotated[
        str, typer.Option(help="Name of a prompt pack, or the path of a pack file.", autocompletion=completion.packs)
    ],
    model: Model = None,
    weights: Weights = None,
    method: MethodName = "alfa",
    checkpoint: Checkpoint = None,
    device: Annotated[str, typer.Option(help="cuda, cuda:N or cpu; used or refused.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    image_size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Another input size of the model, pixels: 336, or height x width: 240x480."),
    ] = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            callback=threshold_value, help="Anomalous at and above it. Default: 0.5, or from --normal; provisional."
        ),
    ] = None,
    normal: Annotated[
        Path | None, typer.Option(help="Folder with good parts, which the others are compared with.")
    ] = None,
    tower: Annotated[str, typer.Option(help="A second model to compare with good parts in, none, or auto.")] = "auto",
    tiles: Annotated[str, typer.Option(help="Cut pictures into rows x columns, as 2x2, or auto.")] = "1x1",
    overlap: Annotated[float, typer.Option(min=0, max=0.5, help="What neighbouring tiles share.")] = 0.2,
    plain: Annotated[
        bool, typer.Option("--plain", help="Judge pictures without any structure, too: parts are that plain.")
    ] = False,
    bits: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=9, max=16, help="Bits that pictures of 16 bits use. Default: as their values do."),
    ] = None,
    heatmaps: Annotated[Optional[Path], typer.Option(help="Folder for heatmaps and overlays.")] = None,  # noqa: UP045
    batch: Annotated[int, typer.Option(min=1, help="Pictures in one pass.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge pictures from disk. Exit code 1 when one of them could not be read."""
    with explained():
        from core.backbone import UNTRAINED
        from core.detector import Detector
        from core.method import ALFA
        from edge.tools.score import (
            find_normal,
            find_pictures,
            report,
            score_pictures,
            threshold_source,
            without_normal,
        )

        head = head_of(method, checkpoint)
        if normal is None and tower not in ("auto", "none"):
            raise typer.BadParameter("a tower compares with good parts: name them with --normal", param_hint="--tower")
        shots = [] if normal is None else find_normal(normal)
        pictures = without_normal(find_pictures(paths), shots)
        detector = Detector(
            pack,
            normal=shots or None,
            model=model,
            weights=weights,
            device=device,
            dtype=dtype,
            image_size=overrides(image_size).image_size,
            tower=tower,
            tiles=tiles,
            overlap=overlap,
            threshold=threshold,
            method=head or ALFA,
            store=store_dir(),
            plain=plain,
            bits=bits,
        )
        scored = list(score_pictures(detector, pictures, heatmaps, batch))
    if as_json:
        show_json(report(detector, scored, shots).model_dump(mode="json", exclude_none=True))
    else:
        _print_scores(scored, bool(shots))
        name = detector.backbone.name
        note = ": random weights, the scores mean nothing" if name == UNTRAINED else ""
        second = f", tower {detector.tower.name}" if detector.tower is not None else ""
        used = f"model {name}, {detector.backbone.device}, {detector.backbone.dtype}{second}{note}"
        out.print(f"pack {detector.pack.name} {detector.pack.version}; {used}", soft_wrap=True)
        if detector.threshold_source == "shots":
            out.print(f"threshold {detector.threshold:.4f}, {threshold_source(detector)}", style="yellow")
        elif detector.provisional:
            words = f"at the default threshold {detector.threshold} the verdicts are provisional"
            out.print(f"not calibrated: {words}", style="yellow")
        for depth, count in sorted(Counter(one.bits for one in scored if one.bits is not None).items()):
            deep = f"{counted(count, 'picture')} of 16 bits taken to use {depth}"
            out.print(f"{deep}, as the values do; --bits says otherwise", soft_wrap=True)
        if heatmaps is not None:
            out.print(f"heatmaps and overlays in {heatmaps}", soft_wrap=True)
    if any(picture.verdict == "error" for picture in scored):
        raise typer.Exit(1)


def _print_scores(scored: list[ScoredPicture], compared: bool) -> None:
    """A table, a row a picture, named by what its path does not share with the others.

    The scores of text are left out where pictures are `compared` with good parts: the score is then not made of them.
    """
    root = Path(os.path.commonpath([Path(one.path).resolve().parent for one in scored]))
    by_text = () if compared else (number("global"), number("local"))
    table = Table(
        Column("picture", wraps=True),
        Column("verdict", 9),
        number("score", 8),
        *by_text,
        Column("where", 7, wraps=True),
    )
    for one in scored:
        name = str(Path(one.path).resolve().relative_to(root))
        verdict = styled(one.verdict, _COLOURS[one.verdict])
        if one.scores is None:
            table.add_row(name, verdict, "", *[""] * len(by_text), one.error or "")
        else:
            where = one.regions[0].position if one.regions else ""
            parts = () if compared else (f"{one.scores.global_:.4f}", f"{one.scores.local:.4f}")
            table.add_row(name, verdict, f"{one.score:.4f}", *parts, where)
    out.print(table)
