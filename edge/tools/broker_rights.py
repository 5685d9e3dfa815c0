"""What a box may write and read at a broker, as lines of mosquitto's ACL file."""

from __future__ import annotations

from edge.settings import Settings
from edge.settings_file import ConfigError, Problem
from edge.topics import STATS, SYNC, TOPICS

_BOTH = (STATS, SYNC)  # which the service reads, too: its last counters once at each start, its own sync messages
_VERBS = {"out": "write", "in": "read"}


def acl(settings: Settings) -> str:
    """The block of the box's user: the topics of its own lines, and no others.

    Raises:
        ConfigError: the box has no user, or one that the file cannot hold.
    """
    user = settings.mqtt.username
    if user is None or user != user.strip():
        remedy = "set it: each box needs a user of its own at the broker, without spaces around it"
        raise ConfigError([Problem("mqtt", "username", user or "", remedy)])
    rows = [f"user {user}"]
    for line in settings.lines:
        rows += [
            f"topic {'readwrite' if topic in _BOTH else _VERBS[topic.direction]} {topic.of(line)}" for topic in TOPICS
        ]
    return "\n".join(rows) + "\n"
