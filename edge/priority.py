"""Who comes first on a busy machine: verdicts, then their pictures."""

from __future__ import annotations

import os
import sys
import threading

_NICE = 10


def step_back() -> None:
    """The calling thread leaves the processor to the others of the machine whenever they want it."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
