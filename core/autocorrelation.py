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
_AT_ONCE, _VALUES = 20, 1 << 18  # orders, and their values, in memory at a time
_LEAST_BATCHES = 8
_NOTHING = 1e-12


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
    ranks = _ranks(values)
    if not ranks.any():
        return 1.0
    size = math.isqrt(len(ranks))
    found = _beyond_chance(ranks, _times)
    if len(ranks) // size >= _LEAST_BATCHES:
        found = max(found, _beyond_chance(ranks, lambda orders: _times_of_batches(orders, size)))
    return found


def ar1_time(values: Sequence[float]) -> float:
    """The autocorrelation time by the likeness of next neighbours alone, 1 or more, also where chance would do as much.

    That of an AR(1) process, (1 + rho) / (1 - rho), with the rho of ranks, which n values show too small by
    (1 + 3 rho) / n (Kendall 1954). For a test that must not cry wolf of a likeness that is hardly seen.

    Args:
        values: As for `autocorrelation_time`.
    """
    ranks = _ranks(values)
    count, total = len(ranks), float(ranks @ ranks)
    seen = max(0.0, float(ranks[1:] @ ranks[:-1]) / total) if total else 0.0
    rho = min(seen + (1 + 3 * seen) / count, 1 - 1 / count)
    return (1 + rho) / (1 - rho)


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


def _ranks(values: Sequence[float]) -> Floats:
    """The ranks of values, less their mean; those that tie share the middle one."""
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    ranks -= ranks.mean()
    return ranks


def _beyond_chance(ranks: Floats, times: Callable[[Floats], Floats]) -> float:
    """The time of the ranks as they came; 1 where a random order reaches it too."""
    found = float(times(ranks[None])[0])
    generator = np.random.default_rng(0)
    step = max(1, min(_AT_ONCE, _VALUES // len(ranks)))
    for done in range(0, _SHUFFLES, step):
        orders = generator.permuted(np.tile(ranks, (min(step, _SHUFFLES - done), 1)), axis=1)
        if found <= 1 or bool((times(orders) >= found).any()):
            return 1.0
    return found


def _times(series: Floats) -> Floats:
    """The autocorrelation time [S] of each of some series [S, n] of mean 0, some of which may be 0 throughout."""
    count = series.shape[1]
    size = 1 << (2 * count - 1).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(series, size)) ** 2, size)[:, :count]
    pairs = products[:, : count // 2 * 2].reshape(len(series), -1, 2).sum(2) / np.maximum(products[:, :1], _NOTHING)
    begun = np.logical_and.accumulate(pairs > 0, axis=1)
    return np.asarray(np.maximum(1.0, 2 * (np.minimum.accumulate(pairs, axis=1) * begun).sum(1) - 1))


def _times_of_batches(ranks: Floats, size: int) -> Floats:
    """The same from means of `size` neighbours: how much more they vary than those of independent parts, and last."""
    batches = ranks.shape[1] // size
    means = ranks[:, -batches * size :].reshape(len(ranks), batches, size).mean(2)
    means -= means.mean(1, keepdims=True)
    grown = size * np.square(means).sum(1) / (batches - 1) / np.square(ranks).mean(1)
    return np.asarray(np.maximum(1.0, grown * _times(means)))
