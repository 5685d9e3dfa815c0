"""One run of an evaluation, as it goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.calibration import pixel_threshold
from core.evaluate.few_shot import Judge
from core.evaluate.metrics import PixelMetrics, deciles, image_metrics, operate
from core.evaluate.result import Metrics, Picture, Run
from core.model_error import NotFiniteError

FALSE_ALARM_RATE = 0.05
"""What the threshold is to promise."""
Score = tuple[float, NDArray[np.float32]]
"""S and the map [rows, cols]."""


@dataclass(eq=False)
class Setting:
    """One run of one class, and what it collects."""

    variant: int
    shots: tuple[int, ...]
    """Indices into the class's shots."""
    seed: int
    scores: list[float] = field(default_factory=list)
    normals: list[float] = field(default_factory=list)
    """Scores of the good parts that the threshold is calibrated from."""
    peaks: list[float] = field(default_factory=list)
    """The largest value of the map of each of `normals`."""
    hits: list[bool | None] = field(default_factory=list)
    pixels: PixelMetrics = field(default_factory=PixelMetrics)
    judges: tuple[Judge, ...] = ()
    """What scores each place of a tile, where it is not Eq. 12."""


def finite(path: Path, scored: Sequence[Score]) -> Sequence[Score]:
    """`scored`; NotFiniteError where a picture's score or map is no number, which no metric may count as normal."""
    if all(math.isfinite(score) and np.isfinite(patch_map).all() for score, patch_map in scored):
        return scored
    raise NotFiniteError(f"{path}: its score is not a finite number; compute in fp32, or fetch the weights again")


def run_of(setting: Setting, variant: str, pictures: Sequence[Picture], shots: Sequence[str]) -> Run:
    """The run of a setting that has scored all pictures; `shots` are the names of the class's."""
    labels = np.array([picture.anomalous for picture in pictures], dtype=bool)
    scores = np.array(setting.scores, dtype=np.float64)
    auroc, aupr, f1_max = image_metrics(scores, labels)
    pauroc, pro, pf1_max = setting.pixels.compute()
    operation = None
    groups: tuple[object, ...] = ()
    if setting.normals:
        operation = operate(scores, labels, np.array(setting.normals, dtype=np.float64), FALSE_ALARM_RATE)
        sized = [(one.area, score) for one, score in zip(pictures, setting.scores, strict=True) if one.area]
        if sized:
            areas, values = (np.array(column, dtype=np.float64) for column in zip(*sized, strict=True))
            groups = deciles(areas, values >= operation.threshold)
    return Run(
        variant=variant,
        shots=len(setting.shots),
        seed=setting.seed,
        shot_paths=tuple(shots[index] for index in setting.shots),
        metrics=Metrics(auroc=auroc, aupr=aupr, f1_max=f1_max, pauroc=pauroc, pro=pro, pf1_max=pf1_max),
        scores=tuple(setting.scores),
        hits=tuple(setting.hits),
        operation=operation,
        pixel_threshold=pixel_threshold(setting.peaks, FALSE_ALARM_RATE) if setting.peaks else None,
        deciles=groups,
    )
