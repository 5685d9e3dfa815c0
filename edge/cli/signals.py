"""How the service hears that it has to end, and how a process ends that cannot do so in order."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from edge.ops.threads import end_after

if TYPE_CHECKING:
    from edge.service import Service

_UNDO_S = 1.5  # for undoing what was begun when the service is told to end while it loads
_STOP_S = 9.0  # for an orderly end; each wait in it has a limit of its own, and they seldom add up


def on_signals(handle: Callable[[int, FrameType | None], None]) -> None:
    """Has SIGINT and SIGTERM call `handle`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def end_at_once(_number: int, _frame: FrameType | None) -> None:
    """Nothing was begun that would have to be undone."""
    os._exit(0)


def end(code: int) -> NoReturn:
    """Ends the process though a thread is in native code, or hangs: an ordinary end of Python would wait, or crash."""
    logging.shutdown()
    os._exit(code)


def stop_on_signals(service: Service | None = None) -> threading.Event:
    """An event that SIGINT and SIGTERM set; a second one ends the process at once.

    A `service` that is still loading has `_UNDO_S` seconds to undo what was begun, one that runs has `_STOP_S` seconds
    to stop in order. What is not done by then is as after a power cut: nothing that was issued is lost.
    """
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()
        if service is not None and service.loaded.is_set():
            end_after(_STOP_S, os.EX_SOFTWARE, f"the service did not stop in order within {_STOP_S:g} s, and is ended")
        elif service is not None:
            end_after(_UNDO_S, 0, "the service ends while it loads; not all that was begun could be undone")

    on_signals(handle)
    return stop
