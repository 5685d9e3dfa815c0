"""Heatmaps on their way to the broker: no verdict waits for a picture."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.image import encode_heatmap
from edge.messages import Verdict
from edge.mqtt.publisher import Publisher
from edge.ops.metrics import Metrics
from edge.ops.systemd import Beat
from edge.ops.threads import step_back

if TYPE_CHECKING:
    from core.alfa import Inspection

_NEWEST = 2  # of each line; an older one gives way


@dataclass(frozen=True, eq=False)
class _Heatmap:
    publisher: Publisher
    text: dict[str, str]
    inspection: Inspection

    def encode(self) -> bytes:
        return encode_heatmap(self.inspection.heatmap, self.text)


class Heatmaps:
    """Encodes and sends the heatmaps of all lines, in a thread that leaves the processor to the others.

    Where it cannot keep up, the newest heatmaps of each line are sent, and the others are counted as `dropped`. Any
    thread may call it.
    """

    def __init__(self, metrics: Metrics, beat: Beat | None = None) -> None:
        self._metrics = metrics
        self._beat = beat or Beat("heatmaps")
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[_Heatmap]] = {}  # by line, in the order of their turns
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="heatmaps", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Takes no more, and sends what waits, within `timeout_s` seconds."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def send(self, publisher: Publisher, verdict: Verdict, inspection: Inspection) -> None:
        """Takes the heatmap of a verdict that was issued; returns at once.

        Args:
            publisher: The line's.
            verdict: Whom it belongs to.
            inspection: Whose heatmap it is. It is made here, where no verdict waits for it.
        """
        text = {"id": verdict.id, "line": verdict.line, "seq": str(verdict.seq)}
        one = _Heatmap(publisher, text, inspection)
        with self._changed:
            if self._stopped:
                return
            waiting = self._waiting.setdefault(one.publisher.line, deque())
            if full := len(waiting) >= _NEWEST:
                waiting.popleft()
            waiting.append(one)
            self._changed.notify()
        if full:
            self._metrics.heatmap(one.publisher.line, "dropped")

    def _run(self) -> None:
        step_back()
        while (one := self._next()) is not None:
            sent = one.publisher.connected and one.publisher.publish_heatmap(one.encode())
            self._metrics.heatmap(one.publisher.line, "sent" if sent else "dropped")
        self._beat.done()  # of one that has failed the watchdog is to notice that it has ended

    def _next(self) -> _Heatmap | None:
        """The oldest of the line that has waited longest for its turn; None at the end."""
        with self._changed:
            self._beat.idle()
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            if not self._waiting:
                return None
            self._beat.touch()
            line = next(iter(self._waiting))
            waiting = self._waiting.pop(line)
            one = waiting.popleft()
            if waiting:
                self._waiting[line] = waiting
            return one
