"""How pages write times, shares and numbers."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from markupsafe import Markup

from edge.clock import utc_now
from edge.zone import zone_of

_EMPTY: tuple[Any, ...] = (None, "", [], (), {})
NOTHING = "–"
"""In the place of a value that there is not."""


def parsed(stamp: str) -> datetime:
    """A stamp of the wire."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def local(stamp: str | datetime | None, zone: str | None) -> str:
    """A stamp on the clock of the people at the line, as `2026-01-31 06:00:00`."""
    if stamp is None:
        return NOTHING
    moment = parsed(stamp) if isinstance(stamp, str) else stamp
    return moment.astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M:%S")


def from_local(text: str, zone: str | None) -> datetime | None:
    """What a person has typed as a local time, in UTC; None: nothing that is one, or not within its years."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and (known := zone_of(zone)) is not None:
            moment = moment.replace(tzinfo=known)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def age_s(stamp: str) -> float:
    """Seconds since a stamp of the wire; a clock that was set back makes it no younger than new."""
    return max(0.0, (utc_now() - parsed(stamp)).total_seconds())


def number(value: float | None, digits: int = 3) -> str:
    """A score or threshold."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in [0, 1]."""
    return NOTHING if share is None else f"{100 * share:.3g} %"


def size(count: float | None) -> str:
    """Bytes, as `1.5 GB`."""
    if count is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def coded(text: str) -> Markup:
    """A sentence of the service, whose commands stand between backticks, for a page."""
    parts = str(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def pretty(value: Any) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def in_one_line(value: Any) -> str:
    """JSON's values as short as can be, without what is empty: `line=wood-1, shots=4`."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={in_one_line(inner)}" for name, inner in value.items() if inner not in _EMPTY)
    if isinstance(value, (list, tuple)):
        return " ".join(in_one_line(inner) for inner in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
