"""The service's end of the channel: a socket for consoles, whose requests the command queue does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import zmq

from edge.control.command_queue import CommandQueue, Send
from edge.control.protocol import MAX_BYTES, MAX_PARTS, Reply, read_request
from edge.control.relayed_socket import RelayedSocket
from edge.control.zmtp import MessageMeter, uid_of
from edge.ops.alarms import Alarms
from edge.ops.worker import Worker, Workers

SOCKET = "console.sock"
_POLL_MS = 100
# A message that is a little too large is refused in words, one that is much too large ends its connection.
_MOST_BYTES, _MOST_PARTS = MAX_BYTES + (4 << 20), 2 * MAX_PARTS
_LINGER_MS = 500


class ConsoleServer:
    """Listens on `console.sock` in a folder, and has requests done by the command queue, side by side.

    Who makes it holds the folder's lock (`edge.ops.lock.hold_console`), so that no second service takes the socket.
    """

    def __init__(
        self, folder: Path, commands: CommandQueue, alarms: Alarms | None = None, workers: Workers | None = None
    ) -> None:
        """Opens nothing yet.

        Args:
            folder: Of the socket.
            commands: Does what is asked. It is stopped before this server, which sends its last replies.
            alarms: Where it is said that connections were refused.
            workers: Watches the two threads.
        """
        self.path = folder / SOCKET
        self._commands = commands
        self._alarms = alarms or Alarms()
        self._poller = zmq.Poller()
        self._outside = RelayedSocket(
            self.path,
            lambda: MessageMeter(_MOST_BYTES, _MOST_PARTS),
            self._refused,
            "console-relay",
            workers,
            linger_ms=_LINGER_MS,
        )
        self._serving = Worker(workers, "console", self._serve)

    def start(self) -> None:
        """Opens the socket.

        Raises:
            ConsoleError: it cannot be made there.
        """
        gone = {zmq.ROUTER_MANDATORY: 0}  # a console that is gone does not get its answer
        self._socket = self._outside.open(zmq.ROUTER, {zmq.MAXMSGSIZE: _MOST_BYTES, **gone})
        self._done = self._outside.context.socket(zmq.PULL)
        self._done.bind("inproc://done")
        for own_socket in (self._socket, self._done):
            self._poller.register(own_socket, zmq.POLLIN)
        self._serving.start()

    def stop(self) -> None:
        """Closes the socket."""
        self._serving.stop()
        self._outside.close()

    def _serve(self) -> float | None:
        ready = dict(self._poller.poll(_POLL_MS))
        if self._done in ready:
            self._socket.send_multipart(self._done.recv_multipart())
        if self._socket in ready:
            client, *parts = self._socket.recv_multipart()
            request = read_request(parts, uid_of(client))
            if isinstance(request, Reply):
                self._socket.send_multipart([client, *request.to_parts()])
            else:
                self._commands.submit(request, parts[1:], self._sender(client))
        # At the end replies are still sent; requests that go on coming must not keep the thread for ever.
        return None if self._serving.stopping and self._done not in ready else 0.0

    def _sender(self, client: bytes) -> Send:
        """Hands a reply to the thread that owns the socket."""

        def send(reply: Reply, pictures: Sequence[bytes]) -> None:
            with self._outside.context.socket(zmq.PUSH) as push:
                push.setsockopt(zmq.LINGER, _LINGER_MS)
                push.connect("inproc://done")
                push.send_multipart([client, *reply.to_parts(pictures)])

        return send

    def _refused(self, why: str) -> None:
        self._alarms.count("messages_refused", f"the console has ended a connection: {why}", about="console")
