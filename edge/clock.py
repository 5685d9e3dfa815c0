"""The service's two clocks: monotonic seconds for durations, UTC for stamps. Nothing else asks the time."""

from __future__ import annotations

import time
from datetime import datetime, timezone


def monotonic() -> float:
    """Seconds since an arbitrary start; never steps, and is shared by all processes of one machine."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(timezone.utc)


def in_utc(stamp: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: there it lies outside the calendar.
    """
    try:
        return stamp.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999") from None


def iso_ms(stamp: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, as every wire message writes it: `2026-01-31T06:00:00.123Z`."""
    return stamp.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
