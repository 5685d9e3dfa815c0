"""The report of an evaluation: one HTML file that needs nothing else, on a screen and on A4 paper.

It fetches nothing and runs no script. Names of files and classes are data: they are escaped, whatever they hold.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from core.evaluate import charts, paper, tables
from core.evaluate.compare import Comparison
from core.evaluate.result import ClassResult, Evaluation, over_classes
from core.evaluate.tables import NAMES, method, percent, runs_of, setting, shots_words

MAIN = "alfa"
"""The variant that the charts show, where it was run."""


@dataclass(frozen=True)
class Shown:
    """A test picture to show."""

    path: str
    """Below the data set's root."""
    caption: str
    """What it is an example of, for instance `highest score of a good part`."""
    verdict: str
    """In words, for instance `anomalous (missed crack)`."""
    score: float
    contour: float
    """The heatmap's value that `overlay` has a contour at."""
    image: bytes
    """JPEG, with the outline of the true defect where its place is known."""
    overlay: bytes
    """JPEG of the picture under its heatmap."""


@dataclass(frozen=True)
class ClassCharts:
    """The charts of one class."""

    name: str
    charts: tuple[tuple[str, Markup], ...]
    """Heading and drawing of each."""
    note: str = ""
    """Why a chart is missing."""


def render(
    evaluation: Evaluation,
    pictures: Mapping[str, Sequence[Shown]],
    facts: Mapping[str, str],
    comparison: Comparison | None = None,
) -> str:
    """The report as one HTML document.

    Args:
        evaluation: What was found.
        pictures: Best and worst pictures, by class.
        facts: What differs between two runs of the same evaluation: machine, date, latency, command line.
        comparison: What changed since an earlier evaluation.
    """
    main = _main(evaluation)
    shots = sorted({count for variant, count in evaluation.settings() if variant == main})
    ends = sorted({shots[0], shots[-1]}) if shots else []
    environment = Environment(
        loader=PackageLoader("core.evaluate", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        evaluation=evaluation,
        facts=facts,
        benchmark=paper.benchmark(one.name for one in evaluation.classes),
        source=paper.SOURCE,
        main=method(main),
        headline=setting(main, ends[-1]) if ends else "",
        tiles=_tiles(evaluation, main, ends[-1]) if ends else [],
        configuration=_configuration(evaluation),
        packs=tables.packs_table(evaluation),
        summary=tables.summary_table(evaluation),
        by_class=[tables.class_table(evaluation, main, count) for count in shots],
        ablation=tables.ablation_table(evaluation, main),
        curves=[_curves(index, one, main, ends) for index, one in enumerate(evaluation.classes)],
        operating=tables.operating_table(evaluation, main, ends),
        areas=_areas(evaluation, main, ends[-1]) if ends else [],
        defects=tables.defects_table(evaluation, main, ends[-1]) if ends else None,
        gallery=[
            (name, [(one, _uri(one.image), _uri(one.overlay)) for one in shown])
            for name, shown in pictures.items()
            if shown
        ],
        comparison=comparison,
        changed_metrics=None if comparison is None else tables.changed_metrics_table(comparison),
        changed_scores=None if comparison is None else tables.changed_scores_table(comparison),
        most=tables.MOST,
    )


def _main(evaluation: Evaluation) -> str:
    """The variant that the charts show: `MAIN`, unless it was run without shots only and another one with them."""
    variants = evaluation.variants()
    shown = [variant for variant, shots in evaluation.settings() if shots] or list(variants)
    return MAIN if MAIN in shown or not shown else shown[0]


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _tiles(evaluation: Evaluation, variant: str, shots: int) -> list[tuple[str, str, str]]:
    """Label, figure and explanation of what to see first."""
    parts = [picture for result in evaluation.classes for picture in result.pictures]
    defective = sum(picture.anomalous for picture in parts)
    tiles = [("Test parts", str(len(parts)), f"{len(parts) - defective} good, {defective} defective")]
    for metric, explanation in (("auroc", "telling good from defective parts"), ("pro", "placing the defects")):
        value = over_classes(evaluation, variant, shots, metric)
        text = "–" if value is None else f"{percent(value.mean)} %"
        tiles.append((NAMES[metric], text, explanation if value else "not measured"))
    firsts = [runs_of(result, variant, shots)[:1] for result in evaluation.classes]
    operations = [run.operation for runs in firsts for run in runs if run.operation is not None]
    for name, rates, kind in (
        ("False alarms", [one.false_alarms for one in operations], "good"),
        ("Escapes", [one.escapes for one in operations], "defective"),
    ):
        known = [rate for rate in rates if rate is not None]
        total = sum(rate.count for rate in known)
        hit = sum(round(rate.value * rate.count) for rate in known)
        text = f"{percent(hit / total)} %" if total else "–"
        tiles.append((name, text, f"{hit} of {total} {kind} parts" if total else "not measured"))
    return tiles


def _configuration(evaluation: Evaluation) -> list[tuple[str, str]]:
    height, width = evaluation.resolution
    return [
        ("Data set", evaluation.dataset),
        ("Model", evaluation.model),
        ("Fingerprint", evaluation.fingerprint),
        ("Window sizes", ", ".join(f"{scale} × {scale} patches" for scale in evaluation.scales)),
        ("Windows", evaluation.windows),
        ("Few-shot", _few_shot(evaluation)),
        *([("FiLo head", evaluation.head)] if evaluation.head else []),
        ("Variants", ", ".join(method(variant) for variant in evaluation.variants())),
        ("Shots", ", ".join(map(str, evaluation.shots))),
        ("Seeds", str(evaluation.seeds)),
        *([("Tiles", evaluation.tiles)] if evaluation.tiles else []),
        ("Pixel metrics at", f"{width} × {height} pixels"),
        ("Device, precision", f"{evaluation.device}, {evaluation.dtype}"),
        ("Software", f"alfa-edge {evaluation.version}"),
    ]


def _few_shot(evaluation: Evaluation) -> str:
    words = [evaluation.few_shot]
    words += [f"tower {evaluation.tower}"] if evaluation.tower else []
    words += [f"within {evaluation.within} patches"] if evaluation.within is not None else []
    words += [f"shots also {evaluation.augment}"] if evaluation.augment != "none" else []
    return ", ".join(words)


def _curves(index: int, result: ClassResult, variant: str, shots: Sequence[int]) -> ClassCharts:
    """ROC and precision-recall curves of the settings in one chart each, and a histogram for each setting."""
    labels = np.array([picture.anomalous for picture in result.pictures], bool)
    roc: list[charts.Series] = []
    recall: list[charts.Series] = []
    drawn: list[tuple[str, Markup]] = []
    for style, count in zip(("first", "second"), reversed(shots), strict=False):
        runs = [(run, np.array(run.scores, float)) for run in runs_of(result, variant, count)]
        for lines, make in ((roc, charts.roc), (recall, charts.precision_recall)):
            made = [line for _, scores in runs if (line := make(scores, labels)) is not None]
            if made:
                lines.append(charts.Series(shots_words(count), style, tuple(made)))
        for run, scores in runs[:1]:
            if scores.size and np.isfinite(scores).all():
                threshold = None if run.operation is None else run.operation.threshold
                title = f"Scores, {shots_words(count)}" + (f", seed {run.seed}" if len(runs) > 1 else "")
                key = f"scores-{index}-{count}"
                drawn.append((title, charts.histogram(key, f"{title}: {result.name}", scores, labels, threshold)))
    before = []
    if roc:
        axes = ("false alarms, %", "defective parts found, %")
        before.append(("ROC", charts.curves(f"roc-{index}", f"ROC curve: {result.name}", axes, roc, chance=True)))
    if recall:
        axes = ("recall, %", "precision, %")
        drawing = charts.curves(f"pr-{index}", f"Precision-recall curve: {result.name}", axes, recall)
        before.append(("Precision and recall", drawing))
    note = "" if roc or not drawn else "No curves: the test parts are of one label only."
    return ClassCharts(result.name, (*before, *drawn), note or ("" if drawn else "Nothing was run on this class."))


def _areas(evaluation: Evaluation, variant: str, shots: int) -> list[tuple[str, Markup]]:
    drawn = []
    for index, result in enumerate(evaluation.classes):
        deciles = next((run.deciles for run in runs_of(result, variant, shots) if run.deciles), ())
        if deciles:
            title = f"Share of the defects found, by area: {result.name}"
            drawn.append((result.name, charts.area_bars(f"area-{index}", title, deciles)))
    return drawn
