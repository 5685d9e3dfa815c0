"""How long a pass takes, as far as the recent ones tell."""

from __future__ import annotations

from collections import deque

_RECENT = 16  # passes of a size that are remembered
_HIGH = 0.9  # the quantile that a cautious guess begins from: two slow passes of sixteen do not count
_GAIN = 0.98  # what a frame has to cost in the larger pass, of what it costs in the smaller one: else it only waits
_FORGET_S = 30.0  # a size that was not seen for so long is as if it were never seen


class _Recent:
    """The recent passes of one size."""

    def __init__(self) -> None:
        self.durations: deque[float] = deque(maxlen=_RECENT)
        self.latest = 0.0
        self.typical = self.cautious = 0.0

    def note(self, seconds: float, now: float) -> None:
        self.durations.append(seconds)
        self.latest = now
        ordered = sorted(self.durations)
        last = len(ordered) - 1
        usual = ordered[: int(_HIGH * last) + 1]
        high = usual[-1]
        self.typical = sum(usual) / len(usual)
        self.cautious = 2 * high - self.typical


class PassTimes:
    """The duration of a pass by its number of frames. All in seconds; 0 while nothing is known. For one thread.

    A tile counts as a frame: it costs as much.

    A size that was not measured is guessed from the others: each further frame costs half as much as the first,
    until it is measured; and fewer frames never take longer.

    Where a method looks again at some frames, nobody knows before of which: a cautious guess is that of a pass in which
    it did, as far as there were any.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, _Recent] = {}
        self._again: dict[int, _Recent] = {}  # of passes in which a frame was looked at again

    def note(self, frames: int, seconds: float, now: float, *, again: bool = False) -> None:
        """A pass of `frames` frames has taken `seconds`, and has ended at `now`; `again`: with a second look."""
        for size in [size for size, recent in self._sizes.items() if now - recent.latest > _FORGET_S]:
            del self._sizes[size]
        self._sizes.setdefault(frames, _Recent()).note(seconds, now)
        if again:
            self._again.setdefault(frames, _Recent()).note(seconds, now)

    def forget(self) -> None:
        """What is known holds no more."""
        self._sizes.clear()
        self._again.clear()

    def typical(self, frames: int) -> float:
        """What a pass of `frames` frames takes on average, without the few slowest."""
        return self._guess({size: recent.typical for size, recent in self._sizes.items()}, frames)

    def cautious(self, frames: int) -> float:
        """What a pass of `frames` frames seldom exceeds; one pass in sixteen that was slow does not change it."""
        usual, again = (
            self._guess({size: recent.cautious for size, recent in sizes.items()}, frames)
            for sizes in (self._sizes, self._again)
        )
        return max(usual, again)

    def gains(self, frames: int, before: int) -> bool:
        """Whether each frame costs less in a pass of `frames` frames than in one of `before`, which are fewer; or
        unknown.
        """
        return not self._sizes or self.typical(frames) * before < _GAIN * self.typical(before) * frames

    def _guess(self, known: dict[int, float], frames: int) -> float:
        if frames in known:
            return known[frames]
        larger = [known[size] for size in known if size > frames]
        smaller = max((size for size in known if size < frames), default=None)
        if smaller is not None:
            larger.append(known[smaller] * (1 + frames / smaller) / 2)
        return min(larger, default=0.0)
