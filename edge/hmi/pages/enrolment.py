"""Enrols good parts: the next ones are held, looked at, and taken or dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.pages.line import require_line
from edge.hmi.pages.page import Notice, find, go, operate, page, wording_of
from edge.hmi.pages.parts import data_address
from edge.hmi.person import Person
from edge.hmi.refusals import Refused

router = APIRouter(prefix="/lines/{line}/enrol")
_MOST_TAKEN = 4
_MOST_SHOWN = 16
_SIDE = 320  # pixels of the long side: large enough to see a blur
_FREEZE_S, _TAKE_S = 60.0, 120.0
Candidates = Annotated[list[int], Form(max_length=64)]


@router.get("")
async def show(request: Request, line: str, person: Person = Depends(operate)) -> Response:
    """What is held, with its flags."""
    require_line(request, line)
    found = await find(request, "shots_candidates", {"line": line})
    held: list[Mapping[str, Any]] = found.result["candidates"][-_MOST_SHOWN:] if found.result else []
    t, thumbs = wording_of(request), {}
    if held:
        asked = {"candidates": [candidate["candidate"] for candidate in held], "size": _SIDE}
        small = await find(request, "candidate_thumbnails", asked)
        if small.result is not None:
            thumbs = dict(zip(small.result["candidates"], small.blobs, strict=True))
    tiles = [
        {
            **{name: candidate[name] for name in ("score", "flags", "held_at", "who", "note")},
            "number": candidate["candidate"],
            "thumb": data_address(thumbs[candidate["candidate"]], "jpeg") if candidate["candidate"] in thumbs else None,
            "alt": t("enrol.picture", n=candidate["candidate"]),
        }
        for candidate in held
    ]
    return page(
        request,
        "enrol.html",
        "wall",
        name=line,
        line_path=f"/lines/{line}",
        tiles=tiles,
        flagged=any(tile["flags"] for tile in tiles),
        refusal=found.refusal,
    )


@router.post("/freeze")
async def freeze(
    request: Request, line: str, shots: Annotated[int, Form(ge=1, le=8)], person: Person = Depends(operate)
) -> Response:
    """Holds the line's next parts."""
    t, here = wording_of(request), f"/lines/{line}/enrol"
    asked = {"line": line, "shots": shots, "hold": True, "timeout_s": _FREEZE_S - 10}
    try:
        answer = await request.app.state.link.ask("enroll", asked, person=person, timeout_s=_FREEZE_S)
    except Refused as refused:
        return go(request, here, Notice(refused.message, refused=True))
    return go(request, here, Notice(t("enrol.frozen", n=len(answer.result["pictures"]))))


@router.post("/take")
async def take(
    request: Request,
    line: str,
    candidates: Candidates = [],  # noqa: B006  # pydantic copies it
    in_spite: Annotated[str, Form()] = "",
    person: Person = Depends(operate),
) -> Response:
    """Enrols what was chosen; what is flagged only where the person says so."""
    t, here = wording_of(request), f"/lines/{line}/enrol"
    if not candidates:
        return go(request, here, Notice(t("enrol.choose_some"), refused=True))
    if len(candidates) > _MOST_TAKEN:
        return go(request, here, Notice(t("enrol.too_many"), refused=True))
    asked: dict[str, Any] = {"line": line, "candidates": candidates}
    if in_spite:
        known = await find(request, "shots_candidates", {"line": line})
        held = known.result["candidates"] if known.result else []
        chosen = [one for one in held if one["candidate"] in candidates]
        asked["yes"] = sorted({flag["code"] for one in chosen for flag in one["flags"]})
    try:
        answer = await request.app.state.link.ask("shots_take", asked, person=person, timeout_s=_TAKE_S)
    except Refused as refused:
        return go(request, here, Notice(refused.message, refused=True))
    pictures = answer.result["pictures"]
    left = [picture for picture in pictures if picture["shot"] is None]
    if left:
        details = tuple(flag["message"] for picture in left for flag in picture["flags"])
        words = t("enrol.not_taken", n=len(pictures) - len(left), left=len(left))
        return go(request, here, Notice(words, refused=True, details=details))
    return go(request, here, Notice(t("enrol.taken", n=len(pictures))))


@router.post("/drop")
async def drop(
    request: Request,
    line: str,
    candidates: Candidates = [],  # noqa: B006  # pydantic copies it
    person: Person = Depends(operate),
) -> Response:
    """Forgets what was chosen."""
    t, here = wording_of(request), f"/lines/{line}/enrol"
    if not candidates:  # without a number the service would drop all
        return go(request, here, Notice(t("enrol.choose_some"), refused=True))
    try:
        await request.app.state.link.ask("shots_drop", {"line": line, "candidates": candidates}, person=person)
    except Refused as refused:
        return go(request, here, Notice(refused.message, refused=True))
    return go(request, here, Notice(t("enrol.dropped", n=len(candidates))))
