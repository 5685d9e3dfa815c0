"""What the service asks of the operating system for itself."""

from __future__ import annotations

import ctypes
import os
import sys
import threading

_NICE = 10
_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def step_back() -> None:
    """The calling thread leaves the processor to the others of the machine whenever they want it."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def share_memory() -> None:
    """Has the threads that begin from now on share their heaps.

    Frames are allocated by one thread and freed by another. With a heap for each, as glibc has it for up to eight
    threads a core, every heap keeps the most it ever held, and the process grows for hours.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):  # musl has none
        mallopt(_M_ARENA_MAX, _ARENAS)
