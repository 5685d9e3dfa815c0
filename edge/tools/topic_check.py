"""Whether a broker lets a line say and hear what it has to, found out without anybody hearing of it.

A message of QoS 2 is handed over in two steps: the broker says whether it takes it (PUBREC), and passes it on when the
sender lets go of it (PUBREL). That never happens here, so that nobody gets the message. A broker may pass it on at once
all the same; that is tried before, on the topic that only the service itself listens to.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edge.mqtt.connection import in_words, refuses
from edge.mqtt.subscriptions import not_back
from edge.settings import MqttSettings
from edge.tools.broker_check import Connection, doctor_id
from edge.tools.check import Check, Result
from edge.topics import ANOMALY, COMMAND, HEATMAP, REPLY, STATS, STATUS, SYNC, TRIGGER

_SAID = (ANOMALY, STATUS, STATS, REPLY, HEATMAP)


def check_topics(settings: MqttSettings, line: str, *, triggered: bool, timeout_s: float) -> Iterator[Check]:
    """What the broker does with the topics of a line, with the rights of the service.

    Args:
        settings: Where and how; the broker accepts them, the version included. With MQTT 3.1.1 it does not say that it
            refuses a message.
        line: Its name.
        triggered: Whether the line waits for triggers.
        timeout_s: How long each answer may take, seconds.
    """
    name, five, sync = f"line {line}: topics", settings.version == "5", SYNC.of(line)
    deaf: Result = "fail" if triggered else "note"
    probe = _Probe(settings, timeout_s)
    with probe:
        if (refusal := probe.outcome(timeout_s)) is not None:
            yield Check(name, "fail", refusal)
            return
        heard = (TRIGGER, SYNC, COMMAND) if settings.commands else (TRIGGER, SYNC)
        for topic, code in zip(heard, probe.subscribe([topic.of(line) for topic in heard]), strict=False):
            if code.is_failure:
                yield Check(name, "note" if topic is COMMAND else deaf, refuses(topic.of(line), in_words(code)))
        held = probe.hold_back(sync) if five and probe.max_qos == 2 else None
        if held is not None and held.is_failure:
            yield Check(name, deaf, refuses(sync, in_words(held)))
            yield from _said(probe, name, line)
        elif not probe.echoes(sync):
            yield Check(name, deaf, not_back(line))
        elif not five:
            yield Check(name, "note", "it hears itself; MQTT 3.1.1 does not say whether the broker takes verdicts")
        elif held is None or probe.passed_on:
            yield Check(name, "note", "it hears itself; whether the broker takes verdicts is seen with the first part")
        else:
            yield from _said(probe, name, line)


def _said(probe: _Probe, name: str, line: str) -> Iterator[Check]:
    """Whether the broker takes what the line says."""
    well = True
    for topic in _SAID:
        code = probe.hold_back(topic.of(line))
        if code is not None and code.is_failure:
            well = False
            yield Check(name, "fail" if topic is ANOMALY else "note", refuses(topic.of(line), in_words(code)))
    if well:
        yield Check(name, "ok", "the broker takes what the line says, and the line hears itself")


class _Probe(Connection):
    """A client that never lets go of a message of QoS 2."""

    def __init__(self, settings: MqttSettings, timeout_s: float) -> None:
        super().__init__(settings, doctor_id(settings))
        self.passed_on = False
        """Whether the broker has passed on a message that was held back."""
        self._timeout_s = timeout_s
        self._held, self._echo = (secrets.token_hex(8).encode() for _ in range(2))
        self._echoed = threading.Event()
        self._granted: queue.SimpleQueue[Sequence[ReasonCode]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self.client.on_subscribe = lambda _client, _data, _packet, codes, _props: self._granted.put(codes)
        self.client.on_message = self._on_message
        self.client._handle_pubrec = self._on_pubrec  # type: ignore[method-assign]  # paho would send the PUBREL

    def subscribe(self, topics: Sequence[str]) -> Sequence[ReasonCode]:
        """The broker's answers; none where it gives none in time."""
        self.client.subscribe([(topic, 0) for topic in topics])
        try:
            return self._granted.get(timeout=self._timeout_s)
        except queue.Empty:
            return ()

    def hold_back(self, topic: str) -> ReasonCode | None:
        """Whether the broker would take a message; None: it does not say so in time."""
        payload = self._held if topic.endswith("/sync") else b""
        packet = self.client.publish(topic, payload, qos=2).mid
        try:
            while True:
                answered, code = self._answers.get(timeout=self._timeout_s)
                if answered == packet:
                    return ReasonCode(PacketTypes.PUBREC, identifier=code)
        except queue.Empty:
            return None

    def echoes(self, topic: str) -> bool:
        """Whether the broker passes on a message to the one that has sent it."""
        self.client.publish(topic, self._echo, qos=1)
        return self._echoed.wait(self._timeout_s)

    def _on_message(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        self.passed_on |= message.payload == self._held
        if message.payload == self._echo:
            self._echoed.set()

    def _on_pubrec(self) -> MQTTErrorCode:
        packet = bytes(self.client._in_packet["packet"])
        self._answers.put((int.from_bytes(packet[:2], "big"), packet[2] if len(packet) > 2 else 0))
        return MQTTErrorCode.MQTT_ERR_SUCCESS
