"""ZMTP 3, the framing of ZeroMQ, as far as what a client sends has to be looked at on its way."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_GREETING = 64  # bytes before the first frame
_MORE, _LONG, _COMMAND = 1, 2, 4  # bits of a frame's first byte
_MOST_OF_COMMAND = 4096  # bytes of a command of ZMTP itself
_READY, _IDENTITY = b"\x05READY", b"Identity"
_SUBSCRIBE, _CANCEL = b"\x09SUBSCRIBE", b"\x06CANCEL"  # of ZMTP 3.1; before, they are the first byte of a message
_MOST_OF_TOPIC = 128  # bytes
_MOST_TOPICS = 256


class ProtocolError(ValueError):
    """What came is no ZMTP 3, or more than may be sent."""


class FrameReader:
    """Reads a ZMTP 3 stream frame by frame, in pieces of any length; to be derived from."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._greeted = False
        self._left = 0  # bytes of the frame that are still to come
        self.complete = False
        """Whether the client has said something, up to its end."""

    def read(self, data: bytes) -> None:
        """Reads the next bytes of the stream.

        Raises:
            ProtocolError: this is no ZMTP 3, or it is not to be passed on.
        """
        view, place = memoryview(data), 0
        while place < len(view):
            if self._left:
                step = min(self._left, len(view) - place)
                self._left -= step
                self._take(view[place : place + step])
                if not self._left:
                    self._end()
            else:
                step = min(self._header_size - len(self._header), len(view) - place)
                self._header += view[place : place + step]
                if len(self._header) == self._header_size:
                    self._begin()
            place += step

    @property
    def _header_size(self) -> int:
        if not self._greeted:
            return _GREETING
        if not self._header:
            return 1
        return 9 if self._header[0] & _LONG else 2

    def _begin(self) -> None:
        """A greeting or the header of a frame has come."""
        header = bytes(self._header)
        self._header.clear()
        if not self._greeted:
            if header[0] != 0xFF or not header[9] & 1 or header[10] < 3:
                raise ProtocolError("no ZMTP 3")
            self._greeted = True
            return
        flags, size = header[0], int.from_bytes(header[1:], "big")
        if flags & _COMMAND and size > _MOST_OF_COMMAND:
            raise ProtocolError(f"a command of ZMTP of {size} bytes")
        self._left = size
        self._frame(flags, size)
        if not size:
            self._end()

    def _frame(self, flags: int, size: int) -> None:
        """A frame of `size` bytes begins. Raises ProtocolError: it is not to be passed on."""

    def _take(self, piece: memoryview) -> None:
        """Its next bytes have come."""

    def _end(self) -> None:
        """All of it has come. Raises as `_frame`."""


class MessageMeter(FrameReader):
    """Counts the bytes and parts of each message, as far as it has come."""

    def __init__(self, most_bytes: int, most_parts: int) -> None:
        super().__init__()
        self._most_bytes = most_bytes
        self._most_parts = most_parts
        self._bytes = self._parts = 0  # of the message that is coming

    def _frame(self, flags: int, size: int) -> None:
        if flags & _COMMAND:
            return
        self._bytes += size
        self._parts += 1
        if self._bytes > self._most_bytes or self._parts > self._most_parts:
            raise ProtocolError(f"a message of more than {self._most_bytes >> 20} MiB or {self._most_parts} parts")
        if not flags & _MORE:
            self._bytes = self._parts = 0
            self.complete = True


class SubscriptionMeter(FrameReader):
    """Keeps the topics that a client is subscribed to: it may have so many, and send nothing else.

    libzmq keeps them for each client, and has no limit for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.topics: set[bytes] = set()
        self._flags = 0
        self._body = bytearray()

    def _frame(self, flags: int, size: int) -> None:
        if not flags & _COMMAND and (flags & _MORE or size > 1 + _MOST_OF_TOPIC):
            raise ProtocolError("a message that is no subscription")
        self._flags = flags
        self._body.clear()

    def _take(self, piece: memoryview) -> None:
        self._body += piece

    def _end(self) -> None:
        body = bytes(self._body)
        if not self._flags & _COMMAND:
            if body[:1] not in (b"\0", b"\1"):
                raise ProtocolError("a message that is no subscription")
            self._note(body[:1] == b"\1", body[1:])
        elif body.startswith(_SUBSCRIBE):
            self._note(True, body[len(_SUBSCRIBE) :])
        elif body.startswith(_CANCEL):
            self._note(False, body[len(_CANCEL) :])

    def _note(self, subscribed: bool, topic: bytes) -> None:
        self.complete = True
        if not subscribed:
            self.topics.discard(topic)
            return
        self.topics.add(topic)
        if len(topic) > _MOST_OF_TOPIC or len(self.topics) > _MOST_TOPICS:
            raise ProtocolError(f"more than {_MOST_TOPICS} subscriptions, or one of more than {_MOST_OF_TOPIC} bytes")


def identity_of(uid: int, number: int) -> bytes:
    """What the client of a user is called; `number` tells it from others."""
    return f"uid-{uid}-{number}".encode()


def uid_of(identity: bytes) -> int | None:
    """The user of a client that was introduced; None: it was not."""
    word, _, rest = identity.partition(b"-")
    uid = rest.partition(b"-")[0]
    return int(uid) if word == b"uid" and uid.isdigit() else None


class Introduction:
    """Puts an identity into the READY of a client, in place of any of its own: the first command of its ZMTP 3 stream.

    READY waits until all of it is there; what comes before and after it is passed on at once, as it is.
    """

    def __init__(self, identity: bytes) -> None:
        """`identity`: 1 to 255 bytes, of which the first is not 0."""
        self._identity = identity
        self._greeting = _GREETING  # bytes of it that are still to come
        self._held: bytearray | None = bytearray()

    def pass_on(self, data: bytes) -> bytes:
        """What the other end gets for the next bytes of the stream.

        Raises:
            ProtocolError: its first command is no READY.
        """
        if self._held is None:
            return data
        greeting, rest = data[: self._greeting], data[self._greeting :]
        self._greeting -= len(greeting)
        self._held += rest
        return greeting + self._introduced(bytes(self._held))

    def _introduced(self, stream: bytes) -> bytes:
        """READY and what is behind it, once all of it is there."""
        if stream and not stream[0] & _COMMAND:
            raise ProtocolError("a message before READY")
        start = 9 if stream and stream[0] & _LONG else 2
        end = start + int.from_bytes(stream[1:start], "big")
        if len(stream) < start or len(stream) < end:
            return b""
        self._held = None
        body = stream[start:end]
        if not body.startswith(_READY):
            raise ProtocolError("a command before READY")
        made = _READY + bytes([len(_IDENTITY)]) + _IDENTITY + struct.pack(">I", len(self._identity)) + self._identity
        made += b"".join(each for name, each in _properties(body[len(_READY) :]) if name.lower() != _IDENTITY.lower())
        return bytes([_COMMAND | _LONG]) + struct.pack(">Q", len(made)) + made + stream[end:]


def _properties(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name and all bytes of each property in `body`."""
    place = 0
    while place < len(body):
        value = place + 1 + body[place]
        (size,) = struct.unpack(">I", body[value : value + 4].rjust(4, b"\xff"))
        end = value + 4 + size
        if end > len(body):
            raise ProtocolError("a READY that is cut short")
        yield body[place + 1 : value], body[place:end]
        place = end
