"""The pages."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.access import needs
from edge.hmi.person import Person
from edge.hmi.rendering import render

router = APIRouter()


@router.get("/")
async def wall(request: Request, person: Person = Depends(needs("view"))) -> Response:
    """Every line."""
    return render(request, "wall.html")
