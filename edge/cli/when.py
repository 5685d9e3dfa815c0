"""Points in time as people type and read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from edge.clock import in_utc, utc_now

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_when(text: str) -> datetime:
    """`2026-01-31T06:00` (of this machine's zone, unless it names one), or so long ago: `90s`, `15m`, `2h`, `3d`.

    Raises:
        ValueError: it is neither.
    """
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    try:
        if ago is not None:
            return utc_now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return in_utc(datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()).astimezone()
    except (ValueError, OverflowError, OSError):  # outside the years 1 to 9999, here or in UTC
        raise ValueError(f"{text!r} is no time: write 2026-01-31T06:00, or 90s, 15m, 2h, 3d for so long ago") from None


def local(moment: datetime | str) -> str:
    """A moment as people at this machine read it: `2026-01-31 06:00:00 CET`.

    Args:
        moment: Aware; or ISO 8601 with its zone, as replies have it.
    """
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
