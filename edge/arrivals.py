"""When the next frames are to be expected, as far as the recent ones tell."""

from __future__ import annotations

from collections import deque

_RECENT = 32  # gaps between frames of a line that are remembered; of so many the smallest does not count
_OVERDUE = 4.0  # a line whose next frame is overdue by so many of its usual gaps has stopped,
_OVERDUE_S = 10.0  # and by so many seconds in any case


class _Rhythm:
    """The recent frames of one line."""

    def __init__(self) -> None:
        self.gaps: deque[float] = deque(maxlen=_RECENT)
        self.last = 0.0
        self.slack = 0.0

    def note(self, now: float, slack: float) -> None:
        if self.last:
            self.gaps.append(now - self.last)
        self.last, self.slack = now, slack

    def expected(self) -> tuple[float, float]:
        """From when on the next frame may come, and when the line has stopped if none has come."""
        gaps = sorted(self.gaps)
        if not gaps:  # the second frame of all: nobody knows
            return self.last, self.last
        early = self.last + gaps[len(gaps) // _RECENT]
        return early, early + min(_OVERDUE * gaps[len(gaps) // 2], _OVERDUE_S)


class Arrivals:
    """The rhythm of each line: where between two of its frames there is time for what is in no hurry.

    A line that sends frames regularly leaves the time until the next one. One that sends them at random leaves little.
    A line whose next frame is long overdue has stopped, and leaves all of the time. All in seconds of
    `edge.clock.monotonic`. Guarded by its owner's lock.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Rhythm] = {}

    def note(self, line: str, now: float, slack: float) -> None:
        """A frame has come; `slack`: how much later it could have been judged."""
        self._lines.setdefault(line, _Rhythm()).note(now, slack)

    def wait(self, now: float, takes: float) -> float | None:
        """How long something that takes so long has to wait, if no frame comes meanwhile.

        Returns:
            0.0: it may begin, and ends before the next frame is to be expected. None: frames would be late even so.
        """
        longest = 0.0
        for rhythm in self._lines.values():
            if takes > rhythm.slack:
                return None
            early, stopped = rhythm.expected()
            if now + takes > early:
                longest = max(longest, stopped - now)
        return longest
