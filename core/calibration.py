"""The threshold that good parts give, and what it promises: split conformal prediction.

Everywhere a part or a pixel is anomalous when `score >= threshold`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from core.autocorrelation import autocorrelation_time, effective_count, parts_worth
from core.beta import beta_quantile

CALIBRATED = "calibrated"
UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it promises.

    Attributes:
        threshold: A part whose score is at or above it is anomalous. From 0 to just above 1; above 1 nothing is.
        requested: The false-alarm rate asked for, in (0, 1]; 1 where none was.
        rate: The false-alarm rate promised, in (0, 1]; 1, which promises nothing, where no good part was scored.
        count: Good parts that it comes from.
        effective: Independent parts that they are worth, at most `count`.
        source: `calibrated` or `uncalibrated`.
        note: What a reader must know about the promise, a sentence; empty where the request was met.
    """

    threshold: float
    requested: float
    rate: float
    count: int
    effective: float
    source: str = CALIBRATED
    note: str = ""


@dataclass(frozen=True)
class Promise:
    """What a number of good parts can promise.

    Attributes:
        count: Good parts.
        effective: Independent parts that they are worth, at most `count`.
        requested: The false-alarm rate asked for, in (0, 1).
        rate: The least that is promised: `requested`, or 1 / (effective + 1) where that is more.
        needed: The fewest parts that could promise `requested`. Where parts resemble their neighbours, an estimate.
    """

    count: int
    effective: float
    requested: float
    rate: float
    needed: int

    @property
    def met(self) -> bool:
        """Whether what was asked for is promised."""
        return self.rate == self.requested

    @property
    def subject(self) -> str:
        """The parts and what they are worth, as words that a rate follows."""
        if self.effective < self.count:
            return f"{self.count} good parts resemble their neighbours, count as {self.effective:.3g}, and promise"
        return "1 good part promises" if self.count == 1 else f"{self.count} good parts promise"

    @property
    def takes(self) -> str:
        """How many parts it takes, in words."""
        return f"at least {self.needed}" if self.effective < self.count else f"{self.needed}"


def promise(count: int, rate: float, time: float = 1.0) -> Promise:
    """What `count` good parts can promise where `rate` is asked for.

    Args:
        count: 1 or more.
        rate: In (0, 1).
        time: Parts that are worth an independent one, of `core.autocorrelation.autocorrelation_time`.

    Raises:
        ValueError: `rate` is not inside (0, 1).
    """
    effective, least = effective_count(count, time), 1 / _exact(rate) - 1
    promised = rate if effective >= least else 1 / (effective + 1)
    return Promise(count, effective, rate, promised, parts_worth(fewest(rate), time))


def calibrate(scores: Sequence[float], rate: float) -> Calibration:
    """The threshold at which good parts are called anomalous with a probability of at most `rate`.

    Of n scores it is just above the ceil((n + 1) (1 - rate))-th smallest. The score of the next good part, if the n + 1
    are exchangeable, is above that one with a probability of at most `rate`, and of at least `rate - 1 / (n + 1)` where
    no two are equal (split conformal prediction: Papadopoulos et al. 2002; Lei et al. 2018, Theorem 2.2). This is the
    mean over calibrations; `rate_bounds` tells how far a single one may be off.

    Parts that resemble their neighbours are not exchangeable. A share `rate - (1 - rate) / n` of the scores is above
    that threshold; n parts that are worth m independent ones (`core.autocorrelation`) vary as much as m, so that the
    share is `rate - (1 - rate) / m` for them. No theorem says so; `tests/benchmarks/test_drift.py` measures it.

    Where m is too small for the rate, the largest score is taken, the promise is 1 / (m + 1), and the note says so.

    The theorem is for scores above the one at that place, while parts are anomalous at the threshold already: the
    threshold is the next larger float64, so that a good part that equals the score (a tie, a frozen picture) raises no
    alarm. Rounded to fewer digits, it could fall back on it.

    Args:
        scores: Of n >= 1 good parts that took no part in building the detector, each in [0, 1], in the order in which
            the parts came.
        rate: In (0, 1).

    Raises:
        ValueError: There is no score, one is not a number in [0, 1], or `rate` is not inside (0, 1).
    """
    good = checked(scores, "scores")
    found = promise(len(good), rate, autocorrelation_time(good))
    last = sorted(good)[order(len(good), rate, found.effective) - 1]
    notes = []
    if not found.met:
        notes.append(
            f"{found.subject} a false-alarm rate of {_percent(found.rate)}, "
            f"not the {_percent(rate)} asked for, which takes {found.takes}"
        )
    if last == 1:
        notes.append("good parts score 1, the most that any part can: at this threshold none is anomalous")
    return Calibration(
        math.nextafter(last, math.inf), rate, found.rate, found.count, found.effective, note="; ".join(notes)
    )


def fewest(rate: float) -> int:
    """Independent good parts that it takes to promise `rate`: n of them promise 1 / (n + 1) at best.

    Raises:
        ValueError: `rate` is not inside (0, 1).
    """
    return math.ceil(1 / _exact(rate)) - 1


def provisional_threshold(scores: Sequence[float]) -> float:
    """A threshold until there is a calibration: just above the largest score of the shots, each against the others.

    It is at most 1, and promises nothing.

    Args:
        scores: As `leave_one_out` gives them, of n >= 1 shots, each in [0, 1].

    Raises:
        ValueError: There is no score, or one is not a number in [0, 1].
    """
    return min(1.0, math.nextafter(max(checked(scores, "scores")), math.inf))


def uncalibrated(threshold: float) -> Calibration:
    """A threshold set by hand. It promises what no good part can: a rate of 1 / (0 + 1), which is nothing.

    Raises:
        ValueError: `threshold` is not a number in [0, 1].
    """
    checked([threshold], "threshold")
    return Calibration(threshold, 1.0, 1.0, 0, 0.0, UNCALIBRATED, "set by hand: no good part was scored for it")


def pixel_threshold(peaks: Sequence[float], rate: float) -> float:
    """The threshold of regions: a good part's heatmap has any with a probability of at most `rate`.

    The rule of `calibrate` on the largest value of each good part's heatmap. Heatmaps are float32 and a threshold
    is rounded to that before the two are compared, so it is the next larger float32, as a float64 of that value.

    Args:
        peaks: Of n >= 1 good parts, each in [0, 1], in the order in which the parts came.
        rate: In (0, 1).

    Raises:
        ValueError: As `calibrate`.
    """
    threshold = calibrate(checked(peaks, "peaks"), rate).threshold
    near = np.float32(threshold)
    return float(near if float(near) >= threshold else np.nextafter(near, np.float32(math.inf)))


def leave_one_out(count: int, score: Callable[[int, tuple[int, ...]], float]) -> list[float]:
    """What enrolled shots score, each against the bank of the others: calibration without a part more.

    These scores are not those of split conformal prediction. Each is from a bank one shot smaller than the one that
    new parts meet, and any two of them share most of their banks, so that they and a new part's score are exchangeable
    only approximately. Where a score never rises with another shot, as a distance to the nearest one does not, a
    new part's score is at most what it would be against a bank of one shot fewer: `calibrate` on these scores then
    tends to fewer false alarms than promised, and surely stays below twice as many (Barber et al. 2021, Theorem 1,
    whose argument compares banks that lack both parts). Of other scores neither can be said.

    Args:
        count: Enrolled shots, 2 or more.
        score: Of the shot of an index in 0 .. count - 1 against the bank of the others, whose indices it is given.

    Returns:
        The score of each shot, in their order.

    Raises:
        ValueError: `count` is below 2: a single shot has no others.
    """
    if count < 2:
        raise ValueError(f"leaving one out takes 2 shots or more, not {count}; enrol another good part")
    return [score(index, (*range(index), *range(index + 1, count))) for index in range(count)]


def order(count: int, rate: float, effective: float | None = None) -> int:
    """Which of `count` scores, from 1 for the smallest, the threshold is above: ceil((count + 1) (1 - rate)), capped.

    The cap is `count`, where there are too few for `rate`.

    Args:
        count: Scores, 1 or more.
        rate: In (0, 1).
        effective: Independent parts that they are worth; by default `count`. Of fewer a higher one is taken, see
            `calibrate`.

    Raises:
        ValueError: `count` is below 1, or `rate` is not inside (0, 1).
    """
    if count < 1:
        raise ValueError(f"no place among {count} scores")
    # As it is written: in floats 100 * (1 - 0.58) is a little above 42, and its ceiling one place too high.
    exact = _exact(rate)
    above = exact - (1 - exact) / Fraction(count if effective is None else effective)
    return min(count, count - math.floor(count * above))


def rate_bounds(count: float, rank: float, confidence: float) -> tuple[float, float]:
    """Between which false-alarm rates one calibration lies, both in (0, 1): each end is missed in half the rest.

    Over calibrations of n = `count` independent good parts, the probability that a good part scores above the k-th
    smallest, k = `rank`, is Beta(n + 1 - k, k) distributed where no two scores are equal (Vovk 2012, Proposition 2b,
    which is its upper end). Where scores tie it is smaller in distribution: the upper end holds, the lower may not.

    Args:
        count: Independent good parts, above 0; not always a whole number, see `core.autocorrelation.effective_count`.
        rank: Above 0, at most `count`; `order` gives that of a calibration.
        confidence: In (0, 1).

    Raises:
        ValueError: An argument is outside its range.
    """
    if not 0 < rank <= count:
        raise ValueError(f"rank {rank} must be above 0 and at most {count}, the number of scores")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} must be between 0 and 1")
    tail, above = (1 - confidence) / 2, count + 1 - rank
    return beta_quantile(tail, above, rank), 1 - beta_quantile(tail, rank, above)


def checked(scores: Sequence[float], name: str) -> list[float]:
    """The scores as a list.

    Raises:
        ValueError: There is none, or one is not a number in [0, 1]; `name` is what they are called.
    """
    if not len(scores):
        raise ValueError(f"{name}: there are none; score good parts first, or set a threshold by hand (uncalibrated)")
    for place, score in enumerate(scores):
        if not 0 <= score <= 1:  # so for NaN too
            raise ValueError(f"{name}: number {place + 1} is {score}, and must be in [0, 1]")
    return [float(score) for score in scores]


def _exact(rate: float) -> Fraction:
    """The rate as it is written, in decimals."""
    if not 0 < rate < 1:
        raise ValueError(f"rate {rate} must be between 0 and 1")
    return Fraction(repr(float(rate)))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
