"""The process's descriptors: as many as the system grants it, and an alarm before they are short."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from edge.ops.alarms import Alarms

MOST = 1024
"""Numbers that a connection to the broker may have: paho waits by select(), which takes no higher ones."""
SHARE = 0.8
"""So much of them may be in use; beyond it there is an alarm, and strangers get none."""
_IN_USE = Path("/proc/self/fd")


def raise_limit() -> None:
    """Has the process, and those that it starts, take as many as they may: libzmq ends a process that has none left."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def is_spare(descriptor: int) -> bool:
    """Whether a stranger's connection may keep its descriptor: the kernel gives the lowest number that is free."""
    return descriptor < SHARE * _limit()


def look_at_descriptors(alarms: Alarms) -> None:
    """Raises the alarm while they are short; to be called now and then."""
    limit = _limit()
    try:
        in_use = sum(1 for _ in _IN_USE.iterdir())
    except OSError:  # even looking takes one
        in_use = limit
    short = (
        f"more than {SHARE:.0%} of {limit} descriptors are in use; without any the service ends: "
        f"see whose they are (`ls -l /proc/{os.getpid()}/fd`), end that, or restart the service"
    )
    alarms.set("descriptors", short if in_use > SHARE * limit else None)


def _limit() -> int:
    granted, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if granted == resource.RLIM_INFINITY else min(MOST, granted)
