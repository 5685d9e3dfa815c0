"""The service's threads: each does piece after piece of its work; one that stands still or fails is noticed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from edge.clock import monotonic
from edge.ops.alarms import Alarms
from edge.ops.threads import step_back

log = logging.getLogger(__name__)

PATIENCE_S = 60.0
"""A piece of a thread's work may take so many seconds, where the thread asks for no other limit."""
STOP_S = 5.0
"""A thread that is to end is waited for so many seconds, where nothing else is said: the process has to end."""

_HOPELESS = 2.0  # a standstill of so many times the patience will not end by itself


class ServiceFailedError(RuntimeError):
    """The service has ended by itself, as a thread that it cannot do without has failed; the message names it."""


class Watched(Protocol):
    """A thread that has to make progress."""

    name: str
    vital: bool
    """Whether the service is of no use without it."""

    def stalled(self) -> str | None:
        """Why it makes no progress, in words; None when it does."""
        ...

    def hopeless(self) -> bool:
        """Whether it has made none for so long that it will not any more."""
        ...


class Workers:
    """All worker threads of one service. Any thread may ask it."""

    def __init__(self, alarms: Alarms | None = None, on_failure: Callable[[], None] = lambda: None) -> None:
        """Watches nothing yet.

        Args:
            alarms: Where a thread tells that it could not be given a lower priority.
            on_failure: Called, in any thread, after `failed` was set.
        """
        self.alarms = alarms or Alarms()
        self.failed = threading.Event()
        """Set when a thread has ended by an exception: the service can keep its promises no more, and has to end."""
        self.failure: str | None = None
        """Which thread failed first, and why."""
        self._workers: list[Watched] = []
        self._on_failure = on_failure

    def add(self, worker: Watched) -> None:
        """One more thread that has to make progress."""
        self._workers.append(worker)

    def stalled(self) -> str | None:
        """Which vital threads stand still, in words; None when none does."""
        found = [worker.stalled() for worker in tuple(self._workers) if worker.vital]
        return "; ".join(reason for reason in found if reason) or None

    def hopeless(self) -> str | None:
        """Which vital threads have stood still for too long to go on, in words; None when none has."""
        found = [worker.stalled() for worker in tuple(self._workers) if worker.vital and worker.hopeless()]
        return "; ".join(reason for reason in found if reason) or None

    def stalled_names(self) -> list[str]:
        """The names of all threads that stand still."""
        return [worker.name for worker in tuple(self._workers) if worker.stalled()]

    def fail(self, failure: str) -> None:
        """A vital thread has ended by an exception."""
        self.failure = self.failure or failure
        self.failed.set()
        self._on_failure()


class Worker:
    """A thread that calls `work` again and again.

    `work` does what there is to do and returns the seconds until it wants to be called again; None: not before `wake`.
    After `stop` it is called until it returns None. An exception of it ends the thread and is told to `workers`.

        worker = Worker(workers, "archive", archive.write_some)
        worker.start()
        worker.wake()          # there is something to do
        worker.stop()
    """

    def __init__(
        self,
        workers: Workers | None,
        name: str,
        work: Callable[[], float | None],
        *,
        patience_s: float = PATIENCE_S,
        low_priority: bool = False,
        vital: bool = True,
    ) -> None:
        """Starts nothing yet.

        Args:
            workers: Who watches it; None: nobody, as in a tool or test.
            name: Of the thread.
            work: Its work, called in the thread only.
            patience_s: One call of `work` that takes longer counts as a standstill.
            low_priority: Whether the thread leaves the processor to the others.
            vital: Whether the service has to end when the thread fails or stands still.
        """
        self.name = name
        self.vital = vital
        self.failure: BaseException | None = None
        """What ended the thread."""
        self._workers = workers
        self._work = work
        self._patience_s = patience_s
        self._low_priority = low_priority
        self._changed = threading.Condition()
        self._woken = self._stopping = False
        self._busy_since: float | None = None
        self._running = False  # between the thread's begin and its regular end
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        if workers is not None:
            workers.add(self)

    @property
    def stopping(self) -> bool:
        """Whether `stop` or `halt` was called; what comes after that is not to be begun."""
        return self._stopping

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller is this thread."""
        return threading.current_thread() is self._thread

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to do; returns at once. Calls before the start count."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def halt(self) -> None:
        """Has the thread end when its work is done; returns at once."""
        with self._changed:
            self._stopping = self._woken = True
            self._changed.notify()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """Has the thread end when its work is done, and waits; whether it ended within `timeout_s` seconds.

        May be called twice, or without a start; then nothing is done any more.
        """
        self.halt()
        if self._thread.is_alive() and not self.is_current:
            self._thread.join(max(0.0, timeout_s))
            if self._thread.is_alive():
                log.error("the thread %s has not ended within %.1f s, and is left behind", self.name, timeout_s)
        return not self._thread.is_alive()

    def stalled(self) -> str | None:
        """Why it makes no progress, in words; None when it does, has not begun, or has ended as it should."""
        if self._running and not self._thread.is_alive():
            return f"{self.name}: its thread has ended"
        if (silent := self._silent_s()) > self._patience_s:
            return f"{self.name}: no progress for {silent:.0f} s"
        return None

    def hopeless(self) -> bool:
        """Whether it has stood still for twice its patience."""
        return self._silent_s() > _HOPELESS * self._patience_s

    def _silent_s(self) -> float:
        since = self._busy_since  # once: the thread goes on meanwhile
        return 0.0 if since is None else monotonic() - since

    def _run(self) -> None:
        self._running = True
        if self._low_priority and (refusal := step_back()) is not None:
            alarms = self._workers.alarms if self._workers is not None else Alarms()
            alarms.raise_(
                "priority", f"the thread {self.name} keeps its priority: the kernel says {refusal}", about=self.name
            )
        try:
            self._loop()
        except BaseException as error:
            self.failure = error
            log.critical("the thread %s has failed: %s: %s", self.name, type(error).__name__, error, exc_info=True)
            if self._workers is not None and self.vital:
                self._workers.fail(f"the thread {self.name} has failed: {type(error).__name__}: {error}")
            return  # still `_running`: who watches it sees that it has ended
        self._busy_since, self._running = None, False

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._woken = False
                stopping = self._stopping
            self._busy_since = monotonic()
            pause = self._work()
            self._busy_since = None
            with self._changed:
                if pause is None and stopping:
                    return
                self._changed.wait_for(lambda: self._woken, pause)
