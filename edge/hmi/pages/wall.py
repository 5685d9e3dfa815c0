"""The wall: every line on a card."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.pages.line_views import line_view
from edge.hmi.pages.page import page, status_of, view
from edge.hmi.person import Person

router = APIRouter()


@router.get("/")
async def wall(request: Request, person: Person = Depends(view)) -> Response:
    """Every line: picture, lamp, score, counts and state."""
    views = await asyncio.gather(*(line_view(request, name) for name in status_of(request)))
    return page(request, "wall.html", "wall", views=views)
