"""A disk that takes seconds for a transaction costs judgements, and no deadlines: in time, on a machine at rest."""

from __future__ import annotations

import time

import pytest

from tests.support.account import Account, codes, latencies
from tests.support.plant import Plant

SLACK_S = 0.1  # for the way of a trigger and of its answer


@pytest.mark.timeout(300)
def test_a_slow_disk_costs_judgements_and_no_deadlines() -> None:
    deadline_s, lines = 0.5, ["line-1", "line-2"]
    with Plant(2, fps=10.0, deadline_ms=1000, faulty=True) as plant:
        assert plant.faults is not None
        with plant.faults.slow_disk(4.0):
            time.sleep(0.1)
            with plant.plc.shift(lines, 2.0, deadline_ms=round(deadline_s * 1000)) as shift:
                time.sleep(5.0)
            time.sleep(deadline_s + SLACK_S)
            answered_slowly = plant.monitor.answered()
        plant.settle(shift)
        answers = Account(plant.monitor.verdicts()).answers(shift.parts.values())
        print(f"\na disk of 4 s a transaction: {latencies(answers)}: {codes(answers)}")
        assert {one.code for one in answers} == {"state_failed"}
        assert set(shift.parts) <= answered_slowly
        assert latencies(answers).max <= (deadline_s + SLACK_S) * 1000
        plant.plc.trigger("line-1", "fast again", deadline_ms=5000)
        plant.service.until(lambda: bool(plant.monitor.answers("fast again")), "verdict", 15.0)
        assert plant.monitor.answers("fast again")[0]["verdict"] == "normal"
