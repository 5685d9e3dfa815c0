"""Small pictures for those who look: made one after the other, in a thread that leaves the processor to the lines."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future

from edge.ops.worker import Worker


class PreviewsBusyError(ValueError):
    """A picture was not made in time."""


class Previews:
    """Has pictures decoded, made smaller and encoded. Any thread may ask; the thread is begun when it is needed."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], bytes], Future[bytes]]] = queue.SimpleQueue()
        self._worker = Worker(None, "previews", self._work, low_priority=True, vital=False)
        self._beginning = threading.Lock()

    def make(self, job: Callable[[], bytes], timeout_s: float) -> bytes:
        """What `job` makes. Its exceptions are the caller's.

        Raises:
            PreviewsBusyError: it took longer than `timeout_s` seconds, with those before it.
        """
        made: Future[bytes] = Future()
        self._jobs.put((job, made))
        with self._beginning:
            if not self._worker.alive:
                self._worker.start()
        self._worker.wake()
        try:
            return made.result(max(0.0, timeout_s))
        except concurrent.futures.TimeoutError:
            made.cancel()
            raise PreviewsBusyError(f"no picture within {timeout_s:.0f} s: others wait for theirs; ask again") from None

    def _work(self) -> float | None:
        try:
            job, made = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if made.set_running_or_notify_cancel():
            try:
                made.set_result(job())
            except Exception as error:  # whoever asked is told
                made.set_exception(error)
        return 0.0
