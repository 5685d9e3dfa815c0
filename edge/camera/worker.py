"""The process of one camera: `python -m edge.camera.worker`, started by `edge.camera.supervisor.Camera` only.

OpenCV's native code may hang or crash; here it takes nothing with it. The grabber thread holds the source;
the main loop only passes messages on and never enters OpenCV, so its reports go on whatever the camera does.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import socket
import sys
import threading
from collections import deque
from pathlib import Path

import zmq
from pydantic import ValidationError

from edge.camera.frame import Parts
from edge.camera.grabber import Grabber
from edge.camera.protocol import BEAT_S, Order, pair, read_request
from edge.clock import monotonic

_CLOSE_S = 1.0  # for telling the camera goodbye; a hung call is not waited for


class Process:
    """Connects a grabber to the handle's socket, until one of them, or the service, is gone."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._stop = threading.Event()
        self._made: queue.SimpleQueue[Parts] = queue.SimpleQueue()
        self._unsent: deque[Parts] = deque()
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._socket = pair(zmq.Context.instance(), receives_frames=False)
        self._grabber = Grabber(order.camera, self._emit, health=order.health, taken=order.taken)

    def run(self) -> int:
        """Serves the handle; returns the exit code."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service gets it too, and stops its cameras
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        signal.set_wakeup_fd(self._ring.fileno(), warn_on_full_buffer=False)
        self._socket.connect(self._order.address)
        self._grabber.start()
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._bell.fileno(), zmq.POLLIN)
        beat = monotonic()
        while not self._stop.is_set():
            if os.getppid() != self._order.parent:
                self._tidy()
                break
            if not self._grabber.is_alive():
                print("the grabber thread has failed", file=sys.stderr)  # noqa: T201 - the handle logs it
                return 70
            if monotonic() >= beat:
                beat = monotonic() + BEAT_S
                # The parts of earlier messages come first; where they wait, the handle is not reading anyway.
                if not self._unsent:
                    self._send([self._grabber.report().model_dump_json().encode()])
            ready = dict(poller.poll(max(0, math.ceil((beat - monotonic()) * 1000))))
            if self._bell.fileno() in ready:
                self._silence()
            if self._socket in ready:
                self._receive()
            while not self._made.empty():
                self._unsent.append(self._made.get())
            while self._unsent and self._send(self._unsent[0]):
                self._unsent.popleft()
        self._grabber.close()
        self._grabber.join(_CLOSE_S)
        return 0

    def _emit(self, message: Parts) -> None:
        """Hands a message of the grabber's thread to the main loop."""
        self._made.put(message)
        try:
            self._ring.send(b"\0")
        except BlockingIOError:
            return  # it is ringing already

    def _silence(self) -> None:
        while True:
            try:
                self._bell.recv(4096)
            except BlockingIOError:
                return

    def _receive(self) -> None:
        request = read_request(self._socket.recv())
        if request.stop:
            self._stop.set()
        if request.limits is not None:
            self._grabber.limit(request.limits)
        if request.want is not None:
            self._grabber.want(request.want)

    def _send(self, message: Parts) -> bool:
        """Whether the message was taken; it is not while the handle leaves too many unread."""
        try:
            self._socket.send_multipart(message, zmq.NOBLOCK, copy=len(message) == 1)
        except zmq.Again:
            return False
        return True

    def _tidy(self) -> None:
        """Removes the socket of a service that died without doing so."""
        Path(self._order.address.removeprefix("ipc://")).unlink(missing_ok=True)


def main() -> int:
    """Reads the order from stdin and carries it out; returns the exit code."""
    try:
        order = Order.model_validate_json(sys.stdin.buffer.read())
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)  # it may hold a password
        print(f"not an order: {wrong}", file=sys.stderr)  # noqa: T201 - the handle logs it
        return 64
    return Process(order).run()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # A thread that hangs in native code would hold up the ordinary end of the interpreter.
    os._exit(code)
