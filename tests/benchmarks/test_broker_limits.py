"""Brokers that take a line's messages in their own way. The numbers are those of the faults in `test_line_promises`."""

from __future__ import annotations

import time

import pytest

from tests.support.account import Account, codes, latencies
from tests.support.people import Part, Shift
from tests.support.plant import Plant

pytestmark = pytest.mark.timeout(300)

PACKET = 65536
FIVE_MEGAPIXELS = (2448, 2048)


def test_two_lines_that_are_one_client_to_the_broker_answer_their_triggers() -> None:
    """Fault 3: the broker takes the user as client id, so each connection ends the other."""
    with Plant(2, broker=["use_username_as_clientid true"], mqtt={"version": "3.1.1"}) as plant:  # 5 names the cause
        with plant.plc.shift(plant.lines, 2.0) as shift:
            time.sleep(10.0)
            said = losses(plant)
        missing = settle(plant, shift)
        print(f"\ntwo lines, one client id: {len(missing)} of {len(shift.parts)} parts have no answer")
        print(f"  {codes(Account(plant.monitor.verdicts()).answers(set(shift.parts.values()) - missing))}")
        assert not missing
        assert said is not None
        assert "another client has the id" in said
        assert "large" in said, "the other cause of such losses"


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_broker_that_takes_no_large_messages_has_every_verdict(version: str) -> None:
    """Fault 4: pictures of 5 megapixels have heatmaps that are larger than the broker's packets may be."""
    with Plant(
        1, fps=5.0, size=FIVE_MEGAPIXELS, broker=[f"max_packet_size {PACKET}"], mqtt={"version": version}
    ) as plant:
        (line,) = plant.lines
        with plant.plc.shift(plant.lines, 1.0) as shift:
            time.sleep(12.0)
            said, state = plant.monitor.alarm(line, "broker_packet_size"), plant.monitor.state(line)
        missing = settle(plant, shift)
        assert not missing
        answers = Account(plant.monitor.verdicts()).answers(shift.parts.values())
        print(f"\nMQTT {version}, packets of {PACKET} bytes: {latencies(answers)}: {codes(answers)}")
        assert {one.code for one in answers} == {"normal"}
        assert state is not None
        assert state.message["state"] == "running"
        assert said is not None
        assert str(PACKET // 1024) in said or any(word.isdigit() for word in said.split()), "the alarm names the size"
        settled = plant.monitor.births[line]
        time.sleep(3.0)
        assert plant.monitor.births[line] == settled, "the connection is lost again and again"


def losses(plant: Plant) -> str | None:
    """What the alarm says of connections that are lost soon after they are made, once one of the lines has it."""
    end = time.monotonic() + 20.0
    while time.monotonic() < end:
        for line in plant.lines:
            if (said := plant.monitor.alarm(line, "broker_losses")) is not None:
                return said
        time.sleep(0.1)
    return None


def settle(plant: Plant, shift: Shift) -> set[Part]:
    """Parts of the shift that have no verdict after a while."""
    plant.plc.acknowledged()
    end = time.monotonic() + 20.0
    while time.monotonic() < end and not set(shift.parts) <= plant.monitor.answered():
        time.sleep(0.1)
    return {part for name, part in shift.parts.items() if name not in plant.monitor.answered()}
