"""A share of parts that were counted, and how far the true one may be from it.

The interval is Clopper and Pearson's (1934), the exact one of the binomial distribution. The true share is beyond each
of its ends with a probability of at most (1 - confidence) / 2, whatever it is. That supposes parts that were drawn
independently of each other, each with the same chance.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.beta import beta_quantile

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Share:
    """So many of so many.

    Attributes:
        count: From 0 to `of`.
        of: 1 or more.
        low, high: The interval, each in [0, 1].
    """

    count: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """In [0, 1]."""
        return self.count / self.of


def share(count: int, of: int, confidence: float = CONFIDENCE) -> Share:
    """`count` of `of` parts, with its interval.

    Raises:
        ValueError: `count` is no number from 0 to `of`, `of` is below 1, or `confidence` is not inside (0, 1).
    """
    if not 0 <= count <= of or of < 1:
        raise ValueError(f"{count} of {of} parts are no share")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} must be between 0 and 1")
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else beta_quantile(tail, count, of - count + 1)
    high = 1.0 if count == of else 1 - beta_quantile(tail, of - count, count + 1)
    return Share(count, of, low, high)
