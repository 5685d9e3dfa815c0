"""`alfa-edge score`: pictures from disk, judged like parts on a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from core.bit_depth import BitDepth
from core.calibration import CALIBRATED, UNCALIBRATED
from core.detector import BATCH, Detector
from core.explain import describe
from core.image import ImageError, Rgb, encode_heatmap, encode_jpeg
from core.judgement import Judgement
from core.picture import each, to_frame
from core.picture_files import HEATMAP, OVERLAY, pictures_of
from core.printable import encodable
from core.regions import Region as MapRegion
from core.tiles import TilingError
from edge.clock import monotonic
from edge.inspection.methods import model_part
from edge.inspection.recipe_loader import recipe_part
from edge.messages import Decision, Model, Recipe, Region, Scores, Wire

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
    bits: int | None = None
    """Of 16, as its values were taken to use so many; absent where nothing was guessed."""


class ScoreReport(Wire):
    """What `alfa-edge score --json` prints."""

    recipe: Recipe
    model: Model
    provisional: bool = False
    """Whether the threshold is only the default, or comes from the normal pictures alone."""
    normal: tuple[Text, ...] = ()
    """The normal pictures that the others were compared with."""
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


def find_normal(folder: Path) -> list[Path]:
    """The pictures in `folder`, and not below it.

    Raises:
        FileNotFoundError: it is no folder, or holds no picture.
        ImageError: it cannot be listed.
    """
    if not folder.is_dir():
        kind = "a file" if folder.is_file() else "no such folder"
        raise FileNotFoundError(f"{folder}: {kind}; name a folder with pictures of good parts")
    return [Path(name) for name, _ in each(folder, "normal")]


def without_normal(pictures: Sequence[Picture], normal: Sequence[Path]) -> list[Picture]:
    """The pictures that are not among the normal ones: compared with itself each is perfect, which says nothing.

    Raises:
        FileNotFoundError: none is left.
    """
    known = {path.resolve() for path in normal}
    left = [picture for picture in pictures if picture.path.resolve() not in known]
    if not left:
        raise FileNotFoundError(
            "all pictures are among the normal ones, with which they would be compared; name others"
        )
    return left


def score_pictures(
    detector: Detector, pictures: Sequence[Picture], heatmaps: Path | None = None, batch: int = BATCH
) -> Iterator[ScoredPicture]:
    """The judgement of each picture, in order; one that cannot be read is an `error` and the rest goes on."""
    for start in range(0, len(pictures), batch):
        yield from _score_batch(detector, pictures[start : start + batch], heatmaps)


def _score_batch(detector: Detector, pictures: Sequence[Picture], heatmaps: Path | None) -> Iterator[ScoredPicture]:
    frames: dict[Picture, Rgb] = {}
    errors: dict[Picture, str] = {}
    depths: dict[Picture, BitDepth] = {}
    for picture in pictures:
        try:
            depth = BitDepth(detector.bits)
            frame = to_frame(picture.path, depth=depth)
            depths[picture] = depth
            detector.check(frame, str(picture.path))
            frames[picture] = frame
        except (ImageError, TilingError) as error:
            errors[picture] = str(error)
    started = monotonic()
    judged = detector.judge_all(list(frames.values()), batch=len(frames)) if frames else []
    took = (monotonic() - started) * 1000 / max(len(frames), 1)
    judgements = dict(zip(frames, judged, strict=True))
    kinds = detector.pack.kinds
    for picture in pictures:
        if picture in errors:
            yield ScoredPicture(
                path=str(picture.path), verdict="error", error=errors[picture], threshold=detector.threshold
            )
            continue
        judgement = judgements[picture]
        found = judgement.inspection
        drawn = overlaid = None
        if heatmaps is not None:
            drawn = heatmaps / f"{picture.name}{HEATMAP}"
            overlaid = heatmaps / f"{picture.name}{OVERLAY}"
            drawn.parent.mkdir(parents=True, exist_ok=True)
            drawn.write_bytes(encode_heatmap(judgement.heatmap))
            overlaid.write_bytes(encode_jpeg(judgement.overlay()))
        yield ScoredPicture(
            path=str(picture.path),
            verdict=judgement.verdict,
            score=judgement.score,
            threshold=judgement.threshold,
            scores=Scores(global_=found.global_score, local=found.local_score, memory=found.memory_score),
            regions=tuple(_region_part(judgement, region, kinds) for region in judgement.regions),
            heatmap=None if drawn is None else str(drawn),
            overlay=None if overlaid is None else str(overlaid),
            score_ms=took,
            bits=depths[picture].recognised,
        )


def _region_part(judgement: Judgement, region: MapRegion, kinds: Mapping[str, str]) -> Region:
    """A region with the phrase that matched best, and the kind of defect that it is of by `kinds`."""
    found = judgement.inspection
    phrase = describe(found.likeness, judgement.phrases, region.peak, found.size) if found.likeness else None
    return Region(**vars(region), descriptor=phrase, defect=None if phrase is None else kinds.get(phrase))


def report(detector: Detector, pictures: Sequence[ScoredPicture], normal: Sequence[Path] = ()) -> ScoreReport:
    """The judgements with what they were made by."""
    return ScoreReport(
        recipe=recipe_part(detector.pack, threshold_source(detector)),
        model=model_part(detector.inspector),
        provisional=detector.provisional,
        normal=tuple(str(path) for path in normal),
        pictures=tuple(pictures),
    )


def threshold_source(detector: Detector) -> str:
    """Where the threshold comes from, in the words of a verdict."""
    words = {
        "default": UNCALIBRATED,
        "shots": f"provisional: from {detector.shots} shots, each against the others",
        "hand": "option",
        "calibrated": CALIBRATED,
    }
    return words[detector.threshold_source]
