"""Drift and false alarms of lines whose neighbouring parts resemble each other, as the code judges them and as before.

Each case is one row of a table and stands alone, so that a run that was cut goes on with `-k`.
ALFA_EDGE_BENCH_LINES is the number of lines of a case (200), ALFA_EDGE_BENCH_PARTS that of each line's parts (20000).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.drifting_lines import Floats, Lines, alike, calibrated

LINES = int(os.environ.get("ALFA_EDGE_BENCH_LINES", "200"))
PARTS = int(os.environ.get("ALFA_EDGE_BENCH_PARTS", "20000"))
SOON = PARTS // 5
"""Parts within which a shift is looked for."""
RATE, DELTA = 0.05, 0.01
SHIFTS = (0.5, 1.0, 2.0)
Kind = Callable[[np.random.Generator, int], Floats]
"""Scores [LINES, parts] of lines that stay the same."""


@dataclass(frozen=True)
class Outcome:
    """What became of LINES lines that all have a calibration of their own.

    Attributes:
        rates: The false-alarm rate that each promises.
        watched: Whether drift is watched.
        drifted: Whether drift was said of it though nothing changed.
        above: The share of its parts that alarmed.
        parts: Of each of SHIFTS, parts until drift was said; infinity where it was not within SOON.
    """

    rates: Floats
    watched: NDArray[np.bool_]
    drifted: NDArray[np.bool_]
    above: Floats
    parts: tuple[Floats, ...]

    @property
    def met(self) -> NDArray[np.bool_]:
        """Whether each promises RATE."""
        return self.rates == RATE

    def row(self) -> str:
        """Its part of the table."""
        kept, medians = self.met & self.watched, [f"{np.median(parts[self.watched]):.0f}" for parts in self.parts]
        above = self.above[self.met]
        return (
            f"{mean(self.met):6.1f} %{100 * above.mean() if len(above) else math.nan:7.2f} +- "
            f"{100 * error_of(above):4.2f} %{mean(self.watched):7.1f} %{mean(self.drifted[kept]):7.1f} %"
            f"{mean(self.drifted[self.watched]):7.1f} %   {' '.join(f'{words:>6}' for words in medians)}"
        )


HEAD = f"{'':24}promise    alarm        watched  drift   of all   found after ({', '.join(map(str, SHIFTS))} sigma)"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [99, 499, 1999])
@pytest.mark.parametrize("phi", [0.0, 0.3, 0.5, 0.7, 0.9])
def test_ar1_lines_keep_what_they_promise(phi: float, count: int) -> None:
    rng = np.random.default_rng([count, round(10 * phi)])
    scores = alike(rng, LINES, count + PARTS, phi)
    before, now = compare(f"AR(1), phi {phi}, n {count}", scores, count)
    holds(now)
    assert now.watched[now.met].all()
    if phi == 0:
        assert before.met.all()
        assert now.met.mean() >= 0.98
    if count / ((1 + phi) / (1 - phi)) > 60:
        assert now.met.mean() >= 0.98
        assert np.mean(now.parts[-1] <= SOON / 2) >= 0.9


def lamp(rng: np.random.Generator, parts: int) -> Floats:
    """A fifth of the variance is slow: a lamp that wanders, phi 0.98."""
    return mixed(alike(rng, LINES, parts, 0.98), 0.2, rng)


def lots(rng: np.random.Generator, parts: int) -> Floats:
    """Half of the variance is that of lots of 20 parts."""
    lot = alike(rng, LINES, parts // 20 + 2, 0.0).repeat(20, 1)
    return mixed(lot[:, 7 : 7 + parts], 0.5, rng)


def thrice(rng: np.random.Generator, parts: int) -> Floats:
    """Each part is seen three times."""
    return alike(rng, LINES, parts // 3 + 1, 0.0).repeat(3, 1)[:, :parts]


def nests(rng: np.random.Generator, parts: int) -> Floats:
    """Half of the variance is that of the eight nests of a tool, in their turn."""
    nest = np.linspace(-1.5, 1.5, 8)[rng.permuted(np.tile(np.arange(8), (LINES, 1)), axis=1)]
    return mixed(to_scores(np.tile(nest, (1, parts // 8 + 1))[:, :parts]), 0.5, rng)


def heavy(rng: np.random.Generator, parts: int) -> Floats:
    """phi 0.7, and a few parts score far above the others."""
    return alike(rng, LINES, parts, 0.7) ** 8


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [499, 1999])
@pytest.mark.parametrize("kind", [lamp, lots, thrice, nests, heavy])
def test_other_lines_keep_what_they_promise(kind: Kind, count: int) -> None:
    rng = np.random.default_rng(count)
    _, now = compare(f"{kind.__name__}, n {count}", kind(rng, count + PARTS), count)
    if (kind, count) != (lamp, 499):  # which lasts for ten times of the lamp: too few to know it
        holds(now)


def holds(now: Outcome) -> None:
    """What is promised is kept."""
    assert mean(now.drifted[now.met & now.watched]) <= 100 * DELTA
    assert mean(now.drifted[now.watched]) <= 100 * DELTA
    assert now.above.mean() <= now.rates.mean() + 2 * error_of(now.above)
    if now.met.sum() >= 10:  # the noise of fewer is not known
        assert now.above[now.met].mean() <= RATE + 2 * error_of(now.above[now.met])


def compare(name: str, scores: Floats, count: int) -> tuple[Outcome, Outcome]:
    """What became of lines of scores [LINES, count + PARTS], as before and as now; prints both."""
    with ExitStack() as stack:  # as it was: every part counts as independent
        for time in ("calibration.autocorrelation_time", "drift.autocorrelation_time", "drift.ar1_time"):
            stack.enter_context(mock.patch(f"core.{time}", return_value=1.0))
        before = judge(scores, count)
    now = judge(scores, count)
    print(f"\n{HEAD}\n{name + ' before':22}{before.row()}\n{name + ' now':22}{now.row()}")
    return before, now


def judge(scores: Floats, count: int) -> Outcome:
    tests, rates = calibrated(scores[:, :count], RATE, DELTA)
    lines, parts = Lines.of(tests), scores[:, count:].T
    logits = np.log(parts) - np.log1p(-parts)
    delays = []
    for shift in SHIFTS:
        found = lines.found(to_scores(logits[:SOON] + shift * logits.std()))
        delays.append(np.where(found > 0, found, np.inf))
    return Outcome(
        np.array(rates), lines.watched, lines.found(parts) > 0, (parts >= lines.thresholds[:, 0]).mean(0),
        tuple(delays),
    )  # fmt: skip


def mixed(scores: Floats, share: float, rng: np.random.Generator) -> Floats:
    """Scores of which `share` of the variance is that of `scores`, the rest each part's own."""
    logits = np.log(scores) - np.log1p(-scores)
    return to_scores(math.sqrt(share) * logits + math.sqrt(1 - share) * rng.standard_normal(scores.shape))


def to_scores(logits: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logits)))


def mean(which: NDArray[np.bool_]) -> float:
    """The share, percent; 0 of nothing."""
    return 100 * float(which.mean()) if len(which) else 0.0


def error_of(values: Floats) -> float:
    """The standard error of their mean; 0 of fewer than two."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
