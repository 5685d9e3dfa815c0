"""A line's messages on their way to the broker, and its verdicts that the broker would not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic
from edge.ops.backoff import Backoff
from edge.topics import Topic

_PAUSE_S = (10.0, 60.0)  # before a refused verdict is tried again: at first, and at last, doubling


@dataclass(frozen=True)
class Sent:
    """A message in paho's hands; `verdict` is the id of one, `late` whether it says that it is historical, `size` in
    bytes, `at` on the monotonic clock.
    """

    topic: Topic
    verdict: str | None = None
    replayed: bool = False
    late: bool = False
    size: int = 0
    at: float = field(default_factory=monotonic)


@dataclass
class _Refused:
    """A verdict that the broker would not have. It is held back until its time; how long that was is remembered."""

    pauses: Backoff
    until: float
    held: bool = True


class InFlight:
    """What is in paho's hands. The publisher's lock guards it."""

    def __init__(self, limit: int) -> None:
        """`limit`: the most messages that await a PUBACK."""
        self.limit = limit
        self._sent: dict[int, Sent] = {}  # by paho's message id
        self._early: dict[int, ReasonCode] = {}  # done before they were noted
        self._refused: dict[str, _Refused] = {}

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._sent.values())

    @property
    def awaited(self) -> list[Sent]:
        """Those that await a PUBACK."""
        return [sent for sent in self if sent.topic.qos]

    @property
    def verdicts(self) -> list[str]:
        """The ids of the verdicts among them."""
        return [sent.verdict for sent in self if sent.verdict is not None]

    @property
    def oldest(self) -> float | None:
        """When the oldest that awaits a PUBACK was sent, on the monotonic clock."""
        return min((sent.at for sent in self.awaited), default=None)

    @property
    def room(self) -> bool:
        """Whether one more may await a PUBACK."""
        return len(self.awaited) < self.limit

    @property
    def room_to_replay(self) -> bool:
        """Whether it may be a verdict that waited. Half of the room is kept for live ones, and what is held back takes
        some too, so that a broker that takes none is not asked in a circle.
        """
        return self.room and sum(sent.replayed for sent in self) + len(self._held) < self._share

    @property
    def besides(self) -> list[str]:
        """The ids of verdicts that are not to be replayed now."""
        return self.verdicts + [verdict for verdict, refused in self._refused.items() if refused.held]

    def expect(self) -> None:
        """The next message is about to be handed to paho."""
        self._early.clear()

    def note(self, mid: int, sent: Sent) -> ReasonCode | None:
        """Notes a message that was handed over; what the broker said, if it is done already."""
        if mid in self._early:
            return self._early.pop(mid)
        self._sent[mid] = sent
        return None

    def done(self, mid: int, code: ReasonCode) -> Sent | None:
        """Takes out a message that is done; None if it was not noted yet."""
        sent = self._sent.pop(mid, None)
        if sent is None:
            self._early[mid] = code
        return sent

    def clear(self) -> None:
        """The connection is another: nothing is on its way."""
        self._sent.clear()

    def refuse(self, verdict: str, now: float) -> None:
        """The verdict is held back for a while, which is longer each time."""
        before = self._refused.pop(verdict, None)
        pauses = Backoff(*_PAUSE_S) if before is None else before.pauses
        if len(self._refused) >= self._share:
            tried = (key for key, refused in self._refused.items() if not refused.held)
            self._refused.pop(next(tried, ""), None)
        if len(self._refused) < self._share:
            self._refused[verdict] = _Refused(pauses, now + pauses.fail())

    def accept(self, verdict: str) -> None:
        """The broker has it."""
        self._refused.pop(verdict, None)

    @property
    def suspect(self) -> Sent | None:
        """The verdict that the broker's last words must have been about, if about one: it acknowledges in order."""
        first = next(iter(self.awaited), None)
        return first if first is not None and first.verdict is not None else None

    def release(self, now: float) -> bool:
        """Holds back no more those whose time has come; whether there were any."""
        due = [refused for refused in self._held if refused.until <= now]
        for refused in due:
            refused.held = False
        return bool(due)

    @property
    def next_release(self) -> float | None:
        """When there will be one, on the monotonic clock."""
        return min((refused.until for refused in self._held), default=None)

    @property
    def _held(self) -> list[_Refused]:
        return [refused for refused in self._refused.values() if refused.held]

    @property
    def _share(self) -> int:
        return max(1, self.limit // 2)
