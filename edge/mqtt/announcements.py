"""What a line has to say at the broker besides verdicts and images: its status, its counters, replies to commands."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edge.messages import LineStats
from edge.mqtt.line_status import CurrentStatus
from edge.topics import REPLY, STATS, STATUS, Topic

MAX_REPLIES = 16
"""Replies that may wait for a connection; beyond them the oldest is dropped, whose asker has long given up."""


@dataclass(frozen=True)
class Announcement:
    """One message to send."""

    topic: Topic
    payload: bytes


class Announcements:
    """Of one line. `LineClient.sending` guards it; `status` and `add_reply` may be used by any thread."""

    def __init__(self, line: str, node: str, version: str) -> None:
        self.status = CurrentStatus(line, node, version)
        """The state, which is said anew on each connection."""
        self.stats: LineStats | None = None
        """The last counters that were given."""
        self.stats_unsaid = False
        """Whether they are still to be sent."""
        self._replies: deque[bytes] = deque(maxlen=MAX_REPLIES)

    def set_stats(self, stats: LineStats) -> None:
        """The counters are to be sent, in place of earlier ones."""
        self.stats, self.stats_unsaid = stats, True

    def add_reply(self, payload: bytes) -> None:
        """One more answer to a command is to be sent."""
        self._replies.append(payload)

    def repeat(self) -> None:
        """The connection is another: status and counters are to be sent again."""
        self.status.repeat()
        self.stats_unsaid = self.stats is not None  # a broker that was started anew may have forgotten it

    def to_say(self) -> Announcement | None:
        """The next message to send, once; None: there is none."""
        if (status := self.status.to_say()) is not None:
            return Announcement(STATUS, status)
        if self.stats_unsaid and self.stats is not None:
            self.stats_unsaid = False
            return Announcement(STATS, self.stats.to_json())
        return Announcement(REPLY, self._replies.popleft()) if self._replies else None
