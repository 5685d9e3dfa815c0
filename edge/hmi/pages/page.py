"""What all pages have in common: they ask the service, say what came of it, and are drawn."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from edge.hmi.access import needs
from edge.hmi.person import Person
from edge.hmi.refusals import Refused
from edge.hmi.rendering import render
from edge.hmi.service_link import ServiceLink
from edge.hmi.wording import Wording

READ_S = 25.0
"""How long a page waits for what it shows: the service searches for at most 20 s, and answers with what it has then."""
_LOST_S = 2.0  # for one that does not answer: the page says so, and is wanted all the same
_MOST_NOTICES = 256

view, operate, engineer = needs("view"), needs("operate"), needs("engineer")


@dataclass(frozen=True)
class Notice:
    """What a page says of the last thing that was done.

    Attributes:
        words: In words.
        refused: Whether it was not done.
        details: More of it, a sentence each.
        in_spite: Codes of flags that a picture was not enrolled for.
    """

    words: str
    refused: bool = False
    details: tuple[str, ...] = ()
    in_spite: str = ""


class Notices:
    """Notices that wait for the page that is to show them; the oldest give way."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Notice] = OrderedDict()

    def put(self, notice: Notice) -> str:
        """The key that a page finds it by."""
        key = secrets.token_urlsafe(12)
        self._kept[key] = notice
        while len(self._kept) > _MOST_NOTICES:
            self._kept.popitem(last=False)
        return key

    def get(self, key: str | None) -> Notice | None:
        """The notice of a key; a page that is loaded again says it again."""
        return self._kept.get(key or "")


@dataclass(frozen=True)
class Found:
    """What a page has asked for: the answer, or why there is none."""

    result: dict[str, Any] | None = None
    blobs: Sequence[bytes] = ()
    refusal: str | None = None


def person_of(request: Request) -> Person:
    """Who looks at the page."""
    person: Person = request.scope["state"]["person"]
    return person


def wording_of(request: Request) -> Wording:
    """The texts in the language of the page."""
    wording: Wording = request.app.state.rendering.wording(request)
    return wording


def zone_name(request: Request) -> str | None:
    """The time zone of the lines, as the settings name it."""
    zone: str | None = request.app.state.settings.service.zone
    return zone


async def find(
    request: Request, command: str, arguments: dict[str, Any] | None = None, timeout_s: float = READ_S
) -> Found:
    """What a page shows: where the service does not say it, the page says why."""
    link: ServiceLink = request.app.state.link
    known = link.status()
    if known is None or known.lost:
        timeout_s = min(timeout_s, _LOST_S)
    try:
        answer = await link.ask(command, arguments or {}, person=person_of(request), timeout_s=timeout_s)
    except Refused as refused:
        return Found(refusal=refused.message)
    return Found(answer.result, answer.blobs)


def status_of(request: Request) -> dict[str, Any]:
    """The state of each line by its name, as the service said it last; empty where it does not answer."""
    status = request.app.state.link.status()
    if status is None:
        return {}
    lines: dict[str, Any] = status.result["lines"]
    return lines


def page(request: Request, template: str, here: str = "", status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page; `here` is its entry in the bar on top."""
    notice = values.pop("notice", None) or request.app.state.notices.get(request.query_params.get("said"))
    return render(request, template, status_code, here=here, notice=notice, **values)


def go(request: Request, path: str, notice: Notice | None = None, **query: str) -> RedirectResponse:
    """To another page, after something was done."""
    if notice is not None:
        query["said"] = request.app.state.notices.put(notice)
    return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)
