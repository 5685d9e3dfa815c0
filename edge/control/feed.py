"""The live feed: verdicts, and of the newest parts picture and map, for whoever looks on. No part waits for it."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Any

import zmq

from core.image import encode_heatmap, encode_jpeg, shrunk
from edge.clock import iso_ms, monotonic
from edge.control.feed_messages import SOCKET, Kind, topic_of
from edge.control.relayed_socket import RelayedSocket
from edge.control.zmtp import SubscriptionMeter
from edge.inspection.viewers import ShownPart
from edge.messages import Verdict
from edge.ops.alarms import Alarms
from edge.ops.worker import Worker, Workers

SIDE = 640
"""The most pixels of a picture along its longer side."""

_QUALITY = 80  # of the JPEG
_LOOK_S = 0.1  # between two looks at who has subscribed
_WAITING = 64  # messages that wait for a slow reader, a few MiB; of more the newest are lost to it
_VERDICTS = 16  # of a line that wait for the thread; of more the oldest are lost
_MOST_BYTES = 1024  # of what a reader sends: a subscription
_TURN = 1000  # subscriptions that are read at a time


class Feed:
    """Publishes on `feed.sock` in a folder. Any thread may show it parts; a thread of low priority does the rest.

    Nothing is encoded for a line that nobody is subscribed to. What a reader does not take in time is lost to it, and
    to nobody else. Of each line the newest part is kept, for whoever subscribes until the next one.
    """

    def __init__(self, folder: Path, rate: float, alarms: Alarms | None = None, workers: Workers | None = None) -> None:
        """Opens nothing yet.

        Args:
            folder: Of the socket.
            rate: The most pictures of a line a second.
            alarms: Where it says what it cannot do.
            workers: Watches the two threads. They are not vital: without them the lines judge as before.
        """
        self.path = folder / SOCKET
        self.encoded: Counter[str] = Counter()
        """Pictures that were made, by line."""
        self._interval_s = 1 / rate
        self._alarms = alarms or Alarms()
        self._outside = RelayedSocket(
            self.path, SubscriptionMeter, self._refused, "feed-relay", workers, low_priority=True, vital=False
        )
        self._worker = Worker(workers, "feed", self._work, low_priority=True, vital=False)
        self._lock = threading.Lock()  # guards the next two
        self._newest: dict[str, ShownPart] = {}  # of each line the last that has a picture
        self._verdicts: dict[str, deque[Verdict]] = {}
        self._topics: frozenset[bytes] = frozenset()  # that somebody is subscribed to
        self._shown: dict[str, ShownPart] = {}  # of each line the last whose picture was sent; the thread's
        self._due: dict[str, float] = {}  # when its next picture may be, seconds of `edge.clock.monotonic`

    def start(self) -> None:
        """Opens the socket.

        Raises:
            ConsoleError: it cannot be made there.
        """
        # Each subscription is heard of, not only a topic's first: who comes later is shown the newest part, too.
        options = {zmq.SNDHWM: _WAITING, zmq.MAXMSGSIZE: _MOST_BYTES, zmq.XPUB_VERBOSE: 1}
        self._socket = self._outside.open(zmq.XPUB, options)
        self._worker.start()

    def stop(self) -> None:
        """Closes the socket."""
        self._worker.stop()
        self._outside.close()

    def show(self, part: ShownPart) -> None:
        """Shows a part to those who are subscribed to its line; returns at once."""
        line = part.verdict.line
        with self._lock:
            if part.image is not None:
                self._newest[line] = part
            if not self._topics:
                return
            self._verdicts.setdefault(line, deque(maxlen=_VERDICTS)).append(part.verdict)
        self._worker.wake()

    def _work(self) -> float | None:
        if self._worker.stopping:
            return None
        try:
            more = self._hear()
            self._send_verdicts()
            pause = self._send_picture()
            return 0.0 if more else pause
        except Exception as error:
            message = f"the live feed has ended: {type(error).__name__}: {error}; report it, and restart the service"
            self._alarms.raise_("feed", message)
            raise

    def _hear(self) -> bool:
        """Takes note of who has subscribed, and who no more; whether there may be more to hear."""
        for _ in range(_TURN):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return False
            topic = message[1:]
            if message[:1] == b"\1":
                self._topics |= {topic}
                for line in [line for line in self._shown if topic_of(line, "picture").startswith(topic)]:
                    del self._shown[line]
            else:
                self._topics -= {topic}
        return True

    def _wanted(self, line: str, kind: Kind) -> bool:
        topic = topic_of(line, kind)
        return any(topic.startswith(subscribed) for subscribed in self._topics)

    def _send_verdicts(self) -> None:
        with self._lock:
            waiting, self._verdicts = self._verdicts, {}
        for line, verdicts in waiting.items():
            if self._wanted(line, "verdict"):
                for verdict in verdicts:
                    self._socket.send_multipart([topic_of(line, "verdict"), verdict.to_json()])

    def _send_picture(self) -> float:
        """Sends the picture that has waited longest for its turn; the seconds until there is something to do."""
        with self._lock:
            newest = tuple(self._newest.items())
        now = monotonic()
        new = [
            (self._due.get(line, 0.0), line, part)
            for line, part in newest
            if part is not self._shown.get(line) and self._wanted(line, "picture")
        ]
        if not new:
            return _LOOK_S
        due, line, part = min(new, key=lambda each: each[0])
        if due > now:
            return min(due - now, _LOOK_S)
        self._due[line] = now + self._interval_s
        self._shown[line] = part
        try:
            parts = _encoded(part)
        except Exception as error:  # one that is damaged must not hold up the rest
            message = f"a picture could not be made: {type(error).__name__}: {error}"
            self._alarms.count("feed", message, line, about="picture")
            return 0.0
        self.encoded[line] += 1
        self._socket.send_multipart([topic_of(line, "picture"), *parts])
        return 0.0

    def _refused(self, why: str) -> None:
        self._alarms.count("messages_refused", f"the feed has ended a connection: {why}", about="feed")


def _encoded(part: ShownPart) -> tuple[bytes, bytes, bytes]:
    """Head, JPEG and map of a part that has a picture."""
    verdict, camera, patch_map = part.verdict, part.verdict.camera, part.patch_map
    assert part.image is not None
    image = shrunk(part.image, SIDE)
    height, width = part.image.shape[:2]
    frame = (width, height) if camera is None else (camera.width, camera.height)
    head: dict[str, Any] = {
        "line": verdict.line,
        "seq": verdict.seq,
        "id": verdict.id,
        "issued_at": iso_ms(verdict.issued_at),
        "verdict": verdict.verdict,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "width": image.shape[1],
        "height": image.shape[0],
        "frame": frame,
        "region": None if (width, height) == frame else (*part.corner, width, height),
        "map": None if patch_map is None else patch_map.shape,
        "pixel_threshold": part.pixel_threshold,
    }
    map_png = b"" if patch_map is None else encode_heatmap(patch_map)
    return json.dumps(head).encode(), encode_jpeg(image, _QUALITY), map_png
