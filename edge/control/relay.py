"""Passes the connections of a socket of the service on to ZeroMQ, and ends one that sends what it may not.

libzmq hands a message over when all its parts have come, and has no limit for their sum: MAXMSGSIZE holds for each
part, RCVHWM for whole messages. So the bytes are counted on their way (`edge/control/zmtp.py`).

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
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from edge.clock import monotonic
from edge.control.zmtp import FrameReader, Introduction, ProtocolError, identity_of
from edge.ops.descriptors import is_spare

_CHUNK = 256 * 1024  # bytes of one connection in one direction that are here at a time
_LOOK_S = 0.1
CONNECTIONS = 64
"""Clients that may be connected at a time."""
_PAUSE_S = 1.0  # before connections are accepted again after there was no descriptor for one
_CREDENTIALS = struct.Struct("iII")  # struct ucred: process, user, group


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
    meter: FrameReader | None = None
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

    def __init__(self, path: Path, target: Path, meter: Callable[[], FrameReader], refused: Callable[[str], None]):
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
