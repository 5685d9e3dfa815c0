"""The wall clock of the people at the line: which zone it is in, and which shift it is there."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, time, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NO_SHIFT = "all"
"""What the one shift is called where there are none."""


def check_zone(name: str) -> str:
    """`name`, which is a zone that this machine knows, as `Europe/Berlin`.

    Raises:
        ValueError: it knows no such zone.
    """
    zone_of(name)
    return name


def zone_of(name: str | None) -> tzinfo | None:
    """The zone of a name; None, which `datetime.astimezone` takes for the machine's, where there is no name.

    Raises:
        ValueError: this machine knows no such zone.
    """
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # also of a path that leads elsewhere
        remedy = "`timedatectl list-timezones` lists them; without any, install the package tzdata"
        raise ValueError(f"{name!r} is no time zone of this machine, as Europe/Berlin is one; {remedy}") from None


def machine_zone(link: Path = Path("/etc/localtime")) -> str | None:
    """The name of the machine's zone, as the C library finds it; None where it has none, as a rule in `$TZ` has none.

    Args:
        link: What the machine's zone is a link to, where `$TZ` does not name it.
    """
    told = os.environ.get("TZ", "").removeprefix(":")
    if told:
        name = told
    elif not link.exists() and not link.is_symlink():
        name = "UTC"
    else:
        _, found, name = os.path.realpath(link).rpartition("/zoneinfo/")
        if not found:
            return None
    try:
        return check_zone(name)
    except ValueError:
        return None


class Shifts:
    """When shifts begin, on each day.

    shifts = Shifts(("06:00", "14:00", "22:00"))
    shifts.of(datetime(2026, 1, 31, 3, 15))  # "22:00"
    """

    def __init__(self, starts: Sequence[str]) -> None:
        """`starts`: 24-hour times, rising; none: there are no shifts.

        Raises:
            ValueError: one is no time, or they do not rise.
        """
        self._starts = [_time(start) for start in starts]
        self.names = tuple(starts) or (NO_SHIFT,)
        """What the shifts are called: by their beginning."""
        if any(later <= earlier for earlier, later in zip(self._starts, self._starts[1:], strict=False)):
            raise ValueError(f"shifts {', '.join(starts)}: write them in the order of the day, each once")

    def of(self, local: datetime) -> str:
        """The name of the shift at a local time; before the day's first one it is the last of the day before."""
        if not self._starts:
            return NO_SHIFT
        return self.names[bisect_right(self._starts, local.time()) - 1]

    def began(self, now: datetime, zone: tzinfo | None) -> datetime:
        """When the shift of a moment began, aware; where there are no shifts, the day.

        Args:
            now: Aware.
            zone: Of the shifts; None: the machine's.
        """
        local = now.astimezone(zone)
        starts = self._starts or [time()]
        place = bisect_right(starts, local.time()) - 1
        day = local.date() if place >= 0 else local.date() - timedelta(days=1)
        wall = datetime.combine(day, starts[place])
        return wall.astimezone() if zone is None else wall.replace(tzinfo=zone)


def check_shifts(starts: tuple[str, ...]) -> tuple[str, ...]:
    """`starts`, if `Shifts` takes them.

    Raises:
        ValueError: it does not.
    """
    Shifts(starts)
    return starts


def _time(text: str) -> time:
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text) is None:
        raise ValueError(f"shift {text!r} is no time of day: write 06:00, with 24 hours")
    return time.fromisoformat(text)
