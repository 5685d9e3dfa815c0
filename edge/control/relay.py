"""Passes the console's connections on to its ZeroMQ socket, and ends one that sends a message that is too large.

libzmq hands a message over when all its parts have come, and has no limit for their sum: MAXMSGSIZE holds for each
part, RCVHWM for whole messages. So the bytes are counted on their way, by the framing of ZMTP 3.

Nor does libzmq tell who is at the other end of a connection that was passed on. So each client is introduced under an
identity that holds its user, by the kernel's word.

Nor has it a limit for connections, and it ends the process where there is no descriptor for one. So there is room for
few here, and whoever has said nothing for longest makes way: strangers who connect and are silent keep nobody out. It
is one of the user who has most connections: however much they all say, other users keep theirs.
"""

from __future__ import annotations

import errno
import itertools
import os
import selectors
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from edge.clock import monotonic
from edge.ops.descriptors import is_spare

_CHUNK = 256 * 1024  # bytes of one connection in one direction that are here at a time
_LOOK_S = 0.1
CONNECTIONS = 64
"""Consoles that may be connected at a time."""
_PAUSE_S = 1.0  # before connections are accepted again after there was no descriptor for one
_GREETING = 64  # bytes before the first frame
_MORE, _LONG, _COMMAND = 1, 2, 4  # bits of a frame's first byte
_MOST_OF_COMMAND = 4096  # bytes of a command of ZMTP itself
_READY, _IDENTITY = b"\x05READY", b"Identity"
_CREDENTIALS = struct.Struct("iII")  # struct ucred: process, user, group


class ProtocolError(ValueError):
    """What came is no ZMTP 3, or a message is too large."""


class MessageMeter:
    """Counts the bytes and parts of each message of a ZMTP 3 stream, as far as it has come."""

    def __init__(self, most_bytes: int, most_parts: int) -> None:
        self._most_bytes = most_bytes
        self._most_parts = most_parts
        self._header = bytearray()
        self._greeted = False
        self._skip = 0  # bytes until the next header
        self._bytes = self._parts = 0  # of the message that is coming
        self.complete = False
        """Whether a message has come, up to its end."""

    def read(self, data: bytes) -> None:
        """Counts the next bytes of the stream.

        Raises:
            ProtocolError: a message is larger than the limits, or this is no ZMTP 3.
        """
        place = 0
        while place < len(data):
            if self._skip:
                step = min(self._skip, len(data) - place)
                self._skip -= step
            else:
                step = min(self._header_size - len(self._header), len(data) - place)
                self._header += data[place : place + step]
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
        if not self._greeted:
            if header[0] != 0xFF or not header[9] & 1 or header[10] < 3:
                raise ProtocolError("no ZMTP 3")
            self._greeted = True
            self._header.clear()
            return
        flags, size = header[0], int.from_bytes(header[1:], "big")
        self._header.clear()
        self._skip = size
        if flags & _COMMAND:
            if size > _MOST_OF_COMMAND:
                raise ProtocolError(f"a command of ZMTP of {size} bytes")
            return
        self._bytes += size
        self._parts += 1
        if self._bytes > self._most_bytes or self._parts > self._most_parts:
            raise ProtocolError(f"a message of more than {self._most_bytes >> 20} MiB or {self._most_parts} parts")
        if not flags & _MORE:
            self._bytes = self._parts = 0
            self.complete = True


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


@dataclass(eq=False)
class _End:
    """One end of a connection.

    Attributes:
        meter: Of what a client sends; None: this is the service's end.
        introduction: Of a client.
        user: Of the client, by the kernel's word.
        heard_at: When something came last, on the monotonic clock.
        pending: What the other end has sent, and this one has not taken yet.
        over: Whether it has sent all that it will.
    """

    socket: socket.socket
    meter: MessageMeter | None = None
    introduction: Introduction | None = None
    user: int | None = None
    pending: memoryview = field(default_factory=lambda: memoryview(b""))
    over: bool = False
    heard_at: float = field(default_factory=monotonic)
    other: _End = field(init=False)

    @property
    def events(self) -> int:
        """What it waits for: no more is read than the other end has taken."""
        read = selectors.EVENT_READ if not self.over and not self.other.pending else 0
        return read | (selectors.EVENT_WRITE if self.pending else 0)


class Relay:
    """Listens on one UNIX socket, and connects each client to another one. For the thread that calls `pass_on`."""

    def __init__(self, path: Path, target: Path, meter: Callable[[], MessageMeter], refused: Callable[[str], None]):
        """Opens nothing yet.

        Args:
            path: Where clients connect.
            target: Where they are connected to.
            meter: Makes the meter of what a client sends.
            refused: Is told why a connection was ended.
        """
        self._path = path
        self._target = target
        self._meter = meter
        self._refused = refused
        self._selector = selectors.DefaultSelector()
        self._ends: set[_End] = set()
        self._listener: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._accept_at: float | None = None  # when the listener is listened to again; None: it is

    def open(self) -> None:
        """Begins to listen; a socket that an ended process has left there is replaced.

        Raises:
            OSError: there can be no socket.
        """
        self._path.unlink(missing_ok=True)
        self._listener = listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o117)  # the owner and the group may connect
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(CONNECTIONS)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def pass_on(self) -> bool:
        """Passes on what there is, or waits a little for something; whether there was something."""
        if self._accept_at is not None and self._listener is not None and monotonic() >= self._accept_at:
            self._accept_at = None
            self._selector.register(self._listener, selectors.EVENT_READ)
        found = self._selector.select(_LOOK_S)
        for key, ready in found:
            if key.data is None:
                self._accept(cast(socket.socket, key.fileobj))
                continue
            end = cast(_End, key.data)
            if end not in self._ends:  # ended in this round
                continue
            try:
                self._move(end, ready)
            except ProtocolError as error:
                self._refused(str(error))
                self._close(end)
            except OSError:  # it is gone
                self._close(end)
        return bool(found)

    def close(self) -> None:
        """Ends all connections."""
        for end in tuple(self._ends):
            self._close(end)
        if self._listener is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)
        self._selector.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # it would be ready again at once
                self._selector.unregister(listener)
                self._accept_at = monotonic() + _PAUSE_S
            return
        if not is_spare(client.fileno()):
            self._refused("the service is short of descriptors")
            client.close()
            return
        if len(self._ends) >= 2 * CONNECTIONS:
            idlest = self._idlest()
            self._refused(f"more than {CONNECTIONS} are connected, and of user {idlest.user} it was silent for longest")
            self._close(idlest)
        inner = socket.socket(socket.AF_UNIX)
        try:
            inner.connect(str(self._target))
        except OSError:  # the service is stopping
            inner.close()
            client.close()
            return
        user = _user(client)
        identity = identity_of(user, next(self._numbers))
        ends = _End(client, self._meter(), Introduction(identity), user), _End(inner)
        for end, other in (ends, ends[::-1]):
            end.other = other
            end.socket.setblocking(False)
            self._ends.add(end)
        for end in ends:
            self._selector.register(end.socket, selectors.EVENT_READ, end)

    def _move(self, end: _End, ready: int) -> None:
        if ready & selectors.EVENT_WRITE:
            end.pending = end.pending[end.socket.send(end.pending) :]
        if ready & selectors.EVENT_READ and not end.other.pending:
            data = end.socket.recv(_CHUNK)
            end.over = not data
            end.heard_at = monotonic()
            if end.meter is not None:
                end.meter.read(data)
            if end.introduction is not None:
                data = end.introduction.pass_on(data)
            end.other.pending = memoryview(data)
        if any(side.over and not side.other.pending for side in (end, end.other)):
            self._close(end)
            return
        for side in (end, end.other):
            self._watch(side)

    def _idlest(self) -> _End:
        """The client that makes way: of the user who has most, one that has not asked anything before one that has."""
        of_user = Counter(end.user for end in self._ends if end.meter is not None)
        clients = (
            (-of_user[end.user], end.meter.complete, end.heard_at, end) for end in self._ends if end.meter is not None
        )
        return min(clients, key=lambda client: client[:3])[3]

    def _watch(self, end: _End) -> None:
        """Has the selector wait for what the end waits for."""
        known = end.socket in self._selector.get_map()
        if end.events and known:
            self._selector.modify(end.socket, end.events, end)
        elif end.events:
            self._selector.register(end.socket, end.events, end)
        elif known:
            self._selector.unregister(end.socket)

    def _close(self, end: _End) -> None:
        for side in (end, end.other):
            if side.socket in self._selector.get_map():
                self._selector.unregister(side.socket)
            side.socket.close()
            self._ends.discard(side)


def _user(client: socket.socket) -> int:
    """The user of the process that has made the connection, by the kernel's word."""
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return int(uid)
