"""What the tests of the publisher share: a line's messages, and what they say."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge.clock import utc_now
from edge.messages import Fault, LineHealth, LineStats, Model, Recipe, State, Verdict
from edge.mqtt.delivery import Delivery
from edge.mqtt.inbound import InboundMessage, Receiver, Router
from edge.mqtt.publisher import Publisher
from edge.ops.alarms import Alarms
from edge.settings import HistorySettings, MqttSettings
from edge.storage.outbox import Outbox
from tests.support.mosquitto import Message, Subscription, eventually, subscribe

LINE = "press-1"
STATUS = f"line/{LINE}/status"
STATS = f"line/{LINE}/stats"
ANOMALY = f"line/{LINE}/anomaly"
TRIGGER = f"line/{LINE}/trigger"
COMMAND = f"line/{LINE}/command"
REPLY = f"line/{LINE}/reply"
SYNC = f"line/{LINE}/trigger/sync"


class Publishers:
    """Makes publishers of the line on one outbox, not started yet, and stops them at the end."""

    def __init__(self) -> None:
        self._made: list[Publisher] = []
        self._folder = TemporaryDirectory(prefix="outbox-")
        self.alarms = Alarms()
        self.outbox = Outbox(Path(self._folder.name), HistorySettings(), alarms=self.alarms)
        self.outbox.start()
        self.delivery = Delivery()

    def __call__(self, port: int, receiver: Receiver | None = None, **settings: Any) -> Publisher:
        router = Router([LINE], self.alarms) if receiver is not None else None
        publisher = self.make(port, LINE, router, **settings)
        if router is not None and receiver is not None:
            router.open(receiver, receiver, {LINE: publisher})
        return publisher

    def make(self, port: int, line: str, router: Router | None, **settings: Any) -> Publisher:
        """A publisher of any line, with a router that is opened elsewhere."""
        mqtt = MqttSettings(**{"host": "127.0.0.1", "port": port} | settings)
        publisher = Publisher(mqtt, line, "box", "1.2.3", self.outbox, self.delivery, self.alarms, router)
        self._made.append(publisher)
        return publisher

    def alarm(self, code: str, line: str = LINE) -> str | None:
        """What the alarms of a code say; None: there is none."""
        return "; ".join(alarm.message for alarm in self.alarms.of(line) if alarm.code == code) or None

    def keep(self, count: int = 1, age_s: float = 0.0) -> list[Verdict]:
        """Verdicts that are on disk, and that no publisher was told of."""
        first = self.outbox.last_seq(LINE) + 1
        issued_at = utc_now() - timedelta(seconds=age_s)
        kept = [verdict(seq).model_copy(update={"issued_at": issued_at}) for seq in range(first, first + count)]
        for verdict_ in kept:
            self.outbox.issue(verdict_).result()
        return kept

    def issue(self, publisher: Publisher, count: int = 1) -> list[Verdict]:
        """Verdicts as a line issues them: on disk, then published."""
        issued = []
        for _ in range(count):
            issued += self.keep()
            publisher.publish_verdict(issued[-1])
        return issued

    @property
    def waiting(self) -> list[str]:
        """The ids of the verdicts in the outbox, the oldest first."""
        return [waiting.id for waiting in self.outbox.waiting(LINE, 10_000)]

    def stop(self) -> None:
        for publisher in self._made:
            publisher.stop(timeout_s=0.1)
        self.delivery.stop()
        self.outbox.stop()
        self._folder.cleanup()


@dataclass(frozen=True)
class Taken:
    """What the tests ask of a message: `stale`: it may have waited at the broker; `again`: it came with DUP."""

    payload: bytes
    stale: bool
    again: bool = False


class Notes:
    """Takes all messages, and acknowledges them at once, or when it is told to."""

    def __init__(self, *, waits: bool = False) -> None:
        self.taken: list[InboundMessage] = []
        self._waits = waits
        self._lock = threading.Lock()

    def receive(self, message: InboundMessage) -> None:
        with self._lock:
            self.taken.append(message)
            waits = self._waits
        if not waits:
            message.acknowledge(len(self.taken))

    def accept(self) -> None:
        """All, and from now on at once."""
        with self._lock:
            self._waits = False
            taken = list(self.taken)
        for message in taken:
            message.acknowledge(1)

    @property
    def heard(self) -> list[Taken]:
        """All that came, in order."""
        return [
            Taken(message.payload, message.waited_s > 0, message.identity is not None and message.identity.repeated)
            for message in self.taken
        ]


def verdict(seq: int) -> Verdict:
    return Verdict(
        line=LINE,
        seq=seq,
        mode="free",
        verdict="error",
        error=Fault(code="test", message="a test"),
        threshold=0.5,
        recipe=Recipe(pack="generic", pack_version="1", pack_sha256="00", threshold_source="settings"),
        model=Model(name="untrained", fingerprint="f", device="cpu", dtype="fp32", scales=(2, 3)),
    )


def health(state: State, reason: str | None = None) -> LineHealth:
    """A line in this state."""
    return LineHealth(state=state, reason=reason)


def stats() -> LineStats:
    counts: dict[str, Any] = {name: 0 for name, field in LineStats.model_fields.items() if field.is_required()}
    return LineStats(**counts | {"line": LINE, "at": utc_now()})


def topics(messages: list[Message]) -> set[str]:
    return {message.topic for message in messages}


def states(messages: list[Message]) -> list[str]:
    return [json.loads(message.payload)["state"] for message in messages if message.topic == STATUS]


def ends_with(state: str) -> Callable[[list[Message]], bool]:
    return lambda messages: states(messages)[-1:] == [state]


def retained_status(port: int) -> dict[str, Any]:
    with subscribe(port, STATUS) as late:
        (message,) = late.wait(1)
    assert message.retained
    status: dict[str, Any] = json.loads(message.payload)
    return status


def ids(subscription: Subscription) -> list[str]:
    return [json.loads(message.payload)["id"] for message in subscription.messages if message.topic == ANOMALY]


def verdicts(count: int) -> Callable[[list[Message]], bool]:
    return lambda messages: sum(message.topic == ANOMALY for message in messages) >= count


def connected(publisher: Publisher) -> None:
    eventually(lambda: publisher.connected)
