"""Which of some good parts score far above the rest, so that a person looks at them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEAST = 8
"""Of fewer scores none is called an outlier: their quartiles are two or three of them."""
_FAR = 3.0
RULE = "above the upper quartile by more than 3 times the quartile distance"


@dataclass(frozen=True)
class Outliers:
    """The scores that stand out.

    Attributes:
        fence: A score above it does.
        places: Where they are in what was given, from 0, in their order.
    """

    fence: float
    places: tuple[int, ...]


def find_outliers(scores: Sequence[float]) -> Outliers | None:
    """Scores above Q3 + 3 (Q3 - Q1), Tukey's outer fence; quartiles are interpolated linearly.

    Only high ones count: a low score raises no alarm, and no threshold. Of a normal distribution one score in 850,000
    is beyond that fence, of an exponential one 1 %: an outlier is a reason to look, and no proof of a defect.

    Returns:
        None where there are fewer than `LEAST`.
    """
    if len(scores) < LEAST:
        return None
    lower, upper = np.quantile(np.asarray(scores, np.float64), [0.25, 0.75])
    fence = float(upper + _FAR * (upper - lower))
    return Outliers(fence, tuple(place for place, score in enumerate(scores) if score > fence))
