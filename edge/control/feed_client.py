"""The reading end of the live feed."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import TracebackType

import zmq

from edge.clock import monotonic
from edge.control.feed_messages import SOCKET, FeedPicture, FeedVerdict, Kind, read_message, topic_of

_WAITING = 64  # messages that libzmq keeps for a reader
_VERDICTS = 1000  # that wait to be read; of more the oldest go
_MOST_BYTES = 16 << 20  # of one part of a message
_RETRY_MS, _RETRY_MOST_MS = 100, 2000  # between two attempts to connect


class FeedClient:
    """Reads the feed of a service, which may come, go, and come again. For one thread.

    After that it is subscribed as before, as soon as `next` is called again.

    with FeedClient(console_dir(settings.service)) as feed:
        feed.subscribe("press-1")
        while (part := feed.next(1.0)) is not None:
            ...
    """

    def __init__(self, folder: Path) -> None:
        """`folder`: of the console's socket; nothing has to be there yet."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        for option, value in {
            zmq.LINGER: 0,
            zmq.RCVHWM: _WAITING,
            zmq.MAXMSGSIZE: _MOST_BYTES,
            zmq.RECONNECT_IVL: _RETRY_MS,
            zmq.RECONNECT_IVL_MAX: _RETRY_MOST_MS,
        }.items():
            self._socket.setsockopt(option, value)
        self._socket.connect(f"ipc://{folder / SOCKET}")
        self._verdicts: deque[FeedVerdict] = deque(maxlen=_VERDICTS)
        self._pictures: dict[str, FeedPicture] = {}  # the newest of each line

    def __enter__(self) -> FeedClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def subscribe(self, line: str, kind: Kind | None = None) -> None:
        """Reads a line's verdicts, or its pictures, or by default both, from now on; its newest picture comes at once.

        Twice the same needs `unsubscribe` twice.
        """
        self._socket.setsockopt(zmq.SUBSCRIBE, topic_of(line, kind))

    def unsubscribe(self, line: str, kind: Kind | None = None) -> None:
        """Reads them no more."""
        self._socket.setsockopt(zmq.UNSUBSCRIBE, topic_of(line, kind))

    def next(self, timeout_s: float) -> FeedVerdict | FeedPicture | None:
        """What has come, waiting for it at most `timeout_s` seconds: verdicts in their order, and of each line's
        pictures the newest. None: nothing has.

        Raises:
            FeedError: a message of another version.
        """
        end = monotonic() + timeout_s
        while True:
            self._read()
            if self._verdicts:
                return self._verdicts.popleft()
            if self._pictures:
                return self._pictures.pop(next(iter(self._pictures)))
            if (left := end - monotonic()) <= 0:
                return None
            self._socket.poll(int(left * 1000) + 1)

    def close(self) -> None:
        """Ends the connection. It may be called twice."""
        self._context.destroy(0)

    def _read(self) -> None:
        """What has come by now; as much as libzmq keeps at a time, so that it ends."""
        for _ in range(_WAITING):
            try:
                message = read_message(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            if isinstance(message, FeedVerdict):
                self._verdicts.append(message)
            else:
                self._pictures[message.line] = message  # in the place of one that nobody has read: its turn is kept
