"""The API for scripts: the service's own commands over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request

from edge.hmi.access import needs
from edge.hmi.person import Person

router = APIRouter(prefix="/api/v1")


@router.get("/lines")
async def lines(request: Request, person: Person = Depends(needs("view"))) -> dict[str, object]:
    """Every line: its state, counts, recipe, threshold and health."""
    answer = await request.app.state.link.ask("status", {}, person=person)
    found: dict[str, object] = answer.result
    return found
