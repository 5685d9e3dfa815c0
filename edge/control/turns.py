"""Commands that change one line take turns; those of other lines go on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

TURN_S = 120.0
"""How long a command waits for another one, seconds."""


class LineBusyError(ValueError):
    """Another command changes the line, and takes long."""


class Turns:
    """A turn of each line at a time; the thread that has one may take it again."""

    def __init__(self, patience_s: float = TURN_S) -> None:
        self._patience_s = patience_s
        self._guard = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}

    @contextmanager
    def of(self, line: str) -> Iterator[None]:
        """Waits for the line's turn, and has it for as long as the context is open.

        Raises:
            LineBusyError: the one before has not ended in time.
        """
        with self._guard:
            lock = self._locks.setdefault(line, threading.RLock())
        if not lock.acquire(timeout=self._patience_s):
            waited = f"{self._patience_s:g} s"
            raise LineBusyError(f"line {line} has been changed by another command for {waited}; ask again later")
        try:
            yield
        finally:
            lock.release()
