"""All pages."""

from __future__ import annotations

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

ROUTERS = tuple(
    part.router
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
    )
)
"""The routes of all pages, by page."""
