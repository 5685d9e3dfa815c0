"""A part of the history: its picture with what stood out, all its fields, and what people say of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.formats import NOTHING, local
from edge.hmi.pages.line_views import picture_of, tiles_of
from edge.hmi.pages.page import Notice, find, go, operate, page, view, wording_of, zone_name
from edge.hmi.pages.parts import LineView, age_words, lamp_of_verdict, reasons, with_all_fields
from edge.hmi.person import Person
from edge.hmi.refusals import Refused
from edge.hmi.wording import Wording

router = APIRouter(prefix="/history/{line}/{seq}")
_FEEDBACK_S = 120.0
Said = Literal["false_alarm", "false_alarm_only", "missed", "right"]


@router.get("")
async def show(request: Request, line: str, seq: int, person: Person = Depends(view)) -> Response:
    """The part."""
    t = wording_of(request)
    found = await find(request, "verdict", {"line": line, "seq": seq})
    verdict = with_all_fields(found.result["verdict"]) if found.result else None
    shown = LineView(
        name=line,
        lamp="lost" if verdict is None else lamp_of_verdict(verdict),
        threshold=None if verdict is None else verdict["threshold"],
        verdict=verdict,
        picture=picture_of(found),
        no_picture=(found.result or {}).get("missing"),
        reasons=reasons(verdict, t),
        age_words=age_words(verdict, t),
    )
    return page(
        request,
        "verdict.html",
        "history",
        200 if verdict else 404,
        view=shown,
        seq=seq,
        issued=found.result["verdict"] if found.result else None,
        feedback=(found.result or {}).get("feedback"),
        facts=[] if verdict is None else _facts(verdict, t, zone_name(request)),
        refusal=found.refusal,
    )


@router.post("/feedback")
async def feedback(
    request: Request,
    line: str,
    seq: int,
    kind: Annotated[Said, Form()],
    note: Annotated[str, Form(max_length=500)] = "",
    yes: Annotated[str, Form(max_length=300)] = "",
    tile: bool = False,
    person: Person = Depends(operate),
) -> Response:
    """What the part really was; a false alarm's picture is enrolled. With `tile` the answer is a part of the history's
    page.
    """
    notice = await _say(request, line, seq, kind, note, yes, person)
    if not tile:
        return go(request, f"/history/{line}/{seq}", notice)
    found = await find(request, "history", {"line": line, "before_seq": seq + 1, "count": 1})
    entries = found.result["verdicts"] if found.result else []
    if not entries or entries[0]["seq"] != seq:
        raise Refused(404, "not_found", found.refusal or f"part {seq} of line {line} is not in the history")
    shown = (await tiles_of(request, line, entries))[0]
    return page(request, "verdict_tile.html", tile=shown | {"notice": notice, "in_spite": notice.in_spite})


async def _say(request: Request, line: str, seq: int, kind: Said, note: str, yes: str, person: Person) -> Notice:
    t = wording_of(request)
    asked: dict[str, Any] = {"line": line, "seq": seq, "kind": kind, "note": note}
    if kind == "false_alarm_only":
        asked |= {"kind": "false_alarm", "enrol": False}
    if yes:
        asked["yes"] = yes.split()
    try:
        answer = await request.app.state.link.ask("feedback", asked, person=person, timeout_s=_FEEDBACK_S)
    except Refused as refused:
        return Notice(refused.message, refused=True)
    said = t(f"history.said_{answer.result['kind']}")
    pictures = answer.result["pictures"]
    if not pictures:
        return Notice(t("history.was_said", said=said))
    if (shot := pictures[0]["shot"]) is not None:
        return Notice(t("history.was_enrolled", shot=shot))
    flags = pictures[0]["flags"]
    codes = " ".join(flag["code"] for flag in flags)
    return Notice(
        t("history.not_enrolled"), refused=True, details=tuple(flag["message"] for flag in flags), in_spite=codes
    )


def _facts(verdict: dict[str, Any], t: Wording, zone: str | None) -> list[tuple[str, str]]:
    recipe, model, timing = verdict["recipe"], verdict["model"], verdict.get("timing_ms") or {}
    camera = verdict.get("camera") or {}
    named = f"{recipe.get('name') or recipe['pack']}" + (
        f", {t('recipe.revision')} {recipe['revision']}" if recipe.get("revision") else ""
    )
    return [
        (t("verdict.issued"), local(verdict["issued_at"], zone)),
        (t("verdict.captured"), local(verdict.get("captured_at"), zone)),
        (t("verdict.part"), verdict.get("part_id") or NOTHING),
        (t("verdict.mode"), verdict["mode"]),
        (t("verdict.recipe"), named),
        (t("verdict.pack"), f"{recipe['pack']} {recipe['pack_version']}"),
        (t("verdict.threshold_source"), recipe["threshold_source"]),
        (t("verdict.model"), model["name"]),
        (t("verdict.shots"), str(verdict["bank"]["shots"])),
        (t("verdict.time"), f"{timing['total']:.0f} ms" if timing else NOTHING),
        (t("verdict.frame"), f"{camera['width']} × {camera['height']}" if camera else NOTHING),
    ]
