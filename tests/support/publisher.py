"""What the tests of the publisher share: a line's messages, and what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edge.clock import utc_now
from edge.mqtt import Publisher
from edge.settings import MqttSettings
from edge.verdict import Fault, LineStats, Model, Recipe, Verdict
from tests.support.mosquitto import Message, Subscription, eventually, subscribe

LINE = "press-1"
STATUS = f"line/{LINE}/status"
STATS = f"line/{LINE}/stats"
ANOMALY = f"line/{LINE}/anomaly"


class Publishers:
    """Makes publishers of the line, not started yet, and stops them at the end."""

    def __init__(self) -> None:
        self._made: list[Publisher] = []

    def __call__(self, port: int, *, max_unacknowledged: int = 1000, **settings: Any) -> Publisher:
        mqtt = MqttSettings(host="127.0.0.1", port=port, **settings)
        self._made.append(Publisher(mqtt, LINE, "box", "1.2.3", max_unacknowledged=max_unacknowledged))
        return self._made[-1]

    def stop(self) -> None:
        for publisher in self._made:
            publisher.stop(timeout_s=0.1)


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


def stats() -> LineStats:
    return LineStats(line=LINE, at=utc_now(), seq=0, normal=0, anomaly=0, error=0, dropped=0, reconnects=0, restarts=0)


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


def connected(publisher: Publisher, timeout_s: float = 8.0) -> None:
    eventually(lambda: publisher.connected, timeout_s)
