"""One part, one answer, under faults at random moments, several at a time. One schedule for each seed.

`ALFA_EDGE_BENCH_SCHEDULE_S` is the length of a schedule in seconds, 600 without it; `ALFA_EDGE_BENCH_SEEDS` says which
(`1-10`, `3,7`); `ALFA_EDGE_BENCH_SCHEDULES` is a file that keeps the outcomes, a JSON object a line: what is in it is
not run again, so that a series that was cut short goes on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.plant import Plant
from tests.support.trial_schedule import run_schedule

SECONDS = float(os.environ.get("ALFA_EDGE_BENCH_SCHEDULE_S", "600"))
OUTCOMES = os.environ.get("ALFA_EDGE_BENCH_SCHEDULES")


def seeds(text: str) -> list[int]:
    """`1-10` or `3,7`, or both."""
    ranges = [part.partition("-") for part in text.split(",")]
    return [seed for first, _, last in ranges for seed in range(int(first), int(last or first) + 1)]


def known(seed: int) -> list[str] | None:
    """The breaches of a schedule that has been run; None: it has not."""
    if OUTCOMES is None or not Path(OUTCOMES).exists():
        return None
    for line in Path(OUTCOMES).read_text().splitlines():
        outcome = json.loads(line)
        if (outcome["seed"], outcome["seconds"]) == (seed, SECONDS):
            return [str(breach) for breach in outcome["breaches"]]
    return None


@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.parametrize("seed", seeds(os.environ.get("ALFA_EDGE_BENCH_SEEDS", "1-10")))
def test_each_part_has_one_answer_whatever_breaks_when(seed: int) -> None:
    breaches = known(seed)
    if breaches is None:
        with Plant(4, deadline_ms=1000, proxied=True, faulty=True, fps=15.0, mqtt={"keepalive_s": 3}) as plant:
            outcome = run_schedule(plant, seed, SECONDS)
        print(f"  {outcome}")
        breaches = outcome.breaches
        if OUTCOMES is not None:
            with Path(OUTCOMES).open("a") as file:
                file.write(json.dumps(outcome.to_dict()) + "\n")
    assert not breaches
