"""What an evaluation found: frozen value objects, the JSON file, and the averages of the paper's tables.

The file holds nothing that differs between two runs of the same evaluation: no time, no date, no machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict

from core import files
from core.printable import encodable

METRICS = ("auroc", "aupr", "f1_max", "pauroc", "pro", "pf1_max")
"""In the paper's order: image level, then pixel level."""


Name: TypeAlias = Annotated[str, AfterValidator(encodable)]
"""Of a file, a folder, or of what was found there: a file's name may hold bytes that JSON cannot say."""


class Part(BaseModel):
    """A frozen part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metrics(Part):
    """In [0, 1]; None where the data give none (no masks, or parts of one label only)."""

    auroc: float | None = None
    aupr: float | None = None
    f1_max: float | None = None
    pauroc: float | None = None
    pro: float | None = None
    pf1_max: float | None = None


class Rate(Part):
    """A share of parts, and its 95 % confidence interval (Wilson)."""

    value: float
    low: float
    high: float
    count: int
    """Parts that the share is of."""


class Operation(Part):
    """How a line would do at a threshold calibrated from good training parts alone."""

    threshold: float
    normals: int
    """Good parts that it was calibrated from."""
    promised: float
    """The false-alarm rate that so many good parts can promise."""
    false_alarms: Rate | None
    escapes: Rate | None


class Decile(Part):
    """Defective parts by the area of their defect."""

    smallest: float
    """Share of the picture, of the smallest defect in this tenth."""
    largest: float
    count: int
    found: int
    """Of them called anomalous at the calibrated threshold."""


class Picture(Part):
    """One test picture."""

    path: Name
    """Below the data set's root."""
    anomalous: bool
    defect: Name
    """`good`, or the kind of defect."""
    masked: bool
    """Whether there is a mask, or none is needed."""
    area: float | None = None
    """Share of the picture that the defect covers."""


class Run(Part):
    """One setting on one class."""

    variant: str
    """`alfa`, `winclip`, `filo`, or what an ablation leaves out, for instance `no aligner`."""
    shots: int
    seed: int
    shot_paths: tuple[Name, ...]
    metrics: Metrics
    scores: tuple[float, ...]
    """S of each picture, in the order of `ClassResult.pictures`."""
    hits: tuple[bool | None, ...]
    """Whether the heatmap's peak lies inside the mask, dilated by one patch; None for good parts and without a mask."""
    operation: Operation | None = None
    pixel_threshold: float | None = None
    """An area of the heatmap stands out at and above it, calibrated as `operation` is; None where that is."""
    deciles: tuple[Decile, ...] = ()


class ClassResult(Part):
    """One class of the data set."""

    name: Name
    layout: str
    pack: str
    pack_version: str
    pack_sha256: str
    train: int
    """Good training pictures."""
    pictures: tuple[Picture, ...]
    broken: tuple[Name, ...]
    """Pictures or masks that could not be read, each with the reason; they are not in `pictures`."""
    masks_inverted: bool = False
    """Whether the masks mark what is no defect."""
    notes: tuple[Name, ...] = ()
    """What is odd in the folders, for instance a defect without a mask."""
    runs: tuple[Run, ...]


class Interval(Part):
    """A 95 % confidence interval of a mean over seeds and, without a class, over classes; see `intervals`."""

    class_name: Name | None
    variant: str
    shots: int
    metric: str
    low: float
    high: float


class Evaluation(Part):
    """The whole file."""

    schema_: Literal[1] = 1
    version: str
    """Of alfa-edge."""
    dataset: Name
    """Name of the root folder."""
    resolution: tuple[int, int]
    """Height and width at which pixel metrics are taken."""
    shots: tuple[int, ...]
    seeds: int
    model: str
    fingerprint: str
    device: str
    dtype: str
    scales: tuple[int, ...]
    windows: str = "exact"
    few_shot: str = "alfa"
    """How normal shots were compared: `alfa` (Eq. 12), `evidence`, `nearest`, `subspace`, `mutual` (without shots)."""
    tower: str | None = None
    tower_fingerprint: str | None = None
    augment: str = "none"
    within: int | None = None
    tiles: str = ""
    head: str | None = None
    """Fingerprint of FiLo's head, where it scored."""
    """As `2x2@0.2` or `auto@0.2`; empty without."""
    classes: tuple[ClassResult, ...]
    intervals: tuple[Interval, ...] = ()

    def interval(self, variant: str, shots: int, metric: str, class_name: str | None = None) -> Interval | None:
        """The interval of one mean, where there is one."""
        wanted = (class_name, variant, shots, metric)
        known = (one for one in self.intervals if (one.class_name, one.variant, one.shots, one.metric) == wanted)
        return next(known, None)

    def variants(self) -> tuple[str, ...]:
        """In the order in which they were run."""
        return tuple(dict.fromkeys(run.variant for one in self.classes for run in one.runs))

    def settings(self) -> Iterator[tuple[str, int]]:
        """Each (variant, shots) that was run."""
        yield from dict.fromkeys((run.variant, run.shots) for one in self.classes for run in one.runs)

    def write(self, path: Path) -> None:
        """Writes the JSON file, whole or not at all."""
        files.write(path, f"{self.model_dump_json(indent=1)}\n".encode())


class Spread(Part):
    """Mean and standard deviation over seeds; the deviation is None for one seed."""

    mean: float
    deviation: float | None


def spread(values: list[float]) -> Spread | None:
    """None for no values."""
    if not values:
        return None
    return Spread(mean=mean(values), deviation=stdev(values) if len(values) > 1 else None)


def over_seeds(result: ClassResult, variant: str, shots: int, metric: str) -> Spread | None:
    """One metric of one class over its seeds."""
    runs = [run for run in result.runs if (run.variant, run.shots) == (variant, shots)]
    values = [getattr(run.metrics, metric) for run in runs]
    return spread([value for value in values if value is not None and math.isfinite(value)])


def over_classes(evaluation: Evaluation, variant: str, shots: int, metric: str) -> Spread | None:
    """The average of one metric over the classes that have it, per seed; then over the seeds, as in the paper."""
    by_seed: dict[int, list[float]] = {}
    for result in evaluation.classes:
        for run in result.runs:
            value = getattr(run.metrics, metric)
            if (run.variant, run.shots) == (variant, shots) and value is not None:
                by_seed.setdefault(run.seed, []).append(value)
    return spread([mean(values) for values in by_seed.values()])


def promised(evaluation: Evaluation, variant: str, shots: int) -> float | None:
    """The highest false-alarm rate, 0 to 1, that the thresholds of all classes and seeds promise."""
    runs = (run for one in evaluation.classes for run in one.runs if (run.variant, run.shots) == (variant, shots))
    return max((run.operation.promised for run in runs if run.operation is not None), default=None)


def operated(evaluation: Evaluation, variant: str, shots: int, kind: str) -> float | None:
    """The share of `false_alarms` or `escapes` over the parts of all classes and seeds that have a threshold."""
    runs = (run for one in evaluation.classes for run in one.runs if (run.variant, run.shots) == (variant, shots))
    rates = [getattr(run.operation, kind) for run in runs if run.operation is not None]
    known = [rate for rate in rates if rate is not None]
    total = sum(rate.count for rate in known)
    return sum(rate.value * rate.count for rate in known) / total if total else None
