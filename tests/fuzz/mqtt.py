"""Messages to a real service through a real broker: topics, payloads, properties, retained ones; good ones beside."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections import deque
from typing import Any

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.fuzz import hostile
from tests.fuzz.plant import RATE, AttackedPlant, memory_mb, tracebacks
from tests.fuzz.tally import Record, Tally, chance_of
from tests.support import plant as plants

_FLOOD = 300.0  # messages a second
_ON_THEIR_WAY = 200
_VERSIONS = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)
_LOOK_EVERY = 500  # messages after which the service has to answer
_TOPICS = ("trigger", "trigger", "trigger", "command", "command", "trigger/sync", "stats")
_GOOD: tuple[dict[str, Any], ...] = (
    {"part_id": "A-17", "deadline_ms": 900, "at": "2026-01-31T06:00:00.123Z"},
    {"id": "1", "command": "recipe_set", "arguments": {"pack": "bottle"}},
    {"id": "2", "command": "status", "arguments": {}},
    {"id": "3", "command": "resume"},
    {"line": "line-1", "seq": 7, "generation": 1, "at": "2026-01-31T06:00:00Z", "normal": 1, "anomaly": 0, "error": 0},
)


def run(seed: int, count: int) -> Tally:
    """The service takes or refuses each message, answers each good trigger once, tells nothing, and ends when told to,
    also when it was started among retained messages.
    """
    tally, begun = Tally(), time.monotonic()
    with AttackedPlant() as attacked:
        plant, before = attacked.plant, memory_mb(attacked.plant.pid)
        sender = Sender(plant.broker.port)
        with plant.plc.shift(plant.lines, RATE) as shift:
            for index in range(count):
                started = time.monotonic()
                sender.send(chance_of("mqtt", seed, index), plant.lines)
                tally.add(Record(index, "fine", (time.monotonic() - started) * 1000))
                if index % _LOOK_EVERY == _LOOK_EVERY - 1:
                    _look(attacked, tally, index)
                time.sleep(max(0.0, begun + (index + 1) / _FLOOD - time.monotonic()) if index % 50 == 0 else 0.0)
        sender.close()
        tally.notes["ended by the broker"] = sender.ended
        for line in plant.lines:
            plant.ask("resume", line=line)
        attacked.account(shift, tally)
        tally.notes["refused by the service"] = f"{plant.metric('alfa_edge_mqtt_rejected_total'):.0f}"
        tally.notes["memory"] = f"{before:.0f} to {memory_mb(plant.pid):.0f} MB"
        tally.notes["end on SIGTERM"] = f"{attacked.stop():.1f} s"
        plant.start()  # what is retained comes first
        with plant.plc.shift(plant.lines, RATE) as again:
            time.sleep(3.0)
        attacked.account(again, tally)
        tally.notes["end after a start among retained messages"] = f"{attacked.stop():.1f} s"
        for number, said in enumerate(tracebacks(attacked.log)):
            tally.add(Record(-1 - number, "crash", said=said))
        tally.leaked += attacked.secrets()
    tally.seconds = time.monotonic() - begun
    return tally


def _look(attacked: AttackedPlant, tally: Tally, index: int) -> None:
    """Whether the service answers."""
    if not attacked.alive:
        raise AssertionError(f"the service has ended by itself at message {index}:\n{attacked.log[-3000:]}")
    started = time.monotonic()
    for line in attacked.plant.lines:
        attacked.plant.ask("resume", line=line)  # a pause is a good command, if it comes about
    took = time.monotonic() - started
    if took > 5.0:
        tally.add(Record(index, "hang", took * 1000, "the console waited so long for an answer"))


class Sender:
    """Clients of both versions, and one without any library."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients = {version: _client(port, version) for version in _VERSIONS}
        self._sent: deque[MQTTMessageInfo] = deque()
        self.ended = 0
        """Connections that the broker has ended."""

    def send(self, chance: random.Random, lines: list[str]) -> None:
        if chance.random() < 0.01:
            self._raw(chance, lines)
            return
        topic = _topic(chance, lines)
        five = chance.random() < 0.7
        version = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
        client = self._clients[version]
        thread = client._thread
        if (
            not client.is_connected() or thread is None or not thread.is_alive()
        ):  # what it was ended for would be sent again and again
            client.loop_stop()
            self.ended += 1
            client = self._clients[version] = _client(self._port, version)
        properties = _properties(chance) if five else None
        with contextlib.suppress(ValueError, struct.error):  # paho itself takes no wildcards, for one
            quality, retained = chance.choice((0, 1, 1, 2)), chance.random() < 0.05
            self._sent.append(client.publish(topic, payload(chance), quality, retained, properties))
        while len(self._sent) > _ON_THEIR_WAY:
            _arrived(self._sent.popleft())

    def _raw(self, chance: random.Random, lines: list[str]) -> None:
        """A packet that no library makes; the broker's to refuse, or to pass on."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 2) as connection:
            user, password = b"plc", plants.PASSWORDS["plc"].encode()
            fields = b"".join(struct.pack(">H", len(part)) + part for part in (b"raw", user, password))
            hello = b"\x00\x04MQTT\x04\xc2\x00\x3c" + fields
            topic = _topic(chance, lines).encode("utf-8", "surrogatepass")[:200]
            body = struct.pack(">H", len(topic)) + topic + b"\x00\x01" + payload(chance)[:90]
            packet = bytes((0x30 | chance.choice((2, 10, 3, 6, 14)), min(len(body), 127))) + body
            connection.sendall(
                b"\x10"
                + bytes((len(hello),))
                + hello
                + (hostile.damaged(chance, packet) if chance.random() < 0.5 else packet)
            )
            connection.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                connection.recv(100)

    def close(self) -> None:
        for sent in self._sent:
            _arrived(sent)
        for client in self._clients.values():
            client.disconnect()
            client.loop_stop()


def _arrived(sent: MQTTMessageInfo) -> None:
    """Waits until the broker has it, if it takes it."""
    with contextlib.suppress(ValueError, RuntimeError):  # paho's queue is full, or the connection was ended for it
        sent.wait_for_publish(0.5)


def _topic(chance: random.Random, lines: list[str]) -> str:
    if chance.random() < 0.93:
        return f"line/{chance.choice(lines)}/{chance.choice(_TOPICS)}"
    return chance.choice(
        (
            f"line/{hostile.text(chance, 20)}/trigger",
            "line/nobody/trigger",
            "line/line-1/trigger/x",
            "line//command",
            "$share/g/line/line-1/trigger",
            hostile.text(chance, 50) or "x",
        )
    )


def payload(chance: random.Random) -> bytes:
    """A message, or nearly."""
    kind = chance.randrange(10)
    if kind < 4:
        said = json.dumps(hostile.replaced(chance, chance.choice(_GOOD)))
        return said.encode(chance.choice(("utf-8", "utf-8", "utf-8", "utf-16", "latin-1")), "backslashreplace")
    if kind < 7:
        return hostile.damaged(chance, json.dumps(chance.choice(_GOOD)).encode())
    if kind == 7:
        return hostile.nested(chance)
    if kind == 8:
        return json.dumps({"part_id": "x" * chance.choice((199, 200, 201, 16_000, 17_000, 300_000))}).encode()
    return chance.randbytes(chance.choice((0, 1, 10, 1000, 20_000)))


def _properties(chance: random.Random) -> Properties | None:
    if chance.random() < 0.5:
        return None
    properties = Properties(PacketTypes.PUBLISH)
    for _ in range(chance.randrange(4)):
        name, value = chance.choice(
            (
                ("UserProperty", [(hostile.text(chance, 20), hostile.text(chance, 20))] * chance.choice((1, 50))),
                ("ResponseTopic", chance.choice(("line/line-1/command", "a/b"))),
                ("CorrelationData", chance.randbytes(chance.choice((0, 10, 9000)))),
                ("ContentType", "application/json\x1b"),
                ("MessageExpiryInterval", chance.choice((0, 1, 2**32 - 1))),
                ("PayloadFormatIndicator", chance.choice((0, 1))),
            )
        )
        with contextlib.suppress(Exception):  # what paho does not take
            setattr(properties, name, value)
    try:
        properties.pack()
    except (struct.error, ValueError):  # paho would keep the message, and fail at it again and again
        return None
    return properties


def _client(port: int, version: MQTTProtocolVersion) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"saboteur-{version}", protocol=version)
    client.suppress_exceptions = True
    client.max_inflight_messages_set(1000)
    client.username_pw_set("plc", plants.PASSWORDS["plc"])
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    assert connected.wait(10)
    return client
