"""The recipe that a line judges by, and those that it can change to."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.pages.line import require_line
from edge.hmi.pages.page import Notice, engineer, find, go, page, view, wording_of
from edge.hmi.person import Person
from edge.hmi.refusals import Refused

router = APIRouter(prefix="/lines/{line}/recipe")
_CHANGE_S = 300.0


@router.get("")
async def show(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """The line's recipes."""
    require_line(request, line)
    found = await find(request, "recipe_list")
    recipes = found.result["recipes"].get(line, []) if found.result else []
    return page(
        request, "recipe.html", "wall", name=line, line_path=f"/lines/{line}", recipes=recipes, refusal=found.refusal
    )


@router.post("")
async def change(
    request: Request,
    line: str,
    recipe: Annotated[str, Form(min_length=1, max_length=64)],
    person: Person = Depends(engineer),
) -> Response:
    """Judges by another one from the next part on."""
    t, here = wording_of(request), f"/lines/{line}"
    try:
        answer = await request.app.state.link.ask(
            "recipe_set", {"line": line, "recipe": recipe}, person=person, timeout_s=_CHANGE_S
        )
    except Refused as refused:
        return go(request, f"{here}/recipe", Notice(refused.message, refused=True))
    await request.app.state.link.refresh()
    before, after = answer.result["before"], answer.result["after"]
    key = "recipe.same" if before and before["number"] == after["number"] else "recipe.changed"
    return go(request, here, Notice(t(key, line=line, recipe=after["name"])))
