"""All pages."""

from __future__ import annotations

from fastapi import APIRouter

from edge.hmi.pages import (
    calibration,
    enrolment,
    history,
    line,
    machine,
    recipe,
    review,
    shots,
    threshold,
    verdict,
    wall,
)

router = APIRouter()
for part in (
    wall,
    line,
    enrolment,
    calibration,
    threshold,
    recipe,
    review,
    history,
    verdict,
    shots,
    machine,
):
    router.include_router(part.router)
