"""The history: parts of the past, by filters, with small pictures, a curve and an export."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from edge.clock import utc_now
from edge.hmi.formats import local, parsed
from edge.hmi.pages.history_filters import Asked
from edge.hmi.pages.line_views import curve_of, tiles_of
from edge.hmi.pages.page import find, page, status_of, view, zone_name
from edge.hmi.person import Person
from edge.storage.spreadsheet import cell

router = APIRouter()
_PAGE = 24
_EXPORTED = 10_000
_BUCKETS = 200
_COLUMNS = (
    "line",
    "seq",
    "id",
    "issued_at",
    "issued_local",
    "mode",
    "part_id",
    "verdict",
    "error_code",
    "score",
    "threshold",
    "provisional",
    "recipe",
    "defect",
    "position",
    "reason",
    "feedback",
    "total_ms",
    "simulated",
)


@router.get("/history")
async def show(request: Request, person: Person = Depends(view)) -> Response:
    """Parts that fit the filters, the newest first."""
    lines, zone = list(status_of(request)), zone_name(request)
    asked = Asked.of(request.query_params, lines)
    values: dict[str, Any] = {"tiles": [], "curve": None, "older": None, "newest": None, "refusal": None}
    if asked.line:
        found = await find(request, "history", asked.arguments(zone, _PAGE))
        values["refusal"] = found.refusal
        if found.result is not None:
            entries = found.result["verdicts"]
            values["tiles"] = await tiles_of(request, asked.line, entries)
            values["curve"] = await _curve(request, asked, entries)
            before = found.result.get("before_seq")
            values["older"] = None if before is None else f"/history?{asked.query(before)}"
            values["newest"] = f"/history?{asked.query()}" if asked.before_seq is not None else None
    return page(request, "history.html", "history", lines=lines, asked=asked, query=asked.query(), **values)


@router.get("/history.csv")
async def export(request: Request, person: Person = Depends(view)) -> Response:
    """What the filters choose, as a file for other programs."""
    zone = zone_name(request)
    asked = Asked.of(request.query_params, list(status_of(request)))
    answer = await request.app.state.link.ask("history", asked.arguments(zone, _EXPORTED), person=person)
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(_COLUMNS)
    for entry in answer.result["verdicts"]:
        said = entry.get("feedback") or {}
        row = entry | {"issued_local": local(entry["issued_at"], zone), "feedback": said.get("kind")}
        writer.writerow([cell(row.get(name)) for name in _COLUMNS])
    name = f"{asked.line}-{utc_now():%Y%m%d-%H%M%S}.csv"
    return Response(
        written.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def _curve(request: Request, asked: Asked, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Over the stretch that was asked for; without one, over that of the parts that are shown and before."""
    arguments = asked.arguments(zone_name(request), 1)
    until = parsed(arguments["until"]) if "until" in arguments else utc_now()
    if "since" in arguments:
        since = parsed(arguments["since"])
    elif entries:
        shown_s = (until - parsed(entries[-1]["issued_at"])).total_seconds()
        since = until - timedelta(seconds=max(3600.0, 1.1 * shown_s))
    else:
        return None
    if since >= until:
        return None
    return await curve_of(request, asked.line, since, until, _BUCKETS, share=True)
