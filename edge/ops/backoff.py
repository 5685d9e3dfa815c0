"""Pauses between attempts."""

from __future__ import annotations


class Backoff:
    """Pauses that double from `first` to `last` seconds, until a success."""

    def __init__(self, first: float, last: float) -> None:
        self._first = min(first, last)
        self._last = last
        self._pause = self._first

    def fail(self) -> float:
        """The pause after one more failure, seconds."""
        pause, self._pause = self._pause, min(self._pause * 2, self._last)
        return pause

    def succeed(self) -> None:
        """The next pause is the first again."""
        self._pause = self._first
