"""What the service asks of the operating system for itself."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

_NICE = 10
_LOOK_S = 0.02  # between two looks whether work has ended
_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def step_back() -> str | None:
    """The calling thread leaves the processor to the others of the machine whenever they want it.

    A thread that leaves it to others already, as the service was started with `nice`, stays as it is: only root may
    raise a priority, and nobody asked for that.

    Returns:
        Why the kernel refuses it; None where it does not.
    """
    if sys.platform != "linux":  # elsewhere a thread has no priority of its own
        return None
    thread = threading.get_native_id()
    try:
        if os.getpriority(os.PRIO_PROCESS, thread) < _NICE:
            os.setpriority(os.PRIO_PROCESS, thread, _NICE)
    except OSError as error:
        return error.strerror or str(error)
    return None


class Loading:
    """Work that cannot be interrupted, in a thread, while the caller hears when it is told to stop.

    A signal reaches Python code only between two native calls of the main thread, which may take minutes.
    """

    def __init__(self, work: Callable[[], None], undo: Callable[[], None]) -> None:
        """Begins.

        Args:
            work: The work.
            undo: Called in the thread after work that was given up, with whatever came of it.
        """
        self._work = work
        self._undo = undo
        self._error: BaseException | None = None
        self._given_up = False
        self._ended = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="start", daemon=True)
        self._thread.start()

    def wait(self, stop: threading.Event) -> bool:
        """Waits for the work, or until `stop` is set: then the work is given up, and goes on without the caller.

        Returns:
            Whether the work is done.

        Raises:
            BaseException: what the work has raised.
        """
        while self._thread.is_alive() and not stop.wait(_LOOK_S):
            pass
        with self._lock:
            self._given_up = not self._ended
        if self._error is not None:
            raise self._error
        return not self._given_up

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._work()
        except BaseException as found:
            error = found
        with self._lock:
            self._ended, self._error = True, error
        if self._given_up:
            self._undo()


def end_after(seconds: float, code: int, why: str) -> threading.Timer:
    """Ends the process with exit code `code` after `seconds`, whatever it does by then, unless `cancel` is called."""

    def end() -> None:
        log.critical("%s", why)
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


def share_memory() -> None:
    """Has the threads that begin from now on share their heaps.

    Frames are allocated by one thread and freed by another. With a heap for each, as glibc has it for up to eight
    threads a core, every heap keeps the most it ever held, and the process grows for hours.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):  # musl has none
        mallopt(_M_ARENA_MAX, _ARENAS)
