"""Heatmaps and pictures on their way to the broker: no verdict waits for an image."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.image import Rgb, encode_heatmap, encode_jpeg
from edge.messages import Verdict
from edge.mqtt.publisher import Publisher
from edge.ops.alarms import Alarms
from edge.ops.metrics import Metrics
from edge.ops.worker import Worker, Workers
from edge.settings import HeatmapSettings, PictureSettings

if TYPE_CHECKING:
    from core.inspection import Inspection

_NEWEST = 2  # of each line; an older one gives way


@dataclass(frozen=True, eq=False)
class _Heatmap:
    publisher: Publisher
    verdict: Verdict
    inspection: Inspection
    image: Rgb

    def encode(self) -> bytes:
        """PNG, whose text says whose it is."""
        verdict = self.verdict
        text = {"id": verdict.id, "line": verdict.line, "seq": str(verdict.seq)}
        return encode_heatmap(self.inspection.heatmap, text)


class Heatmaps:
    """Encodes and sends the heatmaps of all lines, in a thread that leaves the processor to the others.

    Where it cannot keep up, the newest heatmaps of each line are sent, and the others are counted as `dropped`. Any
    thread may call it.
    """

    def __init__(
        self,
        metrics: Metrics,
        workers: Workers | None = None,
        alarms: Alarms | None = None,
        heatmaps: HeatmapSettings = HeatmapSettings(),
        pictures: PictureSettings = PictureSettings(),
    ) -> None:
        """Starts nothing yet.

        Args:
            metrics: Where heatmaps are counted.
            workers: Who watches the thread.
            alarms: Where it says that a heatmap could not be made.
            heatmaps: Whether heatmaps are sent.
            pictures: Whether and how the pictures are sent.
        """
        self._metrics = metrics
        self._alarms = alarms or Alarms()
        self._heatmaps = heatmaps
        self._pictures = pictures
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[_Heatmap]] = {}  # by line, in the order of their turns
        self._worker = Worker(workers, "heatmaps", self._work, low_priority=True)

    def start(self) -> None:
        """Starts the thread."""
        self._worker.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Takes no more, and sends what waits, within `timeout_s` seconds."""
        self._worker.stop(timeout_s)

    def send(self, publisher: Publisher, verdict: Verdict, inspection: Inspection, image: Rgb) -> None:
        """Takes the heatmap and picture of a verdict that was issued; returns at once.

        Args:
            publisher: The line's.
            verdict: Whom it belongs to.
            inspection: Whose heatmap it is. It is made here, where no verdict waits for it.
            image: The inspected region.
        """
        if not self._heatmaps.enabled and not self._pictures.enabled:
            return
        heatmap = _Heatmap(publisher, verdict, inspection, image)
        with self._lock:
            if self._worker.stopping:
                return
            waiting = self._waiting.setdefault(publisher.line, deque())
            if full := len(waiting) >= _NEWEST:
                waiting.popleft()
            waiting.append(heatmap)
        self._worker.wake()
        if full:
            self._metrics.heatmap(publisher.line, "dropped")

    def _work(self) -> float | None:
        """Sends one; comes again at once until none waits."""
        heatmap = self._next()
        if heatmap is None:
            return None
        line = heatmap.publisher.line
        if self._heatmaps.enabled:
            self._metrics.heatmap(line, "sent" if self._send(heatmap) else "dropped")
        if self._pictures.enabled and heatmap.publisher.connected:
            try:
                jpeg = encode_jpeg(heatmap.image, self._pictures.quality)
            except Exception as error:  # a JPEG has at most 65,535 rows and columns
                self._alarms.count("heatmaps", f"a picture could not be made: {type(error).__name__}: {error}", line)
            else:
                heatmap.publisher.publish_picture(jpeg, heatmap.verdict)
        return 0.0

    def _send(self, heatmap: _Heatmap) -> bool:
        """Whether it was sent."""
        if not heatmap.publisher.connected:
            return False
        try:
            picture = heatmap.encode()
        except Exception as error:  # one that is damaged must not hold up the rest
            message = f"a heatmap could not be made: {type(error).__name__}: {error}"
            self._alarms.count("heatmaps", message, heatmap.publisher.line)
            return False
        return heatmap.publisher.publish_heatmap(picture, heatmap.verdict)

    def _next(self) -> _Heatmap | None:
        """The oldest of the line that has waited longest for its turn."""
        with self._lock:
            if not self._waiting:
                return None
            line = next(iter(self._waiting))
            waiting = self._waiting.pop(line)
            heatmap = waiting.popleft()
            if waiting:
                self._waiting[line] = waiting
            return heatmap
