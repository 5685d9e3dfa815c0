"""Changeovers of a line, its service killed in between: each product comes back as it was, and no part is a mixture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.products import ROI, B, Products, judged_by

PARTS = 60
EACH = 5
PAUSE_S = 0.05


pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    with Mosquitto() as broker:
        yield broker


def test_products_come_back_as_they_were_by_number_in_a_trigger_and_after_a_kill(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with subscribe(mosquitto.port, "line/#") as heard:
        line = Products(tmp_path, mosquitto, heard)
        with line.service():
            line.teach()
            [first] = map(judged_by, line.verdicts(line.send(None)))
            [second] = map(judged_by, line.verdicts(line.send("B")))
            assert (first["recipe"]["name"], first["bank"]["shots"]) == ("default", 4)
            assert (second["recipe"]["number"], second["bank"]["shots"], second["region"]) == (B, 2, ROI)
            assert first["threshold"] != second["threshold"]
        with line.service():  # it was killed while it judged by B
            assert [judged_by(verdict) for verdict in line.verdicts(line.send(None))] == [second]
            assert line.command("recipe_set", recipe=1)["result"]["recipe"]["name"] == "default"
            assert [judged_by(verdict) for verdict in line.verdicts(line.send(None))] == [first]
            assert line.command("recipe_prepare", recipe=str(B))["result"]["prepared"]["name"] == "B"
            parts = line.send(B, None, "default", None, "no such recipe", None)
            found = line.verdicts(parts)
            unknown = found.pop(4)
            assert (unknown["verdict"], unknown["error"]["code"]) == ("error", "recipe_unknown")
            assert [judged_by(verdict) for verdict in found] == [second, second, first, first, first]
            line.send(B)
        with line.service():  # at once after the changeover
            assert [judged_by(verdict) for verdict in line.verdicts(line.send(None))] == [second]
            told = b'"recipe":{"name":"B","number":7,"revision":1}'
            eventually(lambda: told in heard.of("line/one/status")[-1].payload, 10)


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
