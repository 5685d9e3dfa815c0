"""Trials of the line's guarantees: steady load, kills, and messages that make no sense. Numbers are the caller's."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.account import Account, Answer, Figures, codes, latencies
from tests.support.plant import Plant

ODD = ("x" * 200, "\U0001f529" * 50, '"}, {"', "'; DROP TABLE verdicts; --", " \n\t", "\u202e12", "line/+/#")
"""Names of parts that are odd and good."""
SLACK_S = 0.05  # between what the test sees of a connection and what the broker sees of it


@dataclass(frozen=True)
class Load:
    """A steady load, and how it was answered."""

    answers: list[Answer]
    latency: Figures
    overhead: Figures
    parts_ms: dict[str, Figures]
    """What the latency is made of."""


def steady(plant: Plant, seconds: float, rate: float) -> Load:
    """Triggers on every line at once: each gets exactly one verdict, in sequence."""
    with plant.plc.shift(plant.lines, rate) as shift:
        time.sleep(seconds)
    plant.settle(shift)
    answers = Account(plant.monitor.verdicts()).answers(shift.parts.values())
    judged = [one for one in answers if one.code == "normal"]
    timings = [one.heard.message["timing_ms"] for one in judged]
    made_of = {
        "wait for the frame": Figures.of(one.wait_ms for one in judged),
        "decoding it": Figures.of(one["decode"] for one in timings),
        "its check and transfer": Figures.of(one["capture"] - one["decode"] for one in timings),
        "wait for the scorer": Figures.of(one["queue"] for one in timings),
        "its pass": Figures.of(one["score"] for one in timings),
    }
    load = Load(answers, latencies(answers), Figures.of(one.overhead_ms for one in judged), made_of)
    print(f"\n{len(plant.lines)} lines x {rate:g}/s for {seconds:g} s: {codes(answers)}")
    print(f"  trigger to message: {load.latency}")
    for name, figures in load.parts_ms.items():
        print(f"    {name}: {figures}")
    print(f"    overhead, which is the rest: {load.overhead}")
    return load


def kills(plant: Plant, count: int, seed: int, rate: float = 10.0) -> None:
    """`kill -9` under load, again and again, sometimes while it starts: nothing issued is lost, no number is used
    twice, and each part has its one answer; one that waited at the broker meanwhile is not judged.
    """
    chance = random.Random(seed)
    away: list[dict[str, tuple[float, float]]] = []  # by line, from a kill to the next connection
    with plant.plc.shift(plant.lines, rate) as shift:
        for number in range(count):
            time.sleep(chance.uniform(0.5, 3.0))
            killed = time.monotonic()
            plant.kill()
            early = number % 4 == 3
            plant.start(wait=not early)
            if not early:
                away.append({line: (killed, plant.monitor.births[line]) for line in plant.lines})
        if early:
            plant.service.until(lambda: all(map(plant.runs, plant.lines)), "line that runs")
        time.sleep(1.0)
    plant.settle(shift)
    plant.caught_up(30)
    account = Account(plant.monitor.verdicts())
    answers = account.answers(shift.parts.values())
    account.check_disk(plant.on_disk())
    print(f"\n{count} kills under {len(plant.lines)} x {rate:g}/s: {codes(answers)}; {account.repeats} came twice")
    waited = [
        one
        for gap in away
        for one in answers
        if gap[one.part.line][0] + SLACK_S < one.part.sent < gap[one.part.line][1] - SLACK_S
    ]
    print(f"  triggered while there was no service: {codes(waited)}")
    assert {one.code for one in waited} <= {"late", "restart"}, "a part that was gone was judged"


def noise(plant: Plant, count: int, seed: int, rate: float = 10.0, flood: float = 250.0) -> None:
    """Messages that make no sense on the first line, beside good triggers on all of them: each is refused and counted,
    and the good ones get their answers.
    """
    bad, *others = plant.lines
    with plant.plc.shift(plant.lines, rate) as before:
        time.sleep(max(1.5, count / flood / 2))
    plant.settle(before)
    refused = plant.metric("alfa_edge_mqtt_rejected_total", line=bad)
    with plant.plc.shift(plant.lines, rate) as shift:
        begun = time.monotonic()
        for number, (kind, payload) in enumerate(nonsense(count, seed)):
            time.sleep(max(0.0, begun + number / flood - time.monotonic()))
            plant.plc.publish(f"line/{bad}/{kind}", payload, qos=number % 3)
        for name in ODD:
            shift.add(bad, name)
    plant.settle(shift)
    plant.service.until(
        lambda: plant.metric("alfa_edge_mqtt_rejected_total", line=bad) >= refused + count, "count of all refusals", 30
    )
    assert plant.metric("alfa_edge_mqtt_rejected_total", line=bad) == refused + count
    assert plant.metric("alfa_edge_mqtt_rejected_total") == plant.metric("alfa_edge_mqtt_rejected_total", line=bad)
    account = Account(plant.monitor.verdicts())
    account.answers(shift.parts.values())
    print(f"\n{count} messages that make no sense at {flood:g}/s on {bad}, all refused and counted")
    for name, lines in (("the other lines", others), ("that line", [bad])):
        for when, one in (("before", before), ("meanwhile", shift)):
            answers = account.answers(one.of(*lines))
            print(f"  {name} {when}: {latencies(answers)}: {codes(answers)}")


def nonsense(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Topics' last levels, and payloads that are neither trigger nor command."""
    chance = random.Random(seed)
    good = json.dumps({"part_id": "p", "deadline_ms": 500, "at": "2026-01-31T06:00:00Z"}).encode()
    wrong: tuple[Any, ...] = (None, True, 0.5, -1.5, 1e308, 2.75, "", [], {}, ["p"], {"part_id": "p"}, "x" * 201)
    for number in range(count):
        kind = chance.choice(("trigger", "trigger", "trigger", "command"))
        match number % 8:
            case 0:
                payload = chance.randbytes(chance.choice((0, 1, 10, 1000)))
            case 1:
                payload = good[: chance.randrange(len(good))]
            case 2:
                payload = json.dumps({"part_id": chance.choice(wrong), "command": chance.choice(wrong[:11])}).encode()
            case 3:
                field, value = chance.choice((("deadline_ms", wrong[2:9]), ("at", wrong[6:]), ("at", ("yesterday",))))
                payload = json.dumps({"part_id": "p", field: chance.choice(value)}).encode()
            case 4:
                payload = chance.choice((b"[", b'{"part_id":', b'{"a":[')) * chance.choice((10, 500, 2000))
            case 5:
                payload = json.dumps({"part_id": "x" * chance.choice((16_384, 20_000, 200_000))}).encode()
            case 6:
                codec = chance.choice(("utf-16", "utf-32", "cp037"))
                payload = json.dumps({"part_id": "p", "command": "status"}).encode(codec)
            case _:
                payload = chance.choice(
                    (
                        b'{"part_id": "\xff\xfe"}',
                        b'{"part_id": "\\ud800"}',
                        b'{"part_id": NaN}',
                        b"null",
                        b"\x00" * 100,
                        b'{"part_id": "p"} {"part_id": "q"}',
                        b"part-1",
                    )
                )
        yield kind, payload
