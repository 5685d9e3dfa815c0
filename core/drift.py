"""Whether a line still does what its calibration promised, asked after each part: a test by betting.

Seven shares of parts are watched: those that alarm, those above each quartile of the calibration's scores, and those
below each. Calibration gives each share an upper bound. Whoever bets against a bound that holds does not grow rich.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.autocorrelation import ar1_time, autocorrelation_time, effective_count, parts_worth
from core.calibration import checked, order, rate_bounds

Floats: TypeAlias = NDArray[np.float64]

TILTS: Floats = np.array([1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0])
"""The bets on each share: by how much they hold its log odds to be above the bound's, [K]."""
RECENT = 100
"""Parts that `DriftState.alarm_share` is about."""
LEAST_EFFECTIVE = 10
"""Independent parts that a calibration has to be worth where its parts resemble their neighbours."""


@dataclass(frozen=True)
class DriftState:
    """What is known after some parts.

    Attributes:
        drifting: Whether the line has left what calibration promised. Once so, it stays so: calibrate anew, or begin a
            new test if the cause is gone.
        reason: In words, as of the part at which drift was found; empty where it was not.
        parts: Parts seen.
        alarm_share: Of the last parts, about `RECENT` of them, older ones fading; in [0, 1]. 0 before the first.
        evidence: log10 of the largest e-value so far, 0 or more. Drift is at log10(2 / delta).
        unwatched: Why drift is not looked for, and what would help, in words; empty where it is.
    """

    drifting: bool
    reason: str
    parts: int
    alarm_share: float
    evidence: float
    unwatched: str = ""


class DriftTest:
    """A sequential test that scores come from where the calibration's came from. Not for several threads at once.

    It says drift of a line that does not drift with a probability of at most `delta`, over calibration and any number
    of parts together, however often it is looked at. Half of `delta` is for the bounds, half for the bets:

    - Bounds. Given the calibration, a part alarms with a probability that is Beta distributed (`rate_bounds`; where the
      threshold is not the calibration's own, the bound is Clopper and Pearson's 1934), and so is that of a score
      above, or below, the calibration's quartile of a rank; ties make each smaller only. The bounds on all m shares
      hold together but for a probability of `delta` / 2 (Bonferroni). Among good parts there may be a share of
      `expected_defects` of which nothing is assumed, so that a bound r becomes r + expected_defects (1 - r).
    - Bets. Against the bound r on a share, a bet of tilt h > 0 is multiplied by exp(h) / (1 - r + r exp(h)) if the part
      is of that share, else by 1 / (1 - r + r exp(h)): the likelihood ratio of a probability above r, whose expectation
      is at most 1 at every probability up to r (betting with the sign restricted: Waudby-Smith and Ramdas 2024). A
      wealth of 1 is spread over m shares, `TILTS`, and the part before which the line changes: after t parts,
      1 / (1 + log2(1 + t)) is not yet bet (mixtures: Robbins 1970; over e-values, Vovk and Wang 2021, Proposition
      3.1: their mean is never less than Bonferroni's largest over m). The wealth is a test supermartingale, and
      reaches 2 / `delta` with a probability of at most `delta` / 2 (Ville 1939).

    That a good past does not weigh against a bad present is what the spread over time buys: a change after t parts
    takes about ln(t) + 2 ln(log2(t)) more of evidence, in nats, however good the t parts were.

    Neighbours that resemble each other would break both. Where T parts tell as much as one (`core.autocorrelation`, the
    larger of its two times):

    - The bounds are those of n / T parts.
    - A part moves each bet by the T-th root of the above. That is the geometric mean of T tests, each on every T-th
      part, whose expectation is at most 1 by Hoelder's inequality where parts T apart are independent. They are nearly
      so, and T is an estimate: that the test keeps to `delta` is measured in `tests/benchmarks/test_drift.py`.
    - Of a calibration of parts that are alike, and are worth less than `LEAST_EFFECTIVE` independent ones, T is hardly
      known. Then nothing is bet, and the state says why.

    What lasts longer than the calibration did (a lamp that warms up all morning) cannot be known from it: calibration
    must span it, or the test calls it the drift that it is. Scores of `leave_one_out` are not quite those of new
    parts, and many parts may show it.

    What a small calibration cannot know, no number of parts can tell: 19 good parts that promise 5 % may really alarm
    in 32 %, with `delta` 0.01, and any share up to that is no drift; 99 in 14.5 %, 499 in 8.6 %, 1999 in 6.7 %. Parts
    until drift was found, median / nine tenths of 200 simulated lines with a calibration of n each, a dash where so
    many did not find it within 6,000 (of the last three rows, the median, within 4,000):

        n =                          99          499            1999
        15 % alarm                   - / -       425 / 759      188 / 373
        10 % alarm                   - / -       - / -          1026 / 2155
        65 % are above the median    - / -       807 / 3397     340 / 595
        75 % are above the median    649 / -     145 / 328      87 / 159
        after 10,000 good parts:
        15 % alarm                   - / -       943 / 1412     427 / 650
        75 % are above the median    1326 / -    322 / 595      201 / 291
        all higher by a deviation:
        independent parts            75          36             26
        AR(1), phi 0.7               -           702            317
        AR(1), phi 0.9               -           -              2162

    Memory and time of an update do not grow.

    Args:
        scores: Of the n >= 1 good parts of the calibration, each in [0, 1], in the order in which the parts came.
        threshold: A part whose score is at or above it alarms.
        promised: The false-alarm rate promised, in (0, 1).
        delta: In (0, 1).
        expected_defects: Share of parts that are really defective, at most; in [0, 1).

    Raises:
        ValueError: An argument is outside its range.
    """

    def __init__(
        self,
        scores: Sequence[float],
        threshold: float,
        promised: float,
        delta: float = 0.01,
        expected_defects: float = 0.0,
    ) -> None:
        good = checked(scores, "scores")
        if not math.isfinite(threshold):
            raise ValueError(f"threshold {threshold} must be finite")
        if not 0 < delta < 1:
            raise ValueError(f"delta {delta} must be between 0 and 1")
        if not 0 <= expected_defects < 1:
            raise ValueError(f"expected_defects {expected_defects} must be in [0, 1)")
        ordered, count, time = np.sort(good), len(good), autocorrelation_time(good)
        effective = effective_count(count, time)
        worth = min(effective, count / ar1_time(good))
        ranks = sorted({math.ceil(count * quarter / 4) for quarter in (1, 2, 3)})
        confidence = 1 - delta / (1 + 2 * len(ranks))

        def bound(hits: int) -> float:
            """Of the share of parts that `hits` of the calibration's are of."""
            return rate_bounds(worth, worth * ((count - hits) / count), confidence)[1] if hits < count else 1.0

        # The calibration's own threshold is above the score at its place; of any other, what counts is who alarmed.
        alarms = count - min(order(count, promised, effective), int((ordered < threshold).sum()))
        nulls = np.array([bound(hits) for hits in (alarms, *(count - rank for rank in ranks), *(r - 1 for r in ranks))])
        self._unwatched = "" if time == 1 or effective >= LEAST_EFFECTIVE else _too_alike(count, effective, time)
        self._weight = worth / count
        self._threshold, self._promised = threshold, promised
        self._delta, self._expected_defects = delta, expected_defects
        self._edges: Floats = ordered[np.array(ranks) - 1]
        self._usual: Floats = self._hits(ordered).mean(0)
        self._nulls: Floats = nulls + expected_defects * (1 - nulls)
        self._bets = stake(np.full((len(nulls), len(TILTS)), -np.inf), 0)
        self._since = np.zeros_like(self._bets)
        self._seen = np.zeros_like(self._bets)
        self._parts = 0
        self._alarm_share = 0.0
        self._evidence = 0.0
        self._found, self._found_share, self._found_parts = -1, 0.0, 0.0

    def update(self, score: float) -> DriftState:
        """Takes the score of the next part, in [0, 1].

        Raises:
            ValueError: `score` is not a number in [0, 1]; the test is as before.
        """
        checked([score], "score")
        hits = self._hits(score)
        self._parts += 1
        self._alarm_share += (float(hits[0]) - self._alarm_share) / min(self._parts, RECENT)
        if self._unwatched:
            return self.state
        settled = settle(self._bets, hits, self._nulls, self._weight)
        self._since += 1
        self._seen += hits[:, None]
        evidence = float(log_wealth(settled, self._parts))
        self._evidence = max(self._evidence, evidence)
        if self._found < 0 and evidence >= math.log(2 / self._delta):
            best = np.unravel_index(int(settled.argmax()), settled.shape)
            self._found, self._found_parts = int(best[0]), float(self._since[best])
            self._found_share = float(self._seen[best] / self._since[best])
        self._bets = stake(settled, self._parts)
        # Each bet knows the share, and of how many parts, that it lives on: means over its starts, by their worth.
        kept = np.exp(settled - self._bets)
        self._since *= kept
        self._seen *= kept
        return self.state

    @property
    def state(self) -> DriftState:
        """What is known so far."""
        return DriftState(
            drifting=self._found >= 0,
            reason=self._reason(),
            parts=self._parts,
            alarm_share=self._alarm_share,
            evidence=self._evidence / math.log(10),
            unwatched=self._unwatched,
        )

    def to_dict(self) -> dict[str, Any]:
        """All of the test, as a text, floats, integers and lists of floats, all finite; JSON keeps it exactly."""
        return {
            name.removeprefix("_"): value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> DriftTest:
        """The test that `to_dict` gave `state` of.

        Raises:
            ValueError: `state` has other keys.
        """
        test = cls([0.0], 0.5, 0.5)
        if state.keys() != test.to_dict().keys():
            raise ValueError(f"this is no state of a drift test: its keys are {', '.join(sorted(map(str, state)))}")
        for name, value in state.items():
            setattr(test, f"_{name}", np.array(value) if isinstance(value, list) else value)
        return test

    def _hits(self, scores: float | Floats) -> NDArray[np.bool_]:
        """Which of the shares parts of these scores [...] are of, [..., m]."""
        each = np.asarray(scores)[..., None]
        return np.concatenate([each >= self._threshold, each > self._edges, each < self._edges], axis=-1)

    def _reason(self) -> str:
        if self._found < 0:
            return ""
        share = f"{_percent(self._found_share)} of the last {round(self._found_parts):,} parts"
        if self._found == 0:
            allowed = f" and {_percent(self._expected_defects)} of defects" if self._expected_defects else ""
            return f"{share} alarmed; calibration promised {_percent(self._promised)}{allowed}"
        above, edge = self._found <= len(self._edges), self._edges[(self._found - 1) % len(self._edges)]
        where = f"{'above' if above else 'below'} {edge:.4f}"
        return f"{share} scored {where}; at calibration {_percent(self._usual[self._found])} did"


def settle(bets: Floats, hits: NDArray[np.bool_], nulls: Floats, weight: float | Floats = 1.0) -> Floats:
    """ln of the bets after a part.

    Args:
        bets: ln of each bet's worth, [..., m, K].
        hits: Which shares the part is of, [..., m].
        nulls: The bounds, [..., m], in (0, 1].
        weight: Independent parts that a part is worth, in (0, 1]; a number, or [..., 1, 1].
    """
    return np.asarray(bets + weight * (TILTS * hits[..., None] - np.log1p(nulls[..., None] * np.expm1(TILTS))))


def stake(bets: Floats, parts: int) -> Floats:
    """ln of the bets [..., m, K] after those on a change right after `parts` parts are added."""
    fresh = _log_cash(parts) + _log_cash(parts + 1) + math.log(math.log1p(1 / (1 + parts)) / math.log(2))
    return np.logaddexp(bets, fresh - math.log(bets.shape[-1] * bets.shape[-2]))


def log_wealth(bets: Floats, parts: int) -> Floats:
    """ln of all bets [..., m, K] settled after `parts` parts, and of what is not yet bet: [...]."""
    return np.asarray(np.logaddexp(_log_cash(parts), np.logaddexp.reduce(bets, axis=(-2, -1))))


def _log_cash(parts: int) -> float:
    """ln of what is not yet bet. It falls slowly, and its sum over all changes is 1."""
    return -math.log1p(math.log2(1 + parts))


def _too_alike(count: int, effective: float, time: float) -> str:
    return (
        f"drift is not watched: the {count} good parts of the calibration resemble their neighbours and count as "
        f"{effective:.3g}; calibrate on at least {parts_worth(LEAST_EFFECTIVE, time)}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
