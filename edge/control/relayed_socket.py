"""A ZeroMQ socket of the service on a UNIX path, behind its relay."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import zmq

from edge.clock import monotonic
from edge.control.relay import Relay
from edge.control.zmtp import FrameReader
from edge.ops.worker import Worker, Workers

_PATH_LIMIT = 107  # bytes, of a UNIX socket's name
_CARRY_S = 2.0  # for which the relay still carries what the others have sent, whatever comes in meanwhile


class ConsoleError(RuntimeError):
    """The channel cannot be opened; the message names its path and the remedy."""


class RelayedSocket:
    """Others connect to `path`; the relay, in a thread of its own, connects them to a socket that is the caller's.

    Who makes it holds the folder's lock (`edge.ops.lock.hold_console`), so that no second service takes the path.
    """

    def __init__(
        self,
        path: Path,
        meter: Callable[[], FrameReader],
        refused: Callable[[str], None],
        thread: str,
        workers: Workers | None = None,
        *,
        low_priority: bool = False,
        vital: bool = True,
        linger_ms: int = 0,
    ) -> None:
        """Opens nothing yet.

        Args:
            path: Of the socket, a name with a suffix.
            meter: Makes the meter of what a client sends.
            refused: Is told why a connection was ended; called in the relay's thread.
            thread: The name of that.
            workers: Watches it.
            low_priority, vital: As of a `Worker`.
            linger_ms: At the end, what was sent has so long to be on its way.
        """
        self.path = path
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        """Of the socket, and of what else its thread has."""
        self._linger_ms = linger_ms
        self._inner = path.with_suffix(".zmq")  # what the relay connects to; no longer a name, for the limit
        self._relay = Relay(path, self._inner, meter, refused)
        self._relaying = Worker(workers, thread, self._pass_on, low_priority=low_priority, vital=vital)
        self._carrying_until: float | None = None  # at the end
        self._opened = False

    def open(self, kind: int, options: Mapping[zmq.SocketOption, int]) -> zmq.Socket[bytes]:
        """The socket, bound, with its options. For one thread.

        Raises:
            ConsoleError: it cannot be made there.
        """
        if len(os.fsencode(self.path)) > _PATH_LIMIT:
            raise ConsoleError(f"{self.path}: a socket's path has at most {_PATH_LIMIT} bytes; set service.runtime_dir")
        self._opened = True
        socket = self.context.socket(kind)
        for option, value in options.items():
            socket.setsockopt(option, value)
        before = os.umask(0o177)  # others connect to the relay
        try:
            socket.bind(f"ipc://{self._inner}")
            self._relay.open()
        except (zmq.ZMQError, OSError) as error:
            raise ConsoleError(f"{self.path}: {error}") from error
        finally:
            os.umask(before)
        self._relaying.start()
        return socket

    def close(self) -> None:
        """Closes the context's sockets, whose thread has ended, and the relay."""
        self.context.destroy(self._linger_ms)
        self._relaying.stop()  # last: it carries what the others have sent
        if self._opened:
            self._relay.close()
            self._inner.unlink(missing_ok=True)

    def _pass_on(self) -> float | None:
        busy = self._relay.pass_on()
        if not self._relaying.stopping:
            return 0.0
        self._carrying_until = self._carrying_until or monotonic() + _CARRY_S
        return 0.0 if busy and monotonic() < self._carrying_until else None
