"""The service's end of the channel: one socket, one thread that reads it, one that does what is asked."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import zmq

from edge.control.protocol import MAX_BYTES, Refusal, Reply, Request, read_request
from edge.ops.lock import hold

SOCKET = "console.sock"
_LOCK = "console.lock"
_PATH_LIMIT = 107  # bytes, of a UNIX socket's name
_AT_ONCE = 4  # requests that are done side by side: one may wait for the line's next parts
_WAITING = 64  # requests that may wait to be done; more are refused at once

Answer = Callable[[Request, Sequence[bytes]], tuple[Reply, Sequence[bytes]]]


class ConsoleError(RuntimeError):
    """The channel cannot be opened; the message names its path and the remedy."""


class ConsoleServer:
    """Listens on `console.sock` in `folder` and answers requests by `answer`, a few side by side.

    A second service does not get the socket: a lock file beside it is held for as long as this one listens.
    """

    def __init__(self, folder: Path, answer: Answer) -> None:
        self.path = folder / SOCKET
        self._answer = answer
        self._lock_path = folder / _LOCK
        self._lock: IO[bytes] | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="console", daemon=True)
        self._worker = ThreadPoolExecutor(_AT_ONCE, "console-work")
        self._busy = 0

    def start(self) -> None:
        """Opens the socket.

        Raises:
            LockError: another service has it.
            ConsoleError: it cannot be made there.
        """
        if len(os.fsencode(self.path)) > _PATH_LIMIT:
            raise ConsoleError(f"{self.path}: a socket's path has at most {_PATH_LIMIT} bytes; set service.runtime_dir")
        self._lock = hold(self._lock_path)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 0)  # a console that is gone does not get its answer
        before = os.umask(0o117)  # the owner and the group may connect
        try:
            self._socket.bind(f"ipc://{self.path}")
        except zmq.ZMQError as error:
            raise ConsoleError(f"{self.path}: {error}") from error
        finally:
            os.umask(before)
        self._done = self._context.socket(zmq.PULL)
        self._done.bind("inproc://done")
        self._thread.start()

    def stop(self) -> None:
        """Refuses what waits, finishes what is being done, and closes the socket."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._worker.shutdown(cancel_futures=True)
        self._context.destroy(500)
        if self._lock is not None:
            self._lock.close()

    def _serve(self) -> None:
        poller = zmq.Poller()
        for socket in (self._socket, self._done):
            poller.register(socket, zmq.POLLIN)
        while not self._stop.is_set():
            ready = dict(poller.poll(100))
            if self._done in ready:
                self._busy -= 1
                self._socket.send_multipart(self._done.recv_multipart())
            if self._socket in ready:
                client, *parts = self._socket.recv_multipart()
                self._take(client, parts)

    def _take(self, client: bytes, parts: list[bytes]) -> None:
        request = read_request(parts)
        if isinstance(request, Request) and self._busy >= _WAITING:
            message = f"{_WAITING} requests wait already; ask again later"
            request = Reply(id=request.id, refusal=Refusal(code="busy", message=message))
        if isinstance(request, Reply):
            self._socket.send_multipart([client, *request.to_parts()])
        else:
            self._busy += 1
            self._worker.submit(self._work, client, request, parts[1:])

    def _work(self, client: bytes, request: Request, blobs: Sequence[bytes]) -> None:
        """Does what is asked, and hands the answer to the thread that owns the socket."""
        try:
            reply, pictures = self._answer(request, blobs)
        except Exception as error:  # a command must not take the channel with it; who asked is told
            message = f"{type(error).__name__}: {error}"
            reply, pictures = Reply(id=request.id, refusal=Refusal(code="failed", message=message)), ()
        with self._context.socket(zmq.PUSH) as push:
            push.setsockopt(zmq.LINGER, 500)
            push.connect("inproc://done")
            push.send_multipart([client, *reply.to_parts(pictures)])
