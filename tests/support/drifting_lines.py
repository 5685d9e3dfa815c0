"""Many lines at once, each with a drift test of its own: what `DriftTest.update` does, without its words, and fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from core.calibration import calibrate
from core.drift import TILTS, DriftTest, log_wealth, settle, stake

Floats = NDArray[np.float64]
Source = Callable[[np.random.Generator, int], Floats]
"""Scores of independent parts."""


@dataclass(frozen=True)
class Lines:
    """What the tests of L lines know: thresholds [L, 1], edges [L, 3], nulls [L, 7], weights [L, 1, 1], watched [L]."""

    thresholds: Floats
    edges: Floats
    nulls: Floats
    weights: Floats
    watched: NDArray[np.bool_]
    delta: float

    @classmethod
    def of(cls, tests: Sequence[DriftTest]) -> Lines:
        """The lines of tests that have seen no part, of one `delta`."""
        states = [test.to_dict() for test in tests]
        return cls(
            np.array([[state["threshold"]] for state in states]),
            np.array([state["edges"] for state in states]),
            np.array([state["nulls"] for state in states]),
            np.array([state["weight"] for state in states])[:, None, None],
            np.array([not state["unwatched"] for state in states]),
            states[0]["delta"],
        )

    def found(self, parts: Iterable[Floats]) -> NDArray[np.int64]:
        """After how many parts each line drifts, 0 for never; `parts` are scores [L] of one part of each line."""
        found = np.zeros(len(self.edges), np.int64)
        live = np.flatnonzero(self.watched)
        nothing = np.zeros((*self.nulls[live].shape, len(TILTS)))
        # What a part of a share, and one that is not, moves each bet by.
        hit, miss = (
            np.exp(settle(nothing, np.full(nothing.shape[:2], kind), self.nulls[live], self.weights[live]))
            for kind in (True, False)
        )
        thresholds, edges = self.thresholds[live], self.edges[live]
        bets = nothing + fresh(0, nothing.shape[1])
        for part, scores in enumerate(parts, 1):
            score = scores[live][:, None]
            hits = np.concatenate([score >= thresholds, score > edges, score < edges], axis=1)
            bets *= np.where(hits[..., None], hit, miss)
            rich = bets.reshape(len(bets), -1).sum(1) >= 2 / self.delta - cash(part)
            if rich.any():
                found[live[rich]] = part
                kept = (rows[~rich] for rows in (live, thresholds, edges, bets, hit, miss))
                live, thresholds, edges, bets, hit, miss = kept
            if not len(live):
                break
            bets += fresh(part, bets.shape[1])
        return found


@cache
def cash(parts: int) -> float:
    """What is not yet bet after so many parts."""
    return math.exp(log_wealth(np.full((1, 1), -np.inf), parts))


@cache
def fresh(parts: int, shares: int) -> float:
    """Each bet on a change right after so many parts."""
    return math.exp(stake(np.full((shares, len(TILTS)), -np.inf), parts)[0, 0])


def calibrated(
    calibrations: Floats, rate: float = 0.05, delta: float = 0.01, defects: float = 0.0
) -> tuple[list[DriftTest], list[float]]:
    """Tests of calibrations [L, n], and the rates that those promise."""
    thresholds = [calibrate(scores.tolist(), rate) for scores in calibrations]
    tests = [
        DriftTest(scores.tolist(), threshold.threshold, threshold.rate, delta, defects)
        for scores, threshold in zip(calibrations, thresholds, strict=True)
    ]
    return tests, [threshold.rate for threshold in thresholds]


def streams(rng: np.random.Generator, lines: int, *sources: tuple[Source, int]) -> Iterable[Floats]:
    """The parts of lines whose scores are independent: of each source so many, one after the other."""
    for source, parts in sources:
        for _ in range(parts):
            yield source(rng, lines)


def alike(rng: np.random.Generator, lines: int, parts: int, phi: float, shift: Sequence[float] | float = 0.0) -> Floats:
    """Scores [lines, parts] of which neighbours resemble each other: AR(1), stationary, carried from normal to 0..1.

    `shift`, of each part, in standard deviations, is added to the normal scores.
    """
    found, last = np.empty((parts, lines)), rng.standard_normal(lines)
    noise = rng.standard_normal((parts, lines)) * math.sqrt(1 - phi**2)
    for part in range(parts):
        last = phi * last + noise[part]
        found[part] = last
    return np.asarray(1 / (1 + np.exp(-found - np.reshape(shift, (-1, 1))))).T
