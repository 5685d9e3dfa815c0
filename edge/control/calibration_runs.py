"""Calibrations under way: how far each is, what its parts score, and that somebody calls it off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from edge.clock import utc_now
from edge.storage.history import ScoredPart


class CalibrationRunError(ValueError):
    """A calibration cannot begin, or was called off; the message says by whom."""


class CalibrationRun:
    """One calibration of a line. Any thread may call it."""

    def __init__(self, line: str, who: str, wanted: int) -> None:
        """`wanted`: parts that it waits for; 0 where it takes what there is."""
        self.line = line
        self.who = who
        self.wanted = wanted
        self.began_at: datetime = utc_now()
        self._lock = threading.Lock()  # guards what follows
        self._parts: list[ScoredPart] = []
        self._cancelled_by: str | None = None
        self._settled = False

    def add(self, part: ScoredPart) -> None:
        """One more part was scored."""
        with self._lock:
            self._parts.append(part)

    def parts(self, after: int = 0) -> list[ScoredPart]:
        """The parts so far, without the first `after`."""
        with self._lock:
            return self._parts[after:]

    def cancel(self, who: str) -> None:
        """Has it end without setting anything.

        Raises:
            CalibrationRunError: its threshold is being set.
        """
        with self._lock:
            if self._settled:
                raise CalibrationRunError(
                    f"the calibration of line {self.line} cannot be called off any more: its threshold is being set"
                )
            self._cancelled_by = who

    def settle(self) -> None:
        """From now on nobody calls it off: its threshold is being set. Raises CalibrationRunError: somebody has."""
        with self._lock:
            self._settled = self._cancelled_by is None
        self.go_on()

    def go_on(self) -> None:
        """Raises CalibrationRunError: somebody has called it off."""
        with self._lock:
            who, count = self._cancelled_by, len(self._parts)
        if who is not None:
            raise CalibrationRunError(
                f"the calibration of line {self.line} was called off by {who} after {count} parts; nothing was set"
            )


class CalibrationRuns:
    """At most one of each line. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, CalibrationRun] = {}

    @contextmanager
    def begin(self, line: str, who: str, wanted: int) -> Iterator[CalibrationRun]:
        """A run for as long as the context is open.

        Raises:
            CalibrationRunError: the line has one already.
        """
        run = CalibrationRun(line, who, wanted)
        with self._lock:
            if (other := self._runs.get(line)) is not None:
                raise CalibrationRunError(
                    f"a calibration of line {line} by {other.who} is under way; wait for its end, or call it off: "
                    f"`alfa-edge calibrate --line {line} --cancel`"
                )
            self._runs[line] = run
        try:
            yield run
        finally:
            with self._lock:
                del self._runs[line]

    def of_line(self, line: str) -> CalibrationRun | None:
        """The one that is under way; None: there is none."""
        with self._lock:
            return self._runs.get(line)
