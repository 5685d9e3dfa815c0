"""What the demo's table says of verdicts that mean nothing yet."""

from __future__ import annotations

import json
from collections import Counter

from rich.console import Console

from edge.tools.demo import Seen, _sentence, _table, summary
from edge.tools.demo_score import SimulatedScore
from tests.support.verdicts import verdict

NOTE = "not calibrated: the verdicts are provisional"


def shown(seen: Seen) -> str:
    """The table as it is printed."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(_table(seen, "bundled"))
    return capture.get()


def test_a_line_that_is_not_calibrated_is_said_to_be_until_it_is() -> None:
    seen = Seen(SimulatedScore({}))
    assert NOTE not in shown(seen)
    for line, provisional in (("camera", True), ("other", False)):
        seen.take(json.loads(verdict(line, 1, provisional=provisional).to_json()))
    title, *_, camera, other = shown(seen).strip().splitlines()
    assert NOTE in title
    assert camera.strip() == f"camera: 1 normal, 0 anomaly, 0 error; {NOTE}"
    assert other.strip() == "other: 1 normal, 0 anomaly, 0 error"
    seen.take(json.loads(verdict("camera", 2).to_json()))
    assert NOTE not in shown(seen)


def test_each_provisional_verdict_says_so_where_there_is_no_table() -> None:
    told = json.loads(verdict("camera", 1, provisional=True).to_json())
    assert _sentence(told).endswith("model untrained provisional")
    assert _sentence(told | {"provisional": False}).endswith("model untrained")
    del told["provisional"]  # of a service of an earlier version, on a broker that others use, too
    assert _sentence(told).endswith("model untrained")
    Seen(SimulatedScore({})).take(told)


def test_a_summary_without_verdicts() -> None:
    assert summary(Counter(), {"camera"}) == "no verdicts"
