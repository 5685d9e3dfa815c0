"""Faults at random moments, drawn from a seed: the same seed gives the same schedule."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ScheduledFault:
    """A fault, when it begins and ends: seconds after the begin of the schedule; `line` where it strikes one only."""

    kind: str
    begin: float
    end: float
    line: str | None = None

    def __str__(self) -> str:
        where = f" of {self.line}" if self.line is not None else ""
        return f"{self.begin:6.1f} to {self.end:6.1f} s: {self.kind}{where}"


@dataclass(frozen=True)
class _Source:
    """What strikes: one fault at a time, each a fault of `kinds`, which last so many seconds at least and at most."""

    kinds: Mapping[str, tuple[float, float]]
    pause_s: float  # between two faults, on average
    per_line: bool = False


SOURCES: Mapping[str, _Source] = {
    "service": _Source({"kill": (0.0, 0.0), "kill while it starts": (1.0, 3.0)}, 20.0),
    "broker": _Source({"broker stopped": (1.0, 8.0), "broker hangs": (1.0, 6.0), "session lost": (0.1, 2.0)}, 20.0),
    "network": _Source({"packets swallowed": (0.0, 0.0), "connections cut": (0.0, 0.0)}, 25.0),
    "disk": _Source(
        {"disk slow": (3.0, 10.0), "disk very slow": (5.0, 12.0), "disk full": (1.0, 8.0), "disk failed": (1.0, 6.0)},
        15.0,
    ),
    "camera": _Source(
        {"camera killed": (0.5, 5.0), "camera stopped": (0.5, 5.0), "picture frozen": (1.5, 5.0)}, 10.0, True
    ),
    "clock": _Source({"clock an hour ahead": (3.0, 15.0), "clock an hour back": (3.0, 15.0)}, 20.0),
}
"""Faults of different sources overlap."""

CALM_S = 3.0
"""Seconds at the begin without a fault."""


def draw_schedule(seed: int, seconds: float, lines: Sequence[str]) -> list[ScheduledFault]:
    """The faults of `seconds`, in the order of their begin."""
    faults: list[ScheduledFault] = []
    for name, source in SOURCES.items():
        chance = random.Random(f"{seed} {name}")
        now = CALM_S + chance.expovariate(1 / source.pause_s)
        while now < seconds:
            kind = chance.choice(list(source.kinds))
            end = min(seconds, now + chance.uniform(*source.kinds[kind]))
            faults.append(ScheduledFault(kind, now, end, chance.choice(lines) if source.per_line else None))
            now = end + chance.expovariate(1 / source.pause_s)
    return sorted(faults, key=lambda fault: fault.begin)


@dataclass(frozen=True)
class ScheduledTrigger:
    """A trigger: seconds after the begin of the schedule, whose part, and its own deadline if it has one."""

    at: float
    part_id: str
    deadline_ms: int | None


RETURNING = 0.15  # share of parts that have come before
CARRIERS = 4  # parts of a line that come again and again


def draw_triggers(seed: int, seconds: float, line: str, rate: float) -> list[ScheduledTrigger]:
    """The line's triggers at `rate` per second on average, in order."""
    chance = random.Random(f"{seed} {line}")
    triggers: list[ScheduledTrigger] = []
    now = chance.expovariate(rate)
    while now < seconds:
        part_id = f"{line}/{len(triggers)}"
        if triggers and chance.random() < RETURNING:
            earlier = chance.choice(triggers).part_id
            part_id = chance.choice((earlier, f"{line}/carrier-{chance.randrange(CARRIERS)}"))
        deadline_ms = chance.choice((None, None, None, chance.randrange(300, 3000)))
        triggers.append(ScheduledTrigger(now, part_id, deadline_ms))
        now += chance.expovariate(rate)
    return triggers
