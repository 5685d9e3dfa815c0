"""The shots: the good parts that a line compares with; who enrolled them, when, and which are put aside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edge.hmi.pages.line_views import THUMB
from edge.hmi.pages.page import Notice, find, go, operate, page, status_of, view, wording_of
from edge.hmi.person import Person
from edge.hmi.refusals import Refused

router = APIRouter(prefix="/shots")
_CHANGE_S = 120.0


@router.get("")
async def show(request: Request, line: str = "", recipe: str = "", person: Person = Depends(view)) -> Response:
    """A recipe's shots."""
    lines = list(status_of(request))
    line = line or (lines[0] if lines else "")
    listed = await find(request, "recipe_list")
    recipes = listed.result["recipes"].get(line, []) if listed.result else []
    chosen = next((one for one in recipes if str(one["number"]) == recipe), None)
    chosen = chosen or next((one for one in recipes if one["active"]), None)
    number, tiles, refusal = None, [], listed.refusal
    if chosen is not None:
        number = chosen["number"]
        found = await find(request, "shots_list", {"line": line, "recipe": str(number), "all": True})
        refusal = found.refusal
        if found.result is not None:
            tiles = _tiles(request, found.result["shots"])
    return page(
        request,
        "shots.html",
        "shots",
        lines=lines,
        recipes=recipes,
        asked={"line": line, "recipe": number},
        in_use=[tile for tile in tiles if tile["removed_at"] is None],
        aside=[tile for tile in tiles if tile["removed_at"] is not None],
        refusal=refusal,
    )


@router.post("/{shot}/remove")
async def remove(
    request: Request,
    shot: int,
    line: Annotated[str, Form(max_length=64)],
    recipe: Annotated[str, Form(max_length=64)] = "",
    person: Person = Depends(operate),
) -> Response:
    """Puts a shot aside."""
    return await _change(request, "shots_remove", "shots.was_removed", shot, line, recipe, person)


@router.post("/{shot}/restore")
async def restore(
    request: Request,
    shot: int,
    line: Annotated[str, Form(max_length=64)],
    recipe: Annotated[str, Form(max_length=64)] = "",
    person: Person = Depends(operate),
) -> Response:
    """Takes a shot back."""
    return await _change(request, "shots_restore", "shots.was_restored", shot, line, recipe, person)


async def _change(
    request: Request, command: str, key: str, shot: int, line: str, recipe: str, person: Person
) -> RedirectResponse:
    try:
        await request.app.state.link.ask(command, {"shot": shot}, person=person, timeout_s=_CHANGE_S)
        notice = Notice(wording_of(request)(key, n=shot))
    except Refused as refused:
        notice = Notice(refused.message, refused=True)
    return go(request, "/shots", notice, line=line, recipe=recipe)


def _tiles(request: Request, shots: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """There may be hundreds, so that a browser asks for the pictures that are seen, one by one."""
    t = wording_of(request)
    return [
        {
            **{name: shot.get(name) for name in ("who", "added_at", "source", "note", "removed_at", "removed_by")},
            "number": shot["id"],
            "thumb": f"/api/v1/shots/{shot['id']}/thumbnail?size={THUMB}",
            "alt": t("shots.number", n=shot["id"]),
        }
        for shot in shots
    ]
