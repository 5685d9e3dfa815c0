"""A hostile broker: what a line's connection makes of answers and messages that are wrong, or none at all."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import struct
import threading
import time
from pathlib import Path

from edge.mqtt.inbound import InboundMessage, Router
from tests.fuzz import hostile
from tests.fuzz.tally import Outcome
from tests.support.publisher import LINE, Publishers

_TALK_S = 1.0  # with one client, at most
_QUIET_S = 0.03  # in which nothing came, after which a conversation is over
_TOPICS = (
    f"line/{LINE}/trigger",
    f"line/{LINE}/command",
    f"line/{LINE}/trigger/sync",
    f"line/{LINE}/status",
    f"line/{LINE}/anomaly",
)


class BrokerAnswers:
    """The connection goes on, or is lost and said to be; the publisher ends when it is told to."""

    def __init__(self, folder: Path) -> None:
        logging.basicConfig(level=logging.CRITICAL)
        self._publishers = Publishers()
        self._taken = 0

    def run(self, chance: random.Random) -> Outcome:
        with HostileBroker(chance) as broker:
            router = Router([LINE], self._publishers.alarms)
            publisher = self._publishers.make(broker.port, LINE, router, version=chance.choice(("5", "5", "3.1.1")))
            router.open(self, self, {LINE: publisher})
            self._publishers._made.clear()  # it is stopped here
            publisher.start()
            broker.over.wait(_TALK_S)
            publisher.look()
            reason = publisher.state.reason
            connected = publisher.connected
            publisher.stop(timeout_s=0.0)
            network = publisher._client._network
            assert network is None or not network.is_alive(), "the network thread has not ended"
        return Outcome(refused=not connected, said=str(reason))

    def close(self) -> None:
        self._publishers.stop()

    def receive(self, message: InboundMessage) -> None:
        """Takes what the router lets through."""
        self._taken += 1
        message.acknowledge(self._taken)


class HostileBroker:
    """Accepts connections, one after the other, and answers each packet with something else."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self.port = int(self._server.getsockname()[1])
        self.over = threading.Event()
        """Set when the first conversation is at its end."""
        self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> HostileBroker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._ended:
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_QUIET_S)
                self._talk(connection)
            self.over.set()

    def _talk(self, connection: socket.socket) -> None:
        five = b""
        end = time.monotonic() + _TALK_S
        while not self._ended and time.monotonic() < end:
            try:
                heard = connection.recv(65536)
            except TimeoutError:
                return
            if not heard:
                return
            five = five or heard
            answer = self._answer(heard, is_five=five[8:9] == b"\x05")
            if answer is None:
                return
            connection.sendall(answer)

    def _answer(self, heard: bytes, is_five: bool) -> bytes | None:
        """What a broker says to a packet, or nearly; None: it hangs up."""
        chance = self._chance
        kind = heard[0] >> 4
        if chance.random() < 0.05:
            return None
        if kind == 1:  # CONNECT
            body = bytes((chance.choice((0, 0, 0, 0, 1)), chance.choice((0, 0, 0, 0, 0, 5, 0x84, 0x87, 0xFF))))
            right = _packet(0x20, body + (_properties(chance) if is_five else b""))
        elif kind == 8:  # SUBSCRIBE
            codes = bytes(
                chance.choice((0, 1, 1, 1, 2, 0x80, 0x87, 0xFF)) for _ in range(chance.choice((0, 1, 3, 4, 50)))
            )
            right = _packet(0x90, heard[2:4] + (b"\0" if is_five else b"") + codes)
        elif kind == 3 and heard[0] & 6:  # PUBLISH
            right = _packet(
                chance.choice((0x40, 0x50, 0x62, 0x70)),
                chance.randbytes(2) + chance.choice((b"", b"\x00", b"\x97", b"\x87\x00")),
            )
        else:
            right = chance.choice(
                (b"\xd0\x00", _packet(0xE0, b"\x8e\x00"), _packet(0xE0, b"\x95"), _packet(0xF0, b""), b"")
            )
        said = right + b"".join(self._message(is_five) for _ in range(chance.randrange(4)))
        return hostile.damaged(chance, said) if chance.random() < 0.4 and said else said

    def _message(self, is_five: bool) -> bytes:
        chance = self._chance
        topic = chance.choice((*_TOPICS, *_TOPICS, hostile.text(chance))).encode("utf-8", "surrogatepass")[:60_000]
        flags = chance.choice((0, 1, 2, 3, 4, 6, 8, 10, 11))
        packet = chance.randbytes(2) if flags & 6 else b""
        payload = chance.choice(
            (
                b'{"part_id": "a"}',
                b'{"id": "1", "command": "pause"}',
                b"",
                hostile.nested(chance)[:9000],
                chance.randbytes(50),
            )
        )
        return _packet(
            0x30 | flags,
            struct.pack(">H", len(topic)) + topic + packet + (_properties(chance) if is_five else b"") + payload,
        )


def _properties(chance: random.Random) -> bytes:
    """Of MQTT 5: good ones, ones of the wrong kind, and lengths that do not hold."""
    if chance.random() < 0.4:
        return b"\0"
    parts = (
        *(b"\x21" + struct.pack(">H", value) for value in (0, 1, 65535)),  # Receive Maximum
        *(b"\x27" + struct.pack(">I", value) for value in (0, 1, 20, 2**32 - 1)),  # Maximum Packet Size
        *(b"\x13" + struct.pack(">H", value) for value in (0, 1)),  # Server Keep Alive
        b"\x12\x00\x03a/b",  # Assigned Client Identifier
        b"\x1f\x00\x04\x1b[2J",  # Reason String
        b"\x26\x00\x01a\x00\x01b",  # User Property
        b"\x02" + struct.pack(">I", 2**32 - 1),  # Message Expiry Interval
        b"\x23\xff\xff",  # Topic Alias
        b"\x0b\xff\xff\xff\xff",  # Subscription Identifier that has no end
        b"\x99\x00",
        chance.randbytes(3),
    )
    said = b"".join(chance.choice(parts) for _ in range(chance.randrange(4)))
    length = len(said) if chance.random() < 0.85 else chance.choice((0, 1, 127, len(said) + 1))
    return _length(length) + said


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


def _length(number: int) -> bytes:
    said = bytearray()
    while True:
        number, rest = divmod(number, 128)
        said.append(rest | (128 if number else 0))
        if not number:
            return bytes(said)
