"""Two borders instead of one threshold: a part whose score lies between them is for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.autocorrelation import autocorrelation_time
from core.calibration import calibrate, checked, order, promise


@dataclass(frozen=True)
class Borders:
    """Where the review begins and ends, and what is promised of both ends.

    Attributes:
        lower: A part whose score is at or above it is anomalous. From 0 to just above 1.
        upper: An anomalous part whose score is below it is for review. At least `lower`; equal to it, no part is.
        false_alarm_rate: The share of good parts at or above `upper` is at most this, in (0, 1).
        stopped_rate: The share of good parts at or above `lower`, looked at or not, in (0, 1]. Promised where the
            review's own rate was given; else what the good parts say: (those at or above + 1) / (all + 1).
        escape_rate: The share of bad parts below `lower` is at most this, in (0, 1); None without bad parts.
        good: Good parts that the borders come from.
        bad: Bad parts that they come from.
    """

    lower: float
    upper: float
    false_alarm_rate: float
    stopped_rate: float
    escape_rate: float | None
    good: int
    bad: int


def borders_by_review_rate(good: Sequence[float], false_alarm_rate: float, review_rate: float) -> Borders:
    """Borders between which about `review_rate` of the good parts lie, from good parts alone.

    Both are thresholds of `core.calibration.calibrate` on the same scores. The lower one is that of the sum of both
    rates. So the next good part is at or above the upper border with a probability of at most `false_alarm_rate`, and
    at or above the lower one with a probability of at most the sum. Between them it is with a probability of at most
    `review_rate + 1 / (n + 1)`, where no two of the n scores are equal. Nothing is said of bad parts.

    Args:
        good: Scores of n >= 1 good parts, each in [0, 1], in the order in which the parts came.
        false_alarm_rate: Of good parts that nobody looks at; in (0, 1).
        review_rate: Of good parts that somebody looks at; in (0, 1).

    Raises:
        ValueError: A rate is outside its range, both together are no share, or the parts are too few for a rate.
    """
    stopped = float(f"{false_alarm_rate + review_rate:.12g}")  # 0.1 + 0.2 is meant to be 0.3
    if not (0 < false_alarm_rate < 1 and 0 < review_rate < 1 and stopped < 1):
        raise ValueError(
            f"false-alarm rate {false_alarm_rate} and review rate {review_rate} must be above 0, and together below 1"
        )
    scores = checked(good, "scores")
    upper, lower = _threshold(scores, false_alarm_rate), _threshold(scores, stopped)
    return Borders(lower, upper, false_alarm_rate, stopped, None, len(scores), 0)


def borders_by_escape_rate(
    good: Sequence[float], bad: Sequence[float], false_alarm_rate: float, escape_rate: float
) -> Borders:
    """Borders that keep both errors: good parts that are rejected unseen, and bad parts that pass unseen.

    The upper border is that of `borders_by_review_rate`. The lower one is the k-th smallest of the m bad scores, with
    k = floor((m + 1) `escape_rate`): the score of the next bad part, exchangeable with them, is below it with a
    probability of at most k / (m + 1). Where the two errors need no review the borders are equal.

    Args:
        good: As of `borders_by_review_rate`.
        bad: Scores of m >= 1 bad parts, each in [0, 1], as different as those to come, in any order.
        false_alarm_rate: Of good parts that nobody looks at; in (0, 1).
        escape_rate: Of bad parts that nobody looks at; in (0, 1).

    Raises:
        ValueError: A rate is outside its range, or the good or the bad parts are too few for theirs.
    """
    scores, defects = checked(good, "scores of good parts"), sorted(checked(bad, "scores of bad parts"))
    possible = promise(len(defects), escape_rate)
    if not possible.met:
        raise ValueError(
            f"{len(defects)} bad parts promise an escape rate of {_percent(possible.rate)}, not the "
            f"{_percent(escape_rate)} asked for: show it {possible.needed} bad parts in all, or ask for a higher rate"
        )
    upper = _threshold(scores, false_alarm_rate)
    lower = min(upper, defects[len(defects) - order(len(defects), escape_rate)])
    stopped = (sum(score >= lower for score in scores) + 1) / (len(scores) + 1)
    return Borders(lower, upper, false_alarm_rate, stopped, escape_rate, len(scores), len(defects))


def review_share(borders: Borders, scores: Sequence[float]) -> float:
    """The share of some parts that lies between the borders, in [0, 1]; 0 of no parts."""
    between = sum(borders.lower <= score < borders.upper for score in scores)
    return between / len(scores) if scores else 0.0


def _threshold(scores: list[float], rate: float) -> float:
    """The threshold of a rate, which is promised or refused."""
    possible = promise(len(scores), rate, autocorrelation_time(scores))
    if not possible.met:
        raise ValueError(
            f"{possible.subject} a rate of {_percent(possible.rate)} at best, not the {_percent(rate)} asked for: "
            f"calibrate on {possible.takes} good parts, or ask for a higher rate"
        )
    return calibrate(scores, rate).threshold


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
