"""What a source knows of how a frame was taken."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_WRAP = 1 << 16  # GigE Vision 1 numbers its frames in 16 bits
_BUCKET_S = 10.0
_BUCKETS = 6


@dataclass(frozen=True)
class Exposure:
    """How the frame grabbed last was taken, as far as its source knows."""

    captured: float | None = None
    """When it was exposed, seconds of `edge.clock.monotonic`; None: only its grab is known."""
    number: int | None = None
    """The camera's own number of it; None: it gives none."""
    missed: int = 0
    """Exposures between the frame before and this one, of which nothing came."""
    damage: str | None = None
    """Why it is no whole picture, in words; None: it is one."""


UNKNOWN = Exposure()
"""Of a source that knows nothing of it."""


class FrameNumbers:
    """Tells from the numbers that a camera gives its frames how many of them did not come.

    Numbers of 16 bits begin again after 65535: at 1, as GigE Vision says, or at 0, as some do. Those of USB3 Vision and
    GigE Vision 2 have 64 bits.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def missed(self, number: int | None) -> int | None:
        """How many are missing between the last frame and `number`; None: it does not come after the last.

        A frame whose number was lost, None, is taken to be the next one: where it was not, the one after it tells.
        """
        last, self._last = self._last, number
        if last is None:
            return 0
        if number is None:
            self._last = last + 1 if last != _WRAP - 1 else 1
            return 0
        if number > last:
            return number - last - 1
        if last < _WRAP and last - number > _WRAP // 2:
            return number + (_WRAP if number == 0 else _WRAP - 1) - last - 1
        return None


class DeviceClock:
    """Tells from a camera's own clock when its frames came: of all, the one that was fastest on its way is believed.

    So a frame that lay in a busy network, or waited for a busy machine, is not taken to be younger than it is. The
    clocks may drift: what is older than a minute says nothing.
    """

    def __init__(self) -> None:
        self._offsets: deque[tuple[float, float]] = deque(maxlen=_BUCKETS)  # begin and least difference of each while

    def arrived(self, device_s: float, host_s: float) -> float:
        """When a frame would have come that had nothing in its way, seconds of the host's clock; never after `host_s`.

        Args:
            device_s: What the camera says of when it took it, seconds of any clock that runs steadily.
            host_s: When it came.
        """
        offset = host_s - device_s
        if self._offsets and abs(offset - self._offsets[-1][1]) > _BUCKET_S:
            self._offsets.clear()  # the camera's clock was set, or is none
        if not self._offsets or host_s - self._offsets[-1][0] >= _BUCKET_S:
            self._offsets.append((host_s, offset))
        else:
            begin, least = self._offsets[-1]
            self._offsets[-1] = (begin, min(least, offset))
        return device_s + min(least for _, least in self._offsets)
