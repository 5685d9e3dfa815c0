"""Charts as inline SVG: their colours come from the page's style sheet, their texts are escaped.

A chart needs no colour to be read: curves differ in their dashes, good parts stand above the axis and defective ones
below it, bars carry their numbers. Each has a title and says in its description what the picture shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from core.evaluate.result import Decile

Floats = NDArray[np.float64]

BINS = 24
"""Bars of a histogram, over the range of its scores."""

_WIDTH, _HEIGHT = 300, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 42
_INNER_WIDTH, _INNER_HEIGHT = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM


@dataclass(frozen=True)
class Series:
    """Lines of one setting, one per seed."""

    label: str
    style: str
    """`first` (solid) or `second` (dashed)."""
    lines: tuple[tuple[Floats, Floats], ...]
    """x and y of each, both in [0, 1]."""


def roc(scores: Floats, labels: NDArray[np.bool_]) -> tuple[Floats, Floats] | None:
    """False-alarm and detection rate at every threshold, from none to all; None for parts of one label only."""
    counts = _counts(scores, labels)
    if counts is None:
        return None
    true, false = counts
    return np.concatenate([[0.0], false / false[-1]]), np.concatenate([[0.0], true / true[-1]])


def precision_recall(scores: Floats, labels: NDArray[np.bool_]) -> tuple[Floats, Floats] | None:
    """Recall and precision as a staircase, as average precision sums it; None for parts of one label only."""
    counts = _counts(scores, labels)
    if counts is None:
        return None
    true, false = counts
    recall, precision = true / true[-1], true / (true + false)
    return np.concatenate([[0.0], np.repeat(recall, 2)[:-1]]), np.repeat(precision, 2)


def curves(key: str, title: str, axes: tuple[str, str], series: Sequence[Series], chance: bool = False) -> Markup:
    """Curves in the unit square.

    Args:
        key: Unique in the page.
        title: What the chart is called.
        axes: Names of x and y.
        series: Settings, each with its dashes.
        chance: Whether to draw the diagonal.
    """
    body = [_frame(axes, [(tick, f"{tick * 100:.0f}") for tick in (0.0, 0.5, 1.0)])]
    for tick in (0.0, 0.5, 1.0):
        y = _y(tick)
        body.append(_line("grid", _LEFT, y, _WIDTH - _RIGHT, y))
        body.append(_text(_LEFT - 5, y + 4, f"{tick * 100:.0f}", "end"))
    if chance:
        body.append(_line("chance", _LEFT, _y(0), _WIDTH - _RIGHT, _y(1)))
    for curve in series:
        for xs, ys in curve.lines:
            body.append(Markup('<polyline class="curve {}" points="{}"/>').format(curve.style, _points(xs, ys)))
    for row, curve in enumerate(series):
        y = _TOP + _INNER_HEIGHT - 12 - 15 * (len(series) - 1 - row)
        body.append(_line(f"curve {curve.style}", _WIDTH - 118, y - 4, _WIDTH - 92, y - 4))
        body.append(_text(_WIDTH - 86, y, curve.label))
    lines = "; ".join(f"{curve.label}: {len(curve.lines)} line{'s' * (len(curve.lines) != 1)}" for curve in series)
    return _svg(key, title, f"{axes[1]} over {axes[0]}. {lines}.", _WIDTH, _HEIGHT, body)


def histogram(key: str, title: str, scores: Floats, labels: NDArray[np.bool_], threshold: float | None) -> Markup:
    """Share of the parts of each label per score: good parts upwards, defective ones downwards.

    Args:
        key: Unique in the page.
        title: What the chart is called.
        scores: float [n], n >= 1, finite.
        labels: bool [n], True for defective parts.
        threshold: The calibrated threshold, drawn as a dashed line; None draws none.
    """
    known = scores if threshold is None else np.append(scores, threshold)
    low, high = float(known.min()), float(known.max())
    margin = 0.03 * (high - low) or 0.01
    low, high = low - margin, high + margin
    shares = []
    for label in (False, True):
        counts = np.histogram(scores[labels == label], bins=BINS, range=(low, high))[0]
        shares.append(counts / max(int(counts.sum()), 1))
    most = max(float(max(share.max() for share in shares)), 1e-9)
    ticks = [(share, f"{low + share * (high - low):.2f}") for share in (0.0, 0.5, 1.0)]
    middle = _TOP + _INNER_HEIGHT / 2
    body = [_frame(("anomaly score", "share of parts, %"), ticks)]
    for share, y in ((most, _TOP), (0.0, middle), (most, _TOP + _INNER_HEIGHT)):
        body.append(_text(_LEFT - 5, y + 4, f"{share * 100:.0f}", "end"))
    width = _INNER_WIDTH / BINS
    for name, heights, up in (("good", shares[0], True), ("defective", shares[1], False)):
        for index, share in enumerate(heights):
            tall = float(share) / most * (_INNER_HEIGHT / 2 - 2)
            if tall > 0:
                top = middle - tall if up else middle
                body.append(_bar(name, _LEFT + index * width + 0.5, top, width - 1, tall))
    body.append(_line("axis", _LEFT, middle, _WIDTH - _RIGHT, middle))
    good, defective = int((~labels).sum()), int(labels.sum())
    body.append(_text(_WIDTH - _RIGHT - 4, _TOP + 12, f"{good} good", "end", "halo"))
    body.append(_text(_WIDTH - _RIGHT - 4, _TOP + _INNER_HEIGHT - 6, f"{defective} defective", "end", "halo"))
    described = f"{good} good parts above the axis, {defective} defective parts below it."
    if threshold is not None:
        x = _LEFT + (threshold - low) / (high - low) * _INNER_WIDTH
        body.append(_line("threshold", x, _TOP, x, _TOP + _INNER_HEIGHT))
        described += f" The dashed line is the calibrated threshold, {threshold:.4f}."
    return _svg(key, title, described, _WIDTH, _HEIGHT, body)


def area_bars(key: str, title: str, deciles: Sequence[Decile]) -> Markup:
    """Share of the defects found, one bar per tenth of the defects by area, smallest first."""
    left, right, row = 132, 108, 22
    width, height = 620, 18 + row * len(deciles) + 8
    inner = width - left - right
    body = [_text(left - 8, 12, "area, % of the picture", "end"), _text(left, 12, "share of the defects found")]
    said = []
    for index, decile in enumerate(deciles):
        y = 18 + index * row
        share = decile.found / decile.count if decile.count else 0.0
        name = f"{_percent(decile.smallest)} to {_percent(decile.largest)}"
        numbers = f"{share * 100:.0f} % ({decile.found} of {decile.count})"
        body.append(_text(left - 8, y + 15, name, "end"))
        body.append(_bar("empty", left, y + 3, inner, row - 6))
        if share:
            body.append(_bar("found", left, y + 3, inner * share, row - 6))
        body.append(_text(left + inner + 8, y + 15, numbers))
        said.append(f"{name}: {numbers}")
    return _svg(key, title, "Area in percent of the picture: " + "; ".join(said) + ".", width, height, body)


def _counts(scores: Floats, labels: NDArray[np.bool_]) -> tuple[Floats, Floats] | None:
    """Defective and good parts at or above each distinct score, highest first."""
    if labels.all() or not labels.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    sorted_labels = labels[order]
    return np.cumsum(sorted_labels)[last].astype(float), np.cumsum(~sorted_labels)[last].astype(float)


def _percent(share: float) -> str:
    """Two digits that count: a small defect is not rounded to nothing."""
    value = share * 100
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}" if value >= 0.001 else f"{value:.0e}" if value else "0"


def _x(value: float) -> float:
    return _LEFT + value * _INNER_WIDTH


def _y(value: float) -> float:
    return _TOP + (1 - value) * _INNER_HEIGHT


def _points(xs: Floats, ys: Floats) -> str:
    """Corners only, to a tenth of a unit: points on the straight line between their neighbours are left out."""
    kept: list[tuple[float, float]] = []
    for x, y in ((round(_x(float(x)), 1), round(_y(float(y)), 1)) for x, y in zip(xs, ys, strict=True)):
        if kept and kept[-1] == (x, y):
            continue
        while len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2:]
            turned = abs((bx - ax) * (y - by) - (by - ay) * (x - bx)) > 1e-6
            if turned or (bx - ax) * (x - bx) + (by - ay) * (y - by) < 0:
                break
            kept.pop()
        kept.append((x, y))
    return " ".join(f"{x:g},{y:g}" for x, y in kept)


def _frame(axes: tuple[str, str], ticks: Sequence[tuple[float, str]]) -> Markup:
    body = [_line("axis", _LEFT, _y(0), _WIDTH - _RIGHT, _y(0)), _line("axis", _LEFT, _y(0), _LEFT, _y(1))]
    for place, (share, name) in enumerate(ticks):
        body.append(_text(_x(share), _y(0) + 15, name, ("start", "middle", "end")[place]))
    body.append(_text(_LEFT + _INNER_WIDTH / 2, _HEIGHT - 8, axes[0], "middle"))
    middle = _TOP + _INNER_HEIGHT / 2
    body.append(
        Markup('<text x="11" y="{0}" text-anchor="middle" transform="rotate(-90 11 {0})">{1}</text>').format(
            f"{middle:g}", axes[1]
        )
    )
    return Markup("").join(body)


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    ends = (f"{value:.1f}" for value in (x1, y1, x2, y2))
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(name, *ends)


def _bar(name: str, x: float, y: float, width: float, height: float) -> Markup:
    sides = (f"{value:.1f}" for value in (x, y, width, height))
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(name, *sides)


def _text(x: float, y: float, text: str, anchor: str = "start", name: str = "") -> Markup:
    style = Markup(' class="{}"').format(name) if name else Markup("")
    return Markup('<text x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(
        f"{x:.1f}", f"{y:.1f}", anchor, style, text
    )


def _svg(key: str, title: str, description: str, width: int, height: int, body: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg role="img" viewBox="0 0 {w} {h}" style="max-width:{w}px" aria-labelledby="{k}-title {k}-desc">'
        '<title id="{k}-title">{title}</title><desc id="{k}-desc">{description}</desc>{body}</svg>'
    ).format(w=width, h=height, k=escape(key), title=title, description=description, body=Markup("").join(body))
