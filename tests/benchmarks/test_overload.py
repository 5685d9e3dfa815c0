"""A pass of 300 ms, a deadline of 1 s, and more parts than that allows: how many are judged, and how evenly.

`make bench PYTEST_ARGS="-k overload"`; two minutes.
"""

from __future__ import annotations

import pytest

from edge.inference import Inference
from tests.support.overload import PacedMethod, overload

PASS_S = 0.3
DEADLINE_S = 1.0
SECONDS = 15.0


@pytest.mark.parametrize("load", [0.8, 1.2, 2.0, 5.0])
@pytest.mark.parametrize("lines", [1, 4])
def test_overload_costs_no_capacity(lines: int, load: float) -> None:
    method = PacedMethod(lambda frames: PASS_S)
    inference = Inference(1)
    inference.start()
    rates = {f"line-{line}": load / PASS_S / lines for line in range(lines)}
    trial = overload(inference, method, rates, DEADLINE_S, SECONDS)
    inference.stop()
    capacity = 1 / method.mean_s
    parts = sum(map(len, trial.outcomes.values()))
    by_line = {line: trial.judged(line) for line in rates}
    print(
        f"\n{lines} lines, {load:g}x: {trial.judged()} of {parts} parts judged, {trial.share(capacity):.0%} of", end=" "
    )
    print(f"the {capacity * SECONDS:.0f} that can be; by line {list(by_line.values())}; {len(method.passes)} passes")
    if load < 1:
        assert trial.judged() == parts
    else:
        assert trial.share(capacity) >= 0.9
    assert min(by_line.values()) >= 0.9 * max(by_line.values()) - 1
