"""Puts together what pages show of a line: its state, its newest part, its shift, its curve."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request

from edge.clock import iso_ms, utc_now
from edge.hmi.formats import NOTHING, local, number, parsed
from edge.hmi.pages.page import Found, find, status_of, wording_of, zone_name
from edge.hmi.pages.parts import (
    LineView,
    Picture,
    age_words,
    data_address,
    lamp_of,
    lamp_of_verdict,
    reasons,
    state_words,
    with_all_fields,
)
from edge.hmi.wording import Wording

CURVE_S = 600
"""How far back a line's curve goes, seconds."""
_CURVE_BUCKETS = 120
_STRIP = 12
THUMB = 220
"""Long side of small pictures, pixels."""


async def line_view(request: Request, name: str) -> LineView:
    """A line as the wall and its own page show it."""
    t, status = wording_of(request), status_of(request).get(name)
    newest, counted, curve = await asyncio.gather(
        newest_part(request, name), find(request, "shift_counts", {"line": name}), recent_curve(request, name)
    )
    verdict = with_all_fields(newest.result["verdict"]) if newest.result else None
    known = request.app.state.link.status()
    return LineView(
        name=name,
        lamp=lamp_of(status, verdict, lost=known is None or known.lost),
        threshold=(status or {}).get("threshold") if verdict is None else verdict["threshold"],
        status=status,
        verdict=verdict,
        picture=picture_of(newest),
        counts=counts_of(counted),
        curve=curve,
        reasons=reasons(verdict, t),
        age_words=age_words(verdict, t),
        state_words=state_words(status, t),
        **shift_words(counted, t, zone_name(request)),
    )


async def counted_view(request: Request, name: str) -> LineView:
    """Of a line what it has counted in this shift."""
    counted = await find(request, "shift_counts", {"line": name})
    return LineView(name, "waiting", None, counts=counts_of(counted), **shift_words(counted, wording_of(request), None))


def counts_of(counted: Found) -> dict[str, int] | None:
    """Parts of each kind in this shift."""
    if counted.result is None:
        return None
    found: dict[str, int] = counted.result["counts"]
    return found


def shift_words(counted: Found, t: Wording, zone: str | None) -> dict[str, Any]:
    """Since when is counted, and how many parts a minute there are."""
    if counted.result is None:
        return {"shift_words": t("wall.today"), "rate_words": NOTHING}
    rate = counted.result["per_minute"]
    return {
        "shift_words": t("wall.shift", start=local(counted.result["since"], zone)[11:16]),
        "rate_words": t("wall.rate", rate=f"{rate:.3g}") if rate else t("wall.no_rate"),
    }


async def newest_part(request: Request, name: str) -> Found:
    """The newest part of a line with its pictures, as the command `verdict` has it."""
    found = await find(request, "history", {"line": name, "count": 1})
    if not found.result or not found.result["verdicts"]:
        return Found(refusal=found.refusal)
    return await find(request, "verdict", {"line": name, "seq": found.result["verdicts"][0]["seq"]})


def picture_of(found: Found) -> Picture | None:
    """The picture and the map of an answer of the command `verdict`; None where no picture is kept."""
    if found.result is None:
        return None
    blobs = dict(zip(found.result["blobs"], found.blobs, strict=True))
    if "picture" not in blobs:
        return None
    verdict = with_all_fields(found.result["verdict"])
    camera, inspected = verdict.get("camera"), verdict.get("heatmap")
    # What the verdict names was at or above the threshold of then, which it does not say.
    border = min(
        found.result["pixel_threshold"] or verdict["threshold"],
        *(region["score"] for region in verdict.get("regions", ())),
        1.0,
    )
    head = {
        "seq": verdict["seq"],
        "pixel_threshold": border,
        "frame": [camera["width"], camera["height"]] if camera else None,
        "region": [inspected[name] for name in ("x", "y", "width", "height")] if inspected else None,
    }
    return Picture(
        head=head,
        jpeg=data_address(blobs["picture"], "jpeg"),
        map=data_address(blobs["map"], "png") if "map" in blobs else None,
        regions=verdict.get("regions", ()),
    )


async def recent_curve(request: Request, name: str) -> dict[str, Any]:
    """Score and threshold of a line over the last minutes."""
    until = utc_now()
    curve = await curve_of(request, name, until - timedelta(seconds=CURVE_S), until, _CURVE_BUCKETS, share=False)
    return curve | {"window_s": CURVE_S}


async def curve_of(
    request: Request, name: str, since: datetime, until: datetime, buckets: int, *, share: bool
) -> dict[str, Any]:
    """Score, threshold and, with `share`, the share of NG of a line over a stretch of time, for `curves.js`."""
    t = wording_of(request)
    stretch = {"line": name, "since": iso_ms(since), "until": iso_ms(until), "buckets": buckets}
    found = await find(request, "trend", stretch)
    rows: Sequence[Mapping[str, Any]] = [] if found.result is None else found.result["buckets"]
    filled = [row for row in rows if row.get("normal", 0) + row.get("anomaly", 0) + row.get("error", 0)]
    curve: dict[str, Any] = {
        "names": {name: t(f"history.curve_{name}") for name in ("time", "score", "threshold", "share")},
        "at": [parsed(row["since"]).timestamp() for row in filled],
        "score": [row["score_median"] for row in filled],
        "threshold": [row["threshold"] for row in filled],
    }
    if share:
        curve["share"] = [
            None if not row["normal"] + row["anomaly"] else 100 * row["anomaly"] / (row["normal"] + row["anomaly"])
            for row in filled
        ]
    return curve


async def tiles_of(request: Request, name: str, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Parts of the history, each with a small picture where one is kept."""
    t, thumbs = wording_of(request), {}
    pictured = [entry["seq"] for entry in entries if entry.get("archive")]
    if pictured:
        found = await find(request, "thumbnails", {"line": name, "seqs": pictured, "size": THUMB})
        if found.result is not None:
            thumbs = dict(zip(found.result["seqs"], found.blobs, strict=False))
    return [tile_of(entry, thumbs.get(entry["seq"]), t) for entry in entries]


def tile_of(entry: Mapping[str, Any], thumb: bytes | None, t: Wording) -> dict[str, Any]:
    """A part of the history as its tile shows it."""
    lamp = lamp_of_verdict(entry)
    place = entry.get("position")
    found = [t.or_else(f"live.at_{place.replace(' ', '_')}", place)] if place else []
    words = " · ".join(dict.fromkeys(found + [str(entry[name]) for name in ("defect", "reason") if entry.get(name)]))
    feedback = entry.get("feedback") or {}
    return {
        **{name: entry.get(name) for name in ("line", "seq", "issued_at", "score", "threshold", "part_id")},
        "path": f"/history/{entry['line']}/{entry['seq']}",
        "lamp": lamp,
        "words": words if lamp != "normal" else "",
        "score_words": number(entry["score"]) if entry.get("score") is not None else t(f"live.lamp_{lamp}"),
        "thumb": None if thumb is None else data_address(thumb, "jpeg"),
        "alt": t("history.picture_of", n=entry["seq"], line=entry["line"], verdict=t(f"live.lamp_{lamp}")),
        "feedback": feedback.get("kind") if isinstance(feedback, Mapping) else feedback,
        "can_say": entry["verdict"] != "error",
        "in_spite": "",
        "notice": None,
    }


async def strip_of(request: Request, name: str) -> list[dict[str, Any]]:
    """The last parts of a line that were NG."""
    found = await find(request, "history", {"line": name, "kinds": ["anomaly"], "count": _STRIP})
    return await tiles_of(request, name, found.result["verdicts"]) if found.result else []
