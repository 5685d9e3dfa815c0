"""Parts that wait for a person's answer."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.pages.line import require_line
from edge.hmi.pages.line_views import THUMB
from edge.hmi.pages.page import Notice, find, go, operate, page, view, wording_of
from edge.hmi.pages.parts import data_address
from edge.hmi.person import Person
from edge.hmi.refusals import Refused

router = APIRouter(prefix="/lines/{line}/review")
_SHOWN = 24


@router.get("")
async def show(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """The oldest parts that wait."""
    require_line(request, line)
    t, thumbs = wording_of(request), {}
    found = await find(request, "review_list", {"line": line, "count": _SHOWN})
    parts = found.result["parts"] if found.result else []
    pictured = [part["seq"] for part in parts if part["picture"]]
    if pictured:
        small = await find(request, "thumbnails", {"line": line, "seqs": pictured, "size": THUMB})
        if small.result is not None:
            thumbs = dict(zip(small.result["seqs"], small.blobs, strict=False))
    tiles = [
        {
            **{name: part[name] for name in ("seq", "issued_at", "score")},
            "path": f"/history/{line}/{part['seq']}",
            "thumb": data_address(thumbs[part["seq"]], "jpeg") if part["seq"] in thumbs else None,
            "alt": t("history.picture_of", n=part["seq"], line=line, verdict=t("live.lamp_review")),
        }
        for part in parts
    ]
    waiting = found.result["waiting"] if found.result else 0
    return page(
        request,
        "review.html",
        "wall",
        name=line,
        line_path=f"/lines/{line}",
        tiles=tiles,
        waiting=waiting,
        refusal=found.refusal,
    )


@router.post("/{seq}")
async def answer(
    request: Request,
    line: str,
    seq: int,
    good: Annotated[Literal["yes", "no"], Form()],
    person: Person = Depends(operate),
) -> Response:
    """Says whether a part is good."""
    t, here = wording_of(request), f"/lines/{line}/review"
    try:
        asked = {"line": line, "seq": seq, "good": good == "yes"}
        said = await request.app.state.link.ask("review_answer", asked, person=person)
    except Refused as refused:
        return go(request, here, Notice(refused.message, refused=True))
    return go(request, here, Notice(t("review.answered", n=seq, left=said.result["waiting"])))
