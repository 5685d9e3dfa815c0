"""A TCP proxy whose line can be cut so that neither side is told."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

_LOOK_S = 0.02


class Proxy:
    """Passes on what goes to and from `port` of the loopback interface, for as long as the context is open."""

    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server((self.host, 0))
        self.port = int(self._server.getsockname()[1])
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._silent: set[socket.socket] = set()
        self._refuses = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join()
        for connection in (*self._pairs, self._server):
            connection.close()

    def swallow(self) -> None:
        """All packets of the connections that there are vanish from now on; later connections work."""
        self._silent.update(self._pairs)

    def swallow_from_clients(self) -> None:
        """As `swallow`, but what the broker sends still comes."""
        self._silent.update(self._clients)

    def cut(self) -> None:
        """Ends the connections that there are; both sides notice."""
        for one in tuple(self._pairs):
            self._hang_up(one)

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Whoever connects while the context is open is turned away."""
        self._refuses = True
        yield
        self._refuses = False

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            while not self._ended:
                for key, _ in selector.select(_LOOK_S):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    if source is self._server:
                        self._accept(selector)
                    else:
                        self._pass_on(selector, source)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        client, _ = self._server.accept()
        if self._refuses:
            client.close()
            return
        try:
            broker = socket.create_connection((self.host, self._target))
        except OSError:
            client.close()
            return
        self._pairs |= {client: broker, broker: client}
        self._clients.add(client)
        selector.register(client, selectors.EVENT_READ)
        selector.register(broker, selectors.EVENT_READ)

    def _pass_on(self, selector: selectors.BaseSelector, source: socket.socket) -> None:
        try:
            data = source.recv(65536)
            if data and source not in self._silent:
                self._pairs[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            selector.unregister(source)
            if source not in self._silent:
                self._hang_up(self._pairs[source])

    def _hang_up(self, other: socket.socket) -> None:
        try:
            other.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
