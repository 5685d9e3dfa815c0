"""What the service asks of the operating system for itself."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading

log = logging.getLogger(__name__)

_NICE = 10
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
