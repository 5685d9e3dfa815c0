"""The Beta distribution, as far as rates and their intervals need it."""

from __future__ import annotations

import math
from itertools import count as count_up

_PRECISION = 1e-14


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Where Beta(a, b)'s distribution function is `probability`, by bisection down to neighbouring floats."""
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if _incomplete_beta(a, b, middle) < probability:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), Beta(a, b)'s distribution function at x in (0, 1) (DLMF 8.17.22, by Lentz's method)."""
    if x * (a + b + 2) > a + 1:  # beyond, the fraction converges slowly
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    fraction, c, d = 1.0, 1.0, 0.0
    for step in count_up(1):
        m, end = step // 2, a + step
        term = (-(a + m) * (a + b + m) if step % 2 else m * (b - m)) * x / (end * (end - 1))
        c, d = 1 + term / c, 1 / (1 + term * d)
        fraction *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return math.exp(log_front) / (a * fraction)
