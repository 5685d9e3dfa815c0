"""The report's tables: their cells as text, and for each dash the reason in a footnote."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from core.evaluate import paper
from core.evaluate.compare import Comparison, called, verdict
from core.evaluate.result import (
    METRICS,
    ClassResult,
    Evaluation,
    Interval,
    Rate,
    Run,
    Spread,
    over_classes,
    over_seeds,
)

NAMES = {
    "auroc": "AUROC",
    "aupr": "AUPR",
    "f1_max": "F1-max",
    "pauroc": "pAUROC",
    "pro": "PRO",
    "pf1_max": "pF1-max",
}
"""The paper's names of the metrics."""

ONE_LABEL = "The test parts are of one label only: all good, or all defective."
NO_MASKS = "No masks: pixel metrics need the defects' places."
NOT_RUN = "Not run in this setting."
NOT_MEASURED = "Not measured."
NO_THRESHOLD = "No calibrated threshold in this run."

MOST = 60
"""Rows of a comparison's tables and lists; the rest is counted."""


@dataclass(frozen=True)
class Cell:
    """One cell: its text, and the letter of its footnote."""

    text: str
    mark: str = ""
    detail: str = ""
    """Smaller, after the text."""


@dataclass(frozen=True)
class Row:
    """A heading and its cells."""

    head: str
    cells: tuple[Cell, ...]
    kind: str = ""
    """`paper` for the paper's figures, `sum` for an average."""
    source: str = ""
    """Where a paper row stands."""


@dataclass(frozen=True)
class Group:
    """Rows under a heading of their own; no heading where it is empty."""

    head: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Notes:
    """The footnotes of one table, lettered in the order in which they come up."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The letter of this footnote; the same text has the same letter."""
        if text not in self.texts:
            self.texts.append(text)
        return _letter(self.texts.index(text))

    def dash(self, reason: str) -> Cell:
        """A missing value."""
        return Cell("–", self.mark(reason))

    def lettered(self) -> list[tuple[str, str]]:
        """Letter and text of each."""
        return [(_letter(index), text) for index, text in enumerate(self.texts)]


@dataclass(frozen=True)
class Table:
    """A table with one column of row headings."""

    caption: str
    columns: tuple[str, ...]
    """The first is that of the row headings."""
    groups: tuple[Group, ...]
    notes: Notes = field(default_factory=Notes)
    spans: tuple[tuple[str, int], ...] = ()
    """Headings over several columns, with their widths."""
    words: frozenset[int] = frozenset()
    """Columns of text, set to the left."""

    @property
    def empty(self) -> bool:
        """Whether there is no row."""
        return not any(group.rows for group in self.groups)


METRIC_SPANS = (("", 1), ("image level", 3), ("pixel level", 3))
METRIC_COLUMNS = tuple(NAMES[metric] for metric in METRICS)


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else f"n{index + 1}"


def percent(value: float, digits: int = 1) -> str:
    """A share in percent, without the sign."""
    return f"{value * 100:.{digits}f}"


def deviation(value: float | None) -> str:
    """± and a deviation that is in percent already; empty without one."""
    return "" if value is None else f"± {value:.1f}"


def spread_cell(value: Spread, sure: Interval | None = None) -> Cell:
    """Mean, deviation and 95 % interval in percent."""
    apart = deviation(None if value.deviation is None else value.deviation * 100)
    interval = "" if sure is None else f"({percent(sure.low)} to {percent(sure.high)})"
    return Cell(percent(value.mean), detail=f"{apart} {interval}".strip())


def missing(result: ClassResult, variant: str, shots: int, metric: str) -> str:
    """Why a class has no value of a metric."""
    if not any((run.variant, run.shots) == (variant, shots) for run in result.runs):
        return NOT_RUN
    if len({picture.anomalous for picture in result.pictures}) < 2:
        return ONE_LABEL
    pixel = metric in METRICS[3:]
    if pixel and not any(picture.anomalous and picture.masked for picture in result.pictures):
        return NO_MASKS
    return NOT_MEASURED


def class_cell(of: Evaluation, result: ClassResult, variant: str, shots: int, metric: str, notes: Notes) -> Cell:
    """One metric of one class over its seeds."""
    value = over_seeds(result, variant, shots, metric)
    if value is None:
        return notes.dash(missing(result, variant, shots, metric))
    return spread_cell(value, of.interval(variant, shots, metric, result.name))


def average_cell(evaluation: Evaluation, variant: str, shots: int, metric: str, notes: Notes) -> Cell:
    """One metric over the classes; a footnote says when it is not over all of them."""
    value = over_classes(evaluation, variant, shots, metric)
    absent = [result for result in evaluation.classes if over_seeds(result, variant, shots, metric) is None]
    if value is None or not math.isfinite(value.mean):
        reasons = dict.fromkeys(missing(result, variant, shots, metric) for result in absent)
        return notes.dash(" ".join(reasons) or NOT_MEASURED)
    cell = spread_cell(value, evaluation.interval(variant, shots, metric))
    if not absent:
        return cell
    names = ", ".join(result.name for result in absent)
    count = len(evaluation.classes)
    return Cell(cell.text, notes.mark(f"Over {count - len(absent)} of {count} classes; without {names}."), cell.detail)


def average_row(evaluation: Evaluation, head: str, variant: str, shots: int, notes: Notes, kind: str = "") -> Row:
    """The six metrics of one setting over the classes."""
    return Row(head, tuple(average_cell(evaluation, variant, shots, metric, notes) for metric in METRICS), kind)


def groups_by(pairs: Iterable[tuple[str, Row]]) -> tuple[Group, ...]:
    """Rows with the same group heading together, in the order in which the headings come up."""
    grouped: dict[str, list[Row]] = {}
    for head, row in pairs:
        grouped.setdefault(head, []).append(row)
    return tuple(Group(head, tuple(rows)) for head, rows in grouped.items())


def texts(values: Sequence[str]) -> tuple[Cell, ...]:
    """Plain cells."""
    return tuple(Cell(value) for value in values)


def method(variant: str) -> str:
    """A variant as the report writes it."""
    return paper.METHODS.get(variant, variant)


def shots_words(count: int) -> str:
    """`0 shots`, `1 shot`."""
    return f"{count} shot" if count == 1 else f"{count} shots"


def setting(variant: str, count: int) -> str:
    """A setting as the report writes it."""
    return f"{method(variant)}, {shots_words(count)}"


def runs_of(result: ClassResult, variant: str, shots: int) -> list[Run]:
    """Of one setting, by seed."""
    found = [run for run in result.runs if (run.variant, run.shots) == (variant, shots)]
    return sorted(found, key=lambda run: run.seed)


def packs_table(evaluation: Evaluation) -> Table:
    rows = []
    for result in evaluation.classes:
        defective = [picture for picture in result.pictures if picture.anomalous]
        unmasked = sum(not picture.masked for picture in defective)
        counts = (result.train, len(result.pictures) - len(defective), len(defective), unmasked, len(result.broken))
        cells = (f"{result.pack} {result.pack_version}", result.pack_sha256, result.layout, *map(str, counts))
        rows.append(Row(result.name, texts(cells)))
    columns = (
        "Class",
        "Prompt pack",
        "SHA-256",
        "Layout",
        "Good, training",
        "Good, test",
        "Defective, test",
        "of them without mask",
        "Not readable",
    )
    return Table("Classes, prompt packs and parts", columns, (Group("", tuple(rows)),), words=frozenset({1, 2, 3}))


def _paper_row(row: paper.PaperRow) -> Row:
    cells = (Cell(f"{row.mean(metric):.1f}", detail=deviation(row.deviation(metric))) for metric in METRICS)
    return Row(row.method, tuple(cells), "paper", row.table)


def summary_table(evaluation: Evaluation) -> Table:
    """Every setting, and the paper's figures of it for ALFA and WinCLIP."""
    notes = Notes()
    published = paper.paper_rows(result.name for result in evaluation.classes)
    pairs = []
    for shots in sorted({count for _, count in evaluation.settings()}):
        here = [variant for variant, count in evaluation.settings() if count == shots]
        for variant in here:
            pairs.append((shots_words(shots), average_row(evaluation, method(variant), variant, shots, notes)))
        for row in published:
            if row.shots == shots and (row.variant in paper.METHODS or row.variant in map(paper.component, here)):
                pairs.append((shots_words(shots), _paper_row(row)))
    caption = "Mean over the classes, ± standard deviation over the seeds, in percent"
    if evaluation.intervals:
        caption += "; in brackets the 95 % interval of the mean"
    return Table(caption, ("Method", *METRIC_COLUMNS), groups_by(pairs), notes, METRIC_SPANS)


def class_table(evaluation: Evaluation, variant: str, shots: int) -> Table:
    notes = Notes()
    rows = [
        Row(result.name, tuple(class_cell(evaluation, result, variant, shots, metric, notes) for metric in METRICS))
        for result in evaluation.classes
    ]
    rows.append(average_row(evaluation, "Mean", variant, shots, notes, "sum"))
    caption = f"{setting(variant, shots)}: each class, in percent"
    return Table(caption, ("Class", *METRIC_COLUMNS), (Group("", tuple(rows)),), notes, METRIC_SPANS)


def ablation_table(evaluation: Evaluation, main: str) -> Table | None:
    """Variants side by side at 0 shots with their distance from the main one; None for one variant."""
    variants = [variant for variant, shots in evaluation.settings() if shots == 0]
    if len(variants) < 2 or main not in variants:
        return None
    notes = Notes()
    base = {metric: over_classes(evaluation, main, 0, metric) for metric in METRICS}
    rows = [average_row(evaluation, method(main), main, 0, notes)]
    for variant in variants:
        if variant != main:
            row = average_row(evaluation, method(variant), variant, 0, notes)
            cells = []
            for metric, cell in zip(METRICS, row.cells, strict=True):
                cells.append(
                    Cell(cell.text, cell.mark, _apart(over_classes(evaluation, variant, 0, metric), base[metric]))
                )
            rows.append(Row(row.head, tuple(cells)))
    pairs = [("This evaluation", row) for row in rows]
    published = {
        row.variant: row for row in paper.paper_rows(result.name for result in evaluation.classes) if not row.shots
    }
    for key in dict.fromkeys(variant if variant in paper.METHODS else paper.component(variant) for variant in variants):
        if key in published and main in published:
            pairs.append(("Paper", _paper_apart(published[key], published[main])))
    caption = f"0 shots, in percent; in brackets the distance from {method(main)} in percentage points"
    return Table(caption, ("Method", *METRIC_COLUMNS), groups_by(pairs), notes, METRIC_SPANS)


def _apart(value: Spread | None, base: Spread | None) -> str:
    return "" if value is None or base is None else _signed((value.mean - base.mean) * 100)


def _paper_apart(row: paper.PaperRow, base: paper.PaperRow) -> Row:
    cells = []
    for metric in METRICS:
        apart = "" if row is base else _signed(row.mean(metric) - base.mean(metric))
        cells.append(Cell(f"{row.mean(metric):.1f}", detail=apart))
    return Row(row.method, tuple(cells), "paper", row.table)


def _signed(points: float) -> str:
    text = f"{points:+.1f}"
    return "(±0.0)" if text in ("+0.0", "-0.0") else f"({text.replace('-', '−')})"


def operating_table(evaluation: Evaluation, variant: str, shots: Sequence[int]) -> Table:
    notes, groups = Notes(), []
    for count in shots:
        rows = []
        for result in evaluation.classes:
            runs = runs_of(result, variant, count)
            first = runs[0].operation if runs else None
            if first is None:
                reason = NO_THRESHOLD if runs else NOT_RUN
                rows.append(Row(result.name, tuple(notes.dash(reason) for _ in range(7))))
                continue
            operations = [run.operation for run in runs if run.operation is not None]
            cells = [Cell(f"{first.threshold:.4f}"), Cell(str(first.normals)), Cell(percent(first.promised))]
            for kind in ("false_alarms", "escapes"):
                cells += _rate(
                    getattr(first, kind), [getattr(operation, kind) for operation in operations], notes, kind
                )
            rows.append(Row(result.name, tuple(cells)))
        groups.append(Group(shots_words(count), tuple(rows)))
    columns = ("Class", "Threshold", "calibrated on", "promised", "measured", "parts", "measured", "parts")
    spans = (("", 3), ("false alarms, %", 3), ("escapes, %", 2))
    caption = f"{method(variant)} at thresholds calibrated from good training parts alone"
    return Table(caption, columns, tuple(groups), notes, spans)


def _rate(rate: Rate | None, seeds: Sequence[Rate | None], notes: Notes, kind: str) -> list[Cell]:
    if rate is None:
        parts = "good" if kind == "false_alarms" else "defective"
        return [notes.dash(f"No {parts} test parts."), Cell("0")]
    detail = f"({percent(rate.low)} to {percent(rate.high)})"
    values = [seed.value for seed in seeds if seed is not None]
    if len(values) > 1:
        detail += f"; seeds {percent(min(values))} to {percent(max(values))}"
    return [Cell(percent(rate.value), detail=detail), Cell(str(rate.count))]


def defects_table(evaluation: Evaluation, variant: str, shots: int) -> Table:
    """Each kind of part, over all seeds."""
    notes, groups = Notes(), []
    for result in evaluation.classes:
        runs = runs_of(result, variant, shots)
        kinds = sorted(enumerate(result.pictures), key=lambda numbered: (numbered[1].anomalous, numbered[1].defect))
        rows = []
        for (_, kind), members in groupby(kinds, key=lambda numbered: (numbered[1].anomalous, numbered[1].defect)):
            places = [index for index, _ in members]
            rows.append(Row(kind, _defect_cells(runs, places, result.pictures[places[0]].anomalous, notes)))
        groups.append(Group(result.name, tuple(rows)))
    columns = ("Kind", "Parts", "called anomalous, %", "mean score", "peak in mask, %")
    return Table(f"{setting(variant, shots)}: each kind of defect", columns, tuple(groups), notes)


def _defect_cells(runs: Sequence[Run], places: Sequence[int], anomalous: bool, notes: Notes) -> tuple[Cell, ...]:
    scores = [run.scores[place] for run in runs for place in places]
    calls = [call for run in runs for place in places if (call := called(run, run.scores[place])) is not None]
    hits = [hit for run in runs for place in places if (hit := run.hits[place]) is not None]
    no_hits = "No masks of these defects." if anomalous else "Good parts have no defect to point at."
    return (
        Cell(str(len(places))),
        Cell(percent(sum(calls) / len(calls))) if calls else notes.dash(NO_THRESHOLD),
        Cell(f"{sum(scores) / len(scores):.4f}") if scores else notes.dash(NOT_RUN),
        Cell(percent(sum(hits) / len(hits))) if hits else notes.dash(no_hits),
    )


def changed_metrics_table(comparison: Comparison) -> Table:
    notes = Notes()
    rows = []
    for changed in comparison.metrics[:MOST]:
        figures = [
            notes.dash(NOT_MEASURED) if value is None else Cell(percent(value, 2))
            for value in (changed.old, changed.new)
        ]
        change = (
            notes.dash(NOT_MEASURED)
            if changed.change is None
            else Cell(f"{changed.change * 100:+.2f}".replace("-", "−"))
        )
        rows.append(
            (
                changed.class_name,
                Row(f"{setting(changed.variant, changed.shots)}: {NAMES[changed.metric]}", (*figures, change)),
            )
        )
    columns = ("Setting and metric", "before", "now", "change")
    return Table("Changed metrics, in percent", columns, groups_by(rows), notes)


def changed_scores_table(comparison: Comparison) -> Table:
    rows = []
    for change in comparison.scores[:MOST]:
        words = f"{verdict(change.called_before)} → {verdict(change.called_now)}" if change.flipped else "unchanged"
        where = f"{setting(change.variant, change.shots)}, seed {change.seed}"
        figures = (f"{change.old:.4f}", f"{change.new:.4f}", f"{change.change:+.4f}".replace("-", "−"))
        part = "defective" if change.anomalous else "good"
        rows.append((change.class_name, Row(change.path, texts((where, part, *figures, words)))))
    columns = ("Picture", "Setting", "Part", "before", "now", "change", "Called")
    return Table("Changed scores", columns, groups_by(rows), words=frozenset({1, 2, 6}))
