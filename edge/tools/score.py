"""`alfa-edge score`: pictures from disk, judged like parts on a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.calibration import UNCALIBRATED
from core.image import ImageError, Rgb, encode_heatmap, encode_jpeg, read
from core.packs.compiled import compile_pack
from core.packs.pack import PromptPack
from core.picture_files import HEATMAP, OVERLAY, pictures_of
from core.printable import encodable
from core.regions import find_regions
from edge.clock import monotonic
from edge.inspection.recipe_loader import model_part, recipe_part
from edge.messages import Decision, Model, Recipe, Region, Scores, Wire
from edge.storage.archive import anomaly_overlay

THRESHOLD = 0.5
"""Where none is given; verdicts at it are provisional."""


Text = Annotated[str, AfterValidator(encodable)]
"""Names of files may hold bytes that JSON cannot say."""


class ScoredPicture(Wire):
    """The judgement of one file."""

    path: Text
    verdict: Decision
    error: Text | None = None
    score: float | None = None
    threshold: float
    scores: Scores | None = None
    regions: tuple[Region, ...] = ()
    heatmap: Text | None = None
    overlay: Text | None = None
    score_ms: float | None = None


class ScoreReport(Wire):
    """What `alfa-edge score --json` prints."""

    recipe: Recipe
    model: Model
    provisional: bool = False
    """Whether the threshold is only the default."""
    pictures: tuple[ScoredPicture, ...]


@dataclass(frozen=True)
class Picture:
    """A file to score, and the name without suffix that its heatmap gets."""

    path: Path
    name: Path


def find_pictures(paths: Sequence[Path]) -> list[Picture]:
    """The files of `paths`: files as they are, and the pictures in folders and their subfolders, sorted.

    Raises:
        FileNotFoundError: a path is not there, or a folder holds no picture.
        ImageError: a folder cannot be listed.
    """
    found: list[Picture] = []
    for path in paths:
        if path.is_dir():
            top = Path(path.resolve().name)
            found += [Picture(file, top / file.relative_to(path)) for file in pictures_of([path])]
        else:
            found += [Picture(file, Path(file.name)) for file in pictures_of([path])]
    return _distinct(found)


def _distinct(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures under names that differ, so that no heatmap overwrites another."""
    names: Counter[Path] = Counter()
    distinct = []
    for picture in pictures:
        stem = picture.name.with_suffix("")
        names[stem] += 1
        suffix = f"-{names[stem]}" if names[stem] > 1 else ""
        distinct.append(Picture(picture.path, stem.with_name(stem.name + suffix)))
    return distinct


def score_pictures(
    alfa: Alfa,
    pack: PromptPack,
    pictures: Sequence[Picture],
    threshold: float,
    heatmaps: Path | None,
    batch: int,
) -> Iterator[ScoredPicture]:
    """The judgement of each picture, in order; one that cannot be read is an `error` and the rest goes on."""
    text = alfa.text(compile_pack(alfa.backbone, pack))
    for start in range(0, len(pictures), batch):
        yield from _score_batch(alfa, text, pictures[start : start + batch], threshold, heatmaps)


def _score_batch(
    alfa: Alfa, text: TextFeatures, pictures: Sequence[Picture], threshold: float, heatmaps: Path | None
) -> Iterator[ScoredPicture]:
    frames: dict[Picture, Rgb] = {}
    errors: dict[Picture, str] = {}
    for picture in pictures:
        try:
            frames[picture] = read(picture.path)
        except ImageError as error:
            errors[picture] = str(error)
    started = monotonic()
    inspections = (
        dict(zip(frames, alfa.inspect(list(frames.values()), [text] * len(frames)), strict=True)) if frames else {}
    )
    took = (monotonic() - started) * 1000 / max(len(frames), 1)
    for picture in pictures:
        if picture in errors:
            yield ScoredPicture(path=str(picture.path), verdict="error", error=errors[picture], threshold=threshold)
            continue
        one = inspections[picture]
        anomalous = one.score >= threshold
        regions = find_regions(one.heatmap, threshold) if anomalous else ()
        drawn = overlaid = None
        if heatmaps is not None:
            drawn = heatmaps / f"{picture.name}{HEATMAP}"
            overlaid = heatmaps / f"{picture.name}{OVERLAY}"
            drawn.parent.mkdir(parents=True, exist_ok=True)
            drawn.write_bytes(encode_heatmap(one.heatmap))
            overlaid.write_bytes(encode_jpeg(anomaly_overlay(frames[picture], one.heatmap, threshold)))
        yield ScoredPicture(
            path=str(picture.path),
            verdict="anomaly" if anomalous else "normal",
            score=one.score,
            threshold=threshold,
            scores=Scores(global_=one.global_score, local=one.local_score),
            regions=tuple(Region(**vars(region)) for region in regions),
            heatmap=None if drawn is None else str(drawn),
            overlay=None if overlaid is None else str(overlaid),
            score_ms=took,
        )


def report(alfa: Alfa, pack: PromptPack, pictures: Sequence[ScoredPicture], provisional: bool = False) -> ScoreReport:
    """The judgements with what they were made by; `provisional` where nobody chose the threshold."""
    return ScoreReport(
        recipe=recipe_part(pack, UNCALIBRATED if provisional else "option"),
        model=model_part(alfa.backbone, alfa.method, alfa.tower),
        provisional=provisional,
        pictures=tuple(pictures),
    )
