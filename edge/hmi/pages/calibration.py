"""The guided calibration: parts are declared good, what they can promise is shown, and then it is set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import Response

from core.autocorrelation import autocorrelation_time
from core.calibration import calibrate, promise
from edge.hmi.formats import number, percent
from edge.hmi.pages.calibration_jobs import Begun, CalibrationJobs, Ended
from edge.hmi.pages.line import require_line
from edge.hmi.pages.page import Notice, find, go, operate, page, status_of, view, wording_of
from edge.hmi.person import Person
from edge.hmi.wording import Wording

router = APIRouter(prefix="/lines/{line}/calibrate")
PARTS, RATE = 24, 5.0
MOST_PARTS = 1000
Parts = Annotated[int, Form(ge=5, le=MOST_PARTS)]
Percent = Annotated[float, Form(gt=0, lt=100)]


@dataclass(frozen=True)
class Running:
    """How far a calibration is, and what its parts could promise by now."""

    who: str
    parts: int
    wanted: int
    promise: str = ""
    threshold: str = ""


@router.get("")
async def show(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """What the line's threshold comes from, and how to make a new one."""
    require_line(request, line)
    recipe = await find(request, "recipe_show", {"line": line})
    return page(
        request,
        "calibrate.html",
        "wall",
        calibration=recipe.result["calibration"] if recipe.result else None,
        **await _run_values(request, line),
    )


@router.get("/run")
async def run(request: Request, line: str, person: Person = Depends(view)) -> Response:
    """How far it is, a part of the page."""
    values = await _run_values(request, line)
    answer = page(request, "calibration_run.html", **values)
    if values["run"] is None:  # the rest of the page has changed, too
        answer.headers["hx-refresh"] = "true"
    return answer


@router.get("/promise")
async def promised(
    request: Request, line: str, parts: str = "", rate: str = "", person: Person = Depends(view)
) -> Response:
    """What so many good parts can promise, a part of the page."""
    return page(request, "promise.html", promise=_promise(parts, rate))


@router.post("")
async def start(
    request: Request,
    line: str,
    parts: Parts,
    rate: Percent,
    good: Annotated[str, Form()] = "",
    accept: Annotated[str, Form()] = "",
    person: Person = Depends(operate),
) -> Response:
    """Takes the line's next parts, which the person declares good."""
    t, here = wording_of(request), f"/lines/{line}/calibrate"
    if not good:
        return go(request, here, Notice(t("calibrate.declare_first"), refused=True))
    recipe = _recipe(request, line)
    asked: dict[str, Any] = {"line": line, "recipe": recipe, "parts": parts, "rate": rate / 100, "timeout_s": 3600.0}
    if accept:
        asked["accept"] = _at_least(promise(parts, rate / 100).rate)
    _jobs(request).begin(request.app.state.link, line, asked, person)
    return go(request, here)


@router.post("/accept")
async def accept(
    request: Request, line: str, accept: Annotated[float, Form(gt=0, le=1)], person: Person = Depends(operate)
) -> Response:
    """Sets what the parts of the last try can promise, which the person accepts."""
    last = _jobs(request).of_line(line)
    if isinstance(last, Ended) and last.again:
        _jobs(request).begin(request.app.state.link, line, last.again | {"accept": accept}, person)
    return go(request, f"/lines/{line}/calibrate")


@router.post("/cancel")
async def cancel(request: Request, line: str, person: Person = Depends(operate)) -> Response:
    """Calls it off."""
    await request.app.state.link.ask("calibration_cancel", {"line": line}, person=person)
    return go(request, f"/lines/{line}/calibrate", Notice(wording_of(request)("calibrate.cancelled")))


async def _run_values(request: Request, line: str) -> dict[str, Any]:
    t = wording_of(request)
    found = await find(request, "calibration_state", {"line": line})
    state, last = found.result or {}, _jobs(request).of_line(line)
    running = None
    if state.get("running"):
        running = _running(state, RATE / 100 if last is None else last.rate)
    elif isinstance(last, Begun):  # it has not come to its first part, or is being set
        running = Running(last.who, 0, last.wanted)
    of_this = isinstance(last, Ended) and last.recipe == _recipe(request, line)
    ended = _in_words(last, t) if running is None and isinstance(last, Ended) and of_this else None
    return {
        "name": line,
        "line_path": f"/lines/{line}",
        "run": running,
        "ended": ended,
        "parts": PARTS,
        "rate": f"{RATE:g}",
        "promise": _promise(str(PARTS), str(RATE)),
    }


def _recipe(request: Request, line: str) -> str:
    """The number of the recipe that the line judges by."""
    return str((status_of(request).get(line) or {}).get("recipe", {}).get("number") or 1)


def _jobs(request: Request) -> CalibrationJobs:
    jobs: CalibrationJobs = request.app.state.calibrations
    return jobs


def _running(state: dict[str, Any], rate: float) -> Running:
    scores = [part["score"] for part in state["parts"]]
    if not scores:
        return Running(state["who"], 0, state["wanted"])
    found = calibrate(scores, rate)
    return Running(state["who"], len(scores), state["wanted"], percent(found.rate), number(min(1.0, found.threshold)))


def _promise(parts: str, rate: str) -> dict[str, Any] | None:
    try:
        count = int(parts)
        if not 1 <= count <= MOST_PARTS:
            return None
        found = promise(count, float(rate) / 100)
    except ValueError:
        return None
    return {
        "count": found.count,
        "met": found.met,
        "needed": found.needed,
        "rate_words": percent(found.rate),
        "wanted_words": percent(found.requested),
    }


def _in_words(last: Ended, t: Wording) -> dict[str, Any]:
    if last.refusal is not None:
        accepted = _acceptable(last)
        return {
            "refused": True,
            "words": t("calibrate.refused", why=last.refusal),
            "details": (),
            "accept": "" if accepted is None else f"{accepted:g}",
            "accept_words": percent(accepted),
        }
    kept, outliers = last.result["calibration"], last.result.get("outliers") or {}
    details = list(last.result.get("notes", ()))
    if outliers.get("parts"):
        named = ", ".join(str(part.get("seq", part.get("shot"))) for part in outliers["parts"])
        details.append(t("calibrate.outliers", parts=named))
    words = t("calibrate.done", threshold=number(kept["threshold"], 4), rate=percent(kept["rate"]))
    return {"refused": False, "words": words, "details": tuple(details), "accept": "", "accept_words": ""}


def _acceptable(last: Ended) -> float | None:
    """What the parts of a refused calibration can promise; None where that is not what it was refused for."""
    if not last.again:
        return None
    found = promise(len(last.scores), last.rate, autocorrelation_time(last.scores))
    return None if found.met else _at_least(found.rate)


def _at_least(rate: float) -> float:
    """A rate that is no lower, of few digits."""
    return min(1.0, math.ceil(rate * 1e4) / 1e4)
