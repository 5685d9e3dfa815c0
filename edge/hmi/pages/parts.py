"""A line and its parts as pages show them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.hmi.formats import NOTHING, age_s, number
from edge.hmi.wording import Wording

_LATER = ("starting", "stopping", "stopped", "offline")
_BRIEF = (
    "seq",
    "part_id",
    "issued_at",
    "verdict",
    "error",
    "score",
    "threshold",
    "review",
    "regions",
    "explanation",
)
_BRIEF_STATUS = ("state", "level", "reason", "remedy", "threshold")


@dataclass(frozen=True)
class Picture:
    """A part's picture with its map, as addresses that hold the data themselves.

    Attributes:
        head: As the live feed's: sizes, region and thresholds.
        jpeg: The picture.
        map: Its map, a grey PNG; None where none was kept.
        regions: Of the verdict.
    """

    head: dict[str, Any]
    jpeg: str
    map: str | None
    regions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class LineView:
    """A line, or a part of it, as a page shows it."""

    name: str
    lamp: str
    threshold: float | None
    status: Mapping[str, Any] | None = None
    verdict: Mapping[str, Any] | None = None
    picture: Picture | None = None
    no_picture: str | None = None
    counts: Mapping[str, int] | None = None
    curve: Mapping[str, Any] | None = None
    reasons: tuple[str, ...] = ()
    age_words: str = NOTHING
    state_words: str = NOTHING
    shift_words: str = ""
    rate_words: str = ""

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/lines/{self.name}"

    @property
    def age_s(self) -> str:
        """Seconds since the last verdict; empty where there is none."""
        return "" if self.verdict is None else f"{age_s(self.verdict['issued_at']):.1f}"

    @property
    def brief(self) -> dict[str, Any] | None:
        """Of the verdict what scripts need."""
        return None if self.verdict is None else {name: self.verdict.get(name) for name in _BRIEF}

    @property
    def brief_status(self) -> dict[str, Any]:
        """Of the state what scripts need."""
        return {name: (self.status or {}).get(name) for name in _BRIEF_STATUS}

    @property
    def recipe(self) -> str:
        """By which the line judges."""
        recipe = (self.status or {}).get("recipe") or {}
        return str(recipe.get("name") or recipe.get("pack") or "")

    @property
    def paused(self) -> bool:
        """Whether somebody has paused it."""
        return (self.status or {}).get("state") == "paused"

    @property
    def simulated(self) -> bool:
        """Whether its parts are drawn by the simulation."""
        return bool(self.verdict and self.verdict.get("simulated"))


def with_all_fields(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict of the wire, which leaves out what it has no value for: an error has no score."""
    return dict.fromkeys(_BRIEF) | {"regions": (), "explanation": (), "review": False} | dict(verdict)


def lamp_of_verdict(verdict: Mapping[str, Any]) -> str:
    """What a lamp says of a part."""
    return "review" if verdict.get("review") else str(verdict["verdict"])


def lamp_of(status: Mapping[str, Any] | None, verdict: Mapping[str, Any] | None, *, lost: bool) -> str:
    """What a line's lamp says: its state comes before its last verdict. `live.js` has the same rule."""
    if lost or status is None:
        return "lost"
    if status["state"] in ("paused", "fault"):
        return str(status["state"])
    if status["state"] in _LATER or verdict is None:
        return "waiting"
    return lamp_of_verdict(verdict)


def reasons(verdict: Mapping[str, Any] | None, t: Wording) -> tuple[str, ...]:
    """Why a part is judged as it is, in words. `live.js` has the same."""
    if verdict is None:
        return ()
    if verdict.get("error"):
        return (str(verdict["error"]["message"]),)
    found = []
    for region in verdict.get("regions", ()):
        place = t.or_else(f"live.at_{region['position'].replace(' ', '_')}", region["position"])
        found.append(f"{place}: {region.get('descriptor') or t('live.unlike')} ({number(region['score'])})")
    return tuple(found) or tuple(str(reason["text"]) for reason in verdict.get("explanation", ()))


def age_words(verdict: Mapping[str, Any] | None, t: Wording) -> str:
    """How long ago a verdict was issued."""
    if verdict is None:
        return t("live.no_part")
    seconds = round(age_s(verdict["issued_at"]))
    if seconds < 2:
        return t("live.now")
    if seconds < 120:
        return t("live.seconds_ago", n=seconds)
    if seconds < 7200:
        return t("live.minutes_ago", n=round(seconds / 60))
    return t("live.hours_ago", n=round(seconds / 3600))


def state_words(status: Mapping[str, Any] | None, t: Wording) -> str:
    """The state of a line."""
    return NOTHING if status is None else t.or_else(f"live.state_{status['state']}", status["state"])


def data_address(data: bytes, kind: str) -> str:
    """A picture as an address that holds it; `kind` is `jpeg` or `png`."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
