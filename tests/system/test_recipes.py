"""Changeovers of a line: no part is a mixture. Benchmarks have more of them, and kills between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mosquitto import Mosquitto, subscribe
from tests.support.products import B, Products, judged_by

PARTS = 60
EACH = 5
PAUSE_S = 0.05


pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    with Mosquitto() as broker:
        yield broker


def test_no_part_is_judged_by_a_mixture(mosquitto: Mosquitto, tmp_path: Path) -> None:
    with subscribe(mosquitto.port, "line/#") as heard:
        line = Products(tmp_path, mosquitto, heard, pass_ms=20.0)
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
