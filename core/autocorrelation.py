"""How much neighbouring parts resemble each other, and how many independent parts they are worth.

A lamp that warms up, a lot of material, a wearing tool: on a real line the next part is much like the last one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_SHUFFLES = 199  # what none of them reaches is chance with a probability of at most 0.5 %
_LEAST_BATCHES = 8


def autocorrelation_time(values: Sequence[float]) -> float:
    """Parts that tell as much as one independent part, 1 or more: 1 + 2 (rho_1 + rho_2 + ...).

    The rho_k are autocorrelations of the ranks, so that rare large values do not hide the order of the others. They are
    summed as long as two neighbouring ones together are above 0, and never grow (Geyer 1992, initial monotone
    sequence). That is done for the parts, and for means of about sqrt(n) neighbours (batch means): there a slow
    fluctuation shows that drowns in the noise of single parts. The larger of the two is taken.

    A few independent parts often look alike by chance. So each of the two counts only where it is larger than in all
    of 199 random orders of the same values (permutation test, level 0.5 %); else the time is 1.

    What returns more slowly than the values last cannot be seen in them.

    Args:
        values: Of n >= 1 parts, in the order in which they came.
    """
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]  # those that tie share the middle one
    ranks -= ranks.mean()
    if len(counts) == 1:
        return 1.0
    size = math.isqrt(len(ranks))
    found = _beyond_chance(ranks, _time)
    if len(ranks) // size >= _LEAST_BATCHES:
        found = max(found, _beyond_chance(ranks, lambda order: _time_of_batches(order, size)))
    return found


def effective_count(count: int, time: float) -> float:
    """Independent parts that `count` parts are worth, at most `count`.

    `time` is known from them to about one part in sqrt(count / time), and is taken to be larger by so much.

    Args:
        count: 1 or more.
        time: Of `autocorrelation_time`, 1 or more; 1 is taken as known.
    """
    return count / time / (1 + math.sqrt(time / count)) if time > 1 else float(count)


def parts_worth(effective: float, time: float) -> int:
    """The fewest parts that are worth `effective` independent ones: where `effective_count` reaches it."""
    if time <= 1:
        return math.ceil(effective)
    root = math.sqrt(effective)  # of count / time: the solution of root**3 = effective * (root + 1)
    for _ in range(100):
        root = math.sqrt(effective * (1 + 1 / root))
    return math.ceil(time * root**2 - 1e-6)


def _beyond_chance(ranks: Floats, time: Callable[[Floats], float]) -> float:
    """`time` of the ranks as they came; 1 where a random order reaches it too."""
    found = time(ranks)
    generator = np.random.default_rng(0)
    beyond = found > 1 and all(time(generator.permutation(ranks)) < found for _ in range(_SHUFFLES))
    return found if beyond else 1.0


def _time(series: Floats) -> float:
    """The autocorrelation time of a series of mean 0."""
    size = 1 << (2 * len(series) - 1).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(series, size)) ** 2, size)[: len(series)]
    if products[0] <= 0:
        return 1.0
    pairs = products[: len(series) // 2 * 2].reshape(-1, 2).sum(1) / products[0]
    end = int(np.argmax(pairs <= 0)) if bool((pairs <= 0).any()) else len(pairs)
    return max(1.0, 2 * float(np.minimum.accumulate(pairs[:end]).sum()) - 1)


def _time_of_batches(ranks: Floats, size: int) -> float:
    """The same from the means of `size` neighbours: what their variance is of independent parts', and they share."""
    means = ranks[len(ranks) % size :].reshape(-1, size).mean(1)
    means -= means.mean()
    grown = size * float(means @ means) / (len(means) - 1) / float(ranks @ ranks / len(ranks))
    return max(1.0, grown * _time(means))
