"""The history: parts of the past, by filters, with small pictures, a curve and an export."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from edge.clock import utc_now
from edge.hmi.formats import local, parsed
from edge.hmi.pages.history_filters import Asked
from edge.hmi.pages.line_views import curve_of, tiles_of
from edge.hmi.pages.page import find, page, status_of, view, zone_name
from edge.hmi.person import Person
from edge.hmi.service_link import Answer, ServiceLink
from edge.storage.spreadsheet import cell

router = APIRouter()
_PAGE = 24
_EXPORTED = 5000  # at a time: an export of any length takes no more memory
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
    """All that the filters choose, as a file for other programs."""
    zone = zone_name(request)
    asked = Asked.of(request.query_params, list(status_of(request)))
    link: ServiceLink = request.app.state.link
    arguments = asked.arguments(zone, _EXPORTED)
    first = await link.ask("history", arguments, person=person)  # what is refused is no file
    name = f"{asked.line}-{utc_now():%Y%m%d-%H%M%S}.csv"
    return StreamingResponse(
        _table(link, arguments, first, person, zone),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def _table(
    link: ServiceLink, arguments: dict[str, Any], found: Answer, person: Person, zone: str | None
) -> AsyncIterator[str]:
    """The rows of what was found, and of all that is older. One that breaks off is no whole file to a browser."""
    yield _rows([_COLUMNS])
    while True:
        yield _rows([_row(entry, zone) for entry in found.result["verdicts"]])
        if (before := found.result["before_seq"]) is None:
            return
        found = await link.ask("history", arguments | {"before_seq": before}, person=person)


def _row(entry: Mapping[str, Any], zone: str | None) -> list[Any]:
    said = entry.get("feedback") or {}
    known = {**entry, "issued_local": local(entry["issued_at"], zone), "feedback": said.get("kind")}
    return [cell(known.get(name)) for name in _COLUMNS]


def _rows(rows: Iterable[Sequence[Any]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()


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
