"""The names on the wire: every MQTT topic of a line, and how it is published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

LINE_NAME = re.compile(r"[a-z0-9-]{1,64}")


def line_name(name: str) -> str:
    """`name` itself, if it can be a level of a topic.

    Raises:
        ValueError: it cannot.
    """
    if LINE_NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name for a line: it takes 1 to 64 of a-z, 0-9 and -")
    return name


@dataclass(frozen=True)
class Topic:
    """One topic that every line has."""

    pattern: str
    """With `<line>` where the line's name goes."""
    direction: Literal["out", "in"]
    """Seen from the service."""
    qos: Literal[0, 1]
    retained: bool
    payload: str
    """In words, for people."""

    def of(self, line: str) -> str:
        """The topic of one line."""
        return self.pattern.replace("<line>", line_name(line))

    @property
    def wildcard(self) -> str:
        """The filter that subscribes to this topic of every line."""
        return self.pattern.replace("<line>", "+")


ANOMALY = Topic("line/<line>/anomaly", "out", 1, False, "verdict, JSON")
HEATMAP = Topic(
    "line/<line>/anomaly/heatmap",
    "out",
    0,
    False,
    "PNG, 8-bit grey, row-major, 0..255 = score 0..1, same geometry as the inspected region; "
    "tEXt chunks and, with MQTT 5, user properties carry verdict id, line, seq; "
    "under load only the newest are sent, and never one larger than the broker takes",
)
PICTURE = Topic(
    "line/<line>/anomaly/picture",
    "out",
    0,
    False,
    "JPEG of the inspected region, with `picture.enabled`; with MQTT 5, user properties carry verdict id, line, seq; "
    "under load only the newest are sent, and never one larger than the broker takes",
)
STATUS = Topic(
    "line/<line>/status",
    "out",
    1,
    True,
    "state, level, reason, remedy, components and alarms, JSON; last will: `offline`",
)
STATS = Topic("line/<line>/stats", "out", 0, True, "counters, latencies and codes of alarms, JSON, every 10 s")
TRIGGER = Topic(
    "line/<line>/trigger", "in", 1, False, '`{"part_id": "..."}`, text or number (optional `deadline_ms`, `at`)'
)
SYNC = Topic(
    "line/<line>/trigger/sync", "in", 1, False, "the service's own, to itself: tells old triggers from new ones"
)
COMMAND = Topic(
    "line/<line>/command",
    "in",
    1,
    False,
    "commands of machines: `pause`, `resume`, `recipe_set`, `recipe_prepare`, `recipe_list`, `status`; JSON",
)
REPLY = Topic(
    "line/<line>/reply", "out", 1, False, "the answer to a command, with its `id`, or why a message was refused; JSON"
)

TOPICS = (ANOMALY, HEATMAP, PICTURE, STATUS, STATS, TRIGGER, SYNC, COMMAND, REPLY)
EVERY_ANOMALY = ANOMALY.wildcard
"""`line/+/anomaly`: the verdicts of every line."""
