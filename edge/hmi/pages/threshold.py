"""The threshold by hand: what it would have said of the last parts is shown before it is set."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.formats import number, percent
from edge.hmi.pages.line import require_line
from edge.hmi.pages.page import Notice, engineer, find, go, page, status_of, view, wording_of
from edge.hmi.person import Person
from edge.hmi.refusals import Refused

router = APIRouter(prefix="/lines/{line}/threshold")
_PARTS = 200
_SET_S = 120.0


@router.get("")
async def show(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """The threshold, and what another one would change."""
    require_line(request, line)
    now = (status_of(request).get(line) or {}).get("threshold")
    values = await _preview(request, line, now) if now is not None else {"preview": None, "refusal": None}
    return page(request, "threshold.html", "wall", name=line, line_path=f"/lines/{line}", threshold=now, **values)


@router.get("/preview")
async def preview(request: Request, line: str, threshold: str = "", person: Person = Depends(view)) -> Response:
    """Which share of the last parts a threshold would call NG, a part of the page."""
    try:
        asked = float(threshold)
    except ValueError:
        return page(request, "threshold_preview.html", preview=None, refusal=None)
    return page(request, "threshold_preview.html", **await _preview(request, line, asked))


@router.post("")
async def set_threshold(
    request: Request, line: str, threshold: Annotated[float, Form(ge=0, le=1)], person: Person = Depends(engineer)
) -> Response:
    """Sets it."""
    t, here = wording_of(request), f"/lines/{line}"
    try:
        answer = await request.app.state.link.ask(
            "threshold", {"line": line, "threshold": threshold}, person=person, timeout_s=_SET_S
        )
    except Refused as refused:
        return go(request, f"{here}/threshold", Notice(refused.message, refused=True))
    await request.app.state.link.refresh()
    words = t("threshold.was_set", line=line, threshold=number(answer.result["calibration"]["threshold"], 4))
    return go(request, here, Notice(words, details=tuple(answer.result["notes"])))


async def _preview(request: Request, line: str, threshold: float) -> dict[str, Any]:
    found = await find(request, "threshold_preview", {"line": line, "threshold": threshold, "parts": _PARTS})
    if found.result is None:
        return {"preview": None, "refusal": found.refusal}
    parts, then = found.result["parts"], found.result["then"]
    shown = {"parts": parts, "anomalous": then["anomalies"], "share_words": percent(then["share"])}
    return {"preview": shown, "refusal": None}
