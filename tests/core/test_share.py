"""The interval of a share is that of Clopper and Pearson, as SciPy has it."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from core.share import share

CASES = [(0, 1), (1, 1), (0, 20), (20, 20), (1, 20), (19, 20), (3, 7), (12, 2000), (1, 1_000_000), (40, 90_000)]


@pytest.mark.parametrize(("count", "of"), CASES)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_the_interval_is_the_exact_one(count: int, of: int, confidence: float) -> None:
    found = share(count, of, confidence)
    expected = binomtest(count, of).proportion_ci(confidence, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-7)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("count", "of", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (0, 0, 0.9), (1, 5, 1), (1, 5, 0)])
def test_what_is_no_share_is_refused(count: int, of: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"no share|confidence"):
        share(count, of, confidence)
