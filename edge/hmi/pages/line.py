"""A line: its newest part with what stands out, why it is judged so, and what can be done."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.formats import number
from edge.hmi.pages.line_views import counted_view, line_view, strip_of
from edge.hmi.pages.page import Notice, go, operate, page, status_of, view, wording_of
from edge.hmi.person import Person
from edge.hmi.refusals import Refused

router = APIRouter(prefix="/lines/{line}")
_TRIGGER_S = 60.0


@router.get("")
async def show(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """The page of a line."""
    require_line(request, line)
    found, tiles = await asyncio.gather(line_view(request, line), strip_of(request, line))
    return page(request, "line.html", "wall", view=found, tiles=tiles)


@router.get("/counts")
async def counts(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """What the line has counted in this shift, a part of its page."""
    return page(request, "counts.html", view=await counted_view(request, line))


@router.get("/strip")
async def strip(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """The last NG parts, a part of the line's page."""
    return page(request, "strip.html", tiles=await strip_of(request, line))


@router.post("/pause")
async def pause(request: Request, line: str, person: Person = Depends(operate)) -> Response:
    """Judges no more parts."""
    await request.app.state.link.ask("pause", {"line": line}, person=person)
    await request.app.state.link.refresh()
    return go(request, f"/lines/{line}", Notice(wording_of(request)("line.was_paused", line=line)))


@router.post("/resume")
async def resume(request: Request, line: str, person: Person = Depends(operate)) -> Response:
    """Judges parts again."""
    await request.app.state.link.ask("resume", {"line": line}, person=person)
    await request.app.state.link.refresh()
    return go(request, f"/lines/{line}", Notice(wording_of(request)("line.was_resumed", line=line)))


@router.post("/trigger")
async def trigger(
    request: Request, line: str, part_id: Annotated[str, Form(max_length=200)], person: Person = Depends(operate)
) -> Response:
    """Judges a part now."""
    t = wording_of(request)
    try:
        answer = await request.app.state.link.ask(
            "trigger", {"line": line, "part_id": part_id}, person=person, timeout_s=_TRIGGER_S
        )
    except Refused as refused:
        return go(
            request, f"/lines/{line}", Notice(t("line.not_triggered", part=part_id, why=refused.message), refused=True)
        )
    verdict = answer.result["verdict"]
    if verdict.get("error"):
        words = t("line.not_triggered", part=part_id, why=verdict["error"]["message"])
        return go(request, f"/lines/{line}", Notice(words, refused=True))
    lamp = t(f"live.lamp_{verdict['verdict']}")
    words = t("line.was_triggered", part=part_id, verdict=lamp, score=number(verdict["score"]))
    return go(request, f"/lines/{line}", Notice(words))


def require_line(request: Request, line: str) -> None:
    """Raises Refused: the service has no such line."""
    known = status_of(request)
    if known and line not in known:
        raise Refused(404, "not_found", f"there is no line {line}; there are {', '.join(known)}")
