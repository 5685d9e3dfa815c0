"""The one thread that sends what is behind: for all lines, whatever waits on disk, for room or for its time."""

from __future__ import annotations

import threading
from typing import Protocol

from edge.clock import monotonic
from edge.ops.worker import Worker, Workers

_PATIENCE_S = 30.0


class Sender(Protocol):
    """A line's publisher, as the thread knows it."""

    def look(self) -> float:
        """Sends what may be sent; the seconds until there may be more, if nobody calls `Delivery.wake` before."""


class Delivery:
    """Looks after the publishers of all lines. Any thread may call it."""

    def __init__(self, workers: Workers | None = None) -> None:
        self._lock = threading.Lock()
        self._due: dict[Sender, float] = {}
        self._worker = Worker(workers, "delivery", self._work, patience_s=_PATIENCE_S)
        self._started = False

    def start(self) -> None:
        """Starts the thread; may be called twice."""
        with self._lock:
            started, self._started = self._started, True
        if not started:
            self._worker.start()

    def stop(self) -> None:
        """Ends the thread; may be called twice."""
        self._worker.stop()

    def add(self, sender: Sender) -> None:
        """Looks after one more line."""
        with self._lock:
            self._due[sender] = 0.0
        self._worker.wake()

    def remove(self, sender: Sender) -> None:
        """Looks after it no more; a look that has begun goes on."""
        with self._lock:
            self._due.pop(sender, None)

    def wake(self, sender: Sender) -> None:
        """There is something to do for a line that was added."""
        with self._lock:
            if sender not in self._due:
                return
            self._due[sender] = 0.0
        self._worker.wake()

    def _work(self) -> float | None:
        now = monotonic()
        with self._lock:
            due = [sender for sender, at in self._due.items() if at <= now]
            for sender in due:
                self._due[sender] = float("inf")  # unless it is woken meanwhile
        for sender in due:
            at = monotonic() + sender.look()
            with self._lock:
                if sender in self._due:
                    self._due[sender] = min(self._due[sender], at)
        if self._worker.stopping:
            return None
        with self._lock:
            soonest = min(self._due.values(), default=float("inf"))
        return None if soonest == float("inf") else max(0.0, soonest - monotonic())
