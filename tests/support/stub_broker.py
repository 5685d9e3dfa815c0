"""A broker that says no more than it must, for what no real one does on demand."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

_CONNECT, _PUBLISH, _SUBSCRIBE, _PINGREQ = 1, 3, 8, 12
_CONNACK, NEW_AS_5, _PINGRESP = b"\x20\x02\x00\x00", b"\x20\x03\x00\x00\x00", b"\xd0\x00"
REFUSED_AS_3, REFUSED_AS_5 = b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"
"""How brokers say that they do not speak a version, in the words of 3.1.1 and of 5."""
RESUMED_AS_5 = b"\x20\x03\x01\x00\x00"
"""How one of 5 says that it has kept the session; `NEW_AS_5` that it has not."""
TAKEN_OVER = b"\xe0\x02\x8e\x00"
"""How one of 5 says that another client took the id."""


class StubBroker:
    """Accepts connections and answers pings, but never acknowledges a message."""

    host = "127.0.0.1"

    def __init__(self, granted: bytes | None = b"\x01", to_five: bytes = NEW_AS_5, to_three: bytes = _CONNACK) -> None:
        """Made.

        Args:
            granted: The answer to every subscription, a byte for each of its topics; 0x80 refuses; None: no answer.
            to_five: The answer to who wants to speak MQTT 5, and `to_three` to who wants 3.1.1; empty: it hangs up.
        """
        self._granted = granted
        self.answers = {5: to_five, 4: to_three}
        """By the version that was asked for; may be changed meanwhile."""
        self.asked: list[tuple[int, float]] = []
        """The versions that were asked for, and when."""
        self._server = socket.create_server((self.host, 0))
        self._server.settimeout(0.05)
        self.port = int(self._server.getsockname()[1])
        self.connections = 0
        self.published: list[bytes] = []
        """The topics of messages that came, in order."""
        self.farewell = b""
        """If it is set: what the connection that there is ends with, once."""
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> StubBroker:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join()
        self._server.close()

    def _run(self) -> None:
        while not self._ended:
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            self.connections += 1
            with connection:
                connection.settimeout(0.05)
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        while not self._ended:
            try:
                more = connection.recv(65536)
            except TimeoutError:
                if self.farewell:
                    connection.sendall(self.farewell)
                    self.farewell = b""
                    return
                continue
            except OSError:
                return
            if not more:
                return
            data += more
            while (packet := _packet(data)) is not None:
                kind, body, data = packet
                if not self._answer(connection, kind, body):
                    return

    def _answer(self, connection: socket.socket, kind: int, body: bytes) -> bool:
        """Whether the connection goes on."""
        if kind == _CONNECT:
            self._version = body[6]
            self.asked.append((self._version, time.monotonic()))
            connection.sendall(self.answers[self._version])
            return self.answers[self._version][3:4] == b"\0"
        elif kind == _PINGREQ:
            connection.sendall(_PINGRESP)
        elif kind == _SUBSCRIBE and self._granted is not None:
            rest = body[:2] + (b"\0" if self._version == 5 else b"") + self._granted
            connection.sendall(bytes((0x90, len(rest))) + rest)
        elif kind == _PUBLISH:
            self.published.append(body[2 : 2 + int.from_bytes(body[:2], "big")])
        return True


def _packet(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Kind and body of the first packet, and the rest; None while it is not whole."""
    length = shift = 0
    for at, byte in enumerate(data[1:5], 1):
        length |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            end = at + 1 + length
            return (data[0] >> 4, data[at + 1 : end], data[end:]) if len(data) >= end else None
    return None
