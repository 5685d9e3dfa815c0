"""A threshold that feedback speaks for: what it would have done to parts that were judged, and what it promises.

Parts that nobody has called defective count as good. Some of them are not, so that the false alarms here are an upper
bound, and the threshold rather too high than too low. Parts that people have called defective are mostly those that the
line has found, as the others pass unseen: the share of escapes among them is that of defects like these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from core.calibration import Calibration, calibrate, checked
from core.share import Share, share


@dataclass(frozen=True)
class Operation:
    """What a threshold would have done.

    Attributes:
        threshold: A part whose score is at or above it is anomalous.
        alarms: Of the parts that nobody has called defective, the anomalous ones.
        escapes: Of the parts that people have called defective, the others; None where there are no such parts.
    """

    threshold: float
    alarms: Share
    escapes: Share | None


@dataclass(frozen=True)
class Proposal:
    """A threshold, beside the one of now.

    Attributes:
        now: What the threshold of now would have done.
        proposed: What the proposed one would have done.
        calibration: Where the proposed one comes from, and the false-alarm rate that it promises.
        most: The highest threshold that promises the rate of escapes asked for; None where none was asked for, or so
            few defective parts promise none.
    """

    now: Operation
    proposed: Operation
    calibration: Calibration
    most: float | None

    @property
    def agrees(self) -> bool:
        """Whether the proposed threshold keeps the promise of escapes, too."""
        return self.most is not None and self.proposed.threshold <= self.most


def propose(
    good: Sequence[float], defective: Sequence[float], now: float, rate: float, escapes: float | None = None
) -> Proposal:
    """The lowest threshold with the false-alarm rate `rate`, as `core.calibration.calibrate` finds it.

    Args:
        good: Scores of parts that nobody has called defective, one or more, each in [0, 1], in the order in which the
            parts came, by the same model, pack and shots.
        defective: Of parts that people have called defective, each in [0, 1], by the same.
        now: The threshold of now.
        rate: In (0, 1).
        escapes: The rate of escapes that is asked for, in (0, 1); None: none is.

    Raises:
        ValueError: there are no scores of good parts, or a score or rate is out of its range.
    """
    calibration = calibrate(good, rate)
    most = None if escapes is None or not defective else escape_limit(defective, escapes)
    return Proposal(
        operation(now, good, defective), operation(calibration.threshold, good, defective), calibration, most
    )


def operation(threshold: float, good: Sequence[float], defective: Sequence[float]) -> Operation:
    """What `threshold` would have done; the scores are those of `propose`."""
    alarms = share(sum(score >= threshold for score in good), len(good))
    missed = share(sum(score < threshold for score in defective), len(defective)) if defective else None
    return Operation(threshold, alarms, missed)


def escape_limit(defective: Sequence[float], rate: float) -> float | None:
    """The highest threshold at which a defect like these is missed with a probability of at most `rate`.

    Of m scores it is the floor((m + 1) rate)-th smallest: the score of the next such part, if the m + 1 are
    exchangeable, is below that one with a probability of at most `rate`. None where m is too small for any.

    Args:
        defective: Scores, one or more, each in [0, 1].
        rate: In (0, 1).

    Raises:
        ValueError: a score or the rate is out of its range.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate {rate} must be between 0 and 1")
    place = math.floor((len(defective) + 1) * Fraction(repr(float(rate))))
    return sorted(checked(defective, "scores of defective parts"))[place - 1] if place else None
