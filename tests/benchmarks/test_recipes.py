"""500 parts at 10/s with a changeover every 20: no part is a mixture, and what a changeover costs in time."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.support.mosquitto import Mosquitto, subscribe
from tests.support.products import B, Products, judged_by

PARTS, EACH, PAUSE_S, PASS_MS = 500, 20, 0.1, 20.0
COST_MS = 50.0


@pytest.mark.timeout(900)
def test_a_changeover_costs_no_part_more_than_50_ms_and_none_is_a_mixture(tmp_path: Path) -> None:
    with Mosquitto() as mosquitto, subscribe(mosquitto.port, "line/#") as heard:
        line = Products(tmp_path, mosquitto, heard, pass_ms=PASS_MS)
        with line.service():
            line.teach()
            line.ask("threshold", recipe="B", threshold=0.75)
            products = [judged_by(verdict) for verdict in line.verdicts(line.send(None, "B"))]
            choices: list[Any] = [
                ("default", B)[place // EACH % 2] if place % EACH == 0 else None for place in range(PARTS)
            ]
            found = line.verdicts(line.send(*choices, pause_s=PAUSE_S))
        expected = itertools.cycle([products[0]] * EACH + [products[1]] * EACH)
        assert [judged_by(verdict) for verdict in found] == list(itertools.islice(expected, PARTS))
        totals = [verdict["timing_ms"]["total"] for verdict in found]
        first = [total for place, total in enumerate(totals) if place % EACH == 0]
        rest = [total for place, total in enumerate(totals) if place % EACH]
        cost = statistics.median(first) - statistics.median(rest)
        print(
            f"{PARTS} parts, {len(first)} changeovers: the first part after one {statistics.median(first):.1f} ms "
            f"(worst {max(first):.1f}), others {statistics.median(rest):.1f} ms (worst {max(rest):.1f})"
        )
        assert cost < COST_MS
