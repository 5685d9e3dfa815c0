"""Logging in and out, and what a browser keeps of a person's taste."""

from __future__ import annotations

import asyncio
import logging
import math
import unicodedata
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from core.printable import shown
from edge.hmi.access import LOGIN, address_of, cookie_name, needs
from edge.hmi.login_limit import LoginLimit
from edge.hmi.passwords import LONGEST, NOBODYS, is_password
from edge.hmi.person import Person
from edge.hmi.refusals import Refused
from edge.hmi.rendering import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, Rendering, render
from edge.hmi.sessions import Sessions
from edge.hmi.users import LONGEST_NAME, UsersError, UsersFile
from edge.settings import HmiSettings

log = logging.getLogger(__name__)

_MOST_WAITING = 16  # logins: each takes memory and time
_YEAR_S = 365 * 24 * 3600

router = APIRouter()


class Logins:
    """Checks passwords, one at a time: each takes 32 MiB."""

    def __init__(self, users: UsersFile, sessions: Sessions, limit: LoginLimit | None = None) -> None:
        """`limit`: how often passwords may be tried."""
        self._users = users
        self._sessions = sessions
        self._limit = limit or LoginLimit()
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def begin(self, address: str, name: str, password: str) -> str | None:
        """The key of a new session; None: the name or the password is wrong.

        Raises:
            Refused: it was tried too often, or the session cannot be kept.
        """
        if self._waiting >= _MOST_WAITING:
            raise Refused(503, "busy", "many people log in at this moment; try again in a while", {"retry-after": "5"})
        self._waiting += 1
        try:
            async with self._turn:
                return await self._begin(address, name, password)
        finally:
            self._waiting -= 1

    async def _begin(self, address: str, name: str, password: str) -> str | None:
        name = unicodedata.normalize("NFC", name)  # as the users file has it
        if (wait := math.ceil(self._limit.wait_s(address, name))) > 0:
            log.warning("login of %s at %s is refused: too many failures", shown(name), address)
            message = f"too many failed logins; try again in {wait} s"
            raise Refused(429, "too_many_logins", message, {"retry-after": f"{wait}"})
        try:
            user = self._users.users().get(name)
        except UsersError as error:
            log.error("%s", error)
            raise Refused(503, "no_users", "who may use the console cannot be read; its log says why") from error
        kept = NOBODYS if user is None or user.password is None else user.password
        right = await asyncio.to_thread(is_password, password, kept)
        if not right or user is None or user.password is None:
            self._limit.failed(address, name)
            log.warning("login of %s at %s has failed", shown(name), address)
            return None
        self._limit.succeeded(address)
        try:
            key = await asyncio.to_thread(self._sessions.begin, name, user)
        except OSError as error:
            log.error("a session cannot be kept: %s", error)
            raise Refused(507, "disk", "the session cannot be written; the console's log says why") from error
        log.info("%s has logged in at %s", shown(name), address)
        return key


@router.get(LOGIN)
async def login_page(request: Request, next: str = "/") -> Response:
    """The form; whoever is logged in already goes on."""
    if request.scope["state"]["person"] is not None:
        return RedirectResponse(_own_path(next), 303)
    return render(request, "login.html", next=_own_path(next), name="", failed=False)


@router.post(LOGIN)
async def log_in(
    request: Request,
    name: Annotated[str, Form(max_length=LONGEST_NAME)],
    password: Annotated[str, Form(max_length=LONGEST)],
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Begins a session."""
    logins: Logins = request.app.state.logins
    settings: HmiSettings = request.app.state.settings.hmi
    key = await logins.begin(address_of(request), name, password)
    if key is None:
        return render(request, "login.html", 401, next=_own_path(next), name=name, failed=True)
    response = RedirectResponse(_own_path(next), 303)
    response.set_cookie(
        cookie_name(settings.encrypted),
        key,
        max_age=int(settings.session_hours * 3600),
        httponly=True,
        samesite="lax",
        secure=settings.encrypted,
    )
    return response


@router.post("/logout")
async def log_out(request: Request, person: Person = Depends(needs("view"))) -> Response:
    """Ends the session."""
    sessions: Sessions = request.app.state.sessions
    settings: HmiSettings = request.app.state.settings.hmi
    name = cookie_name(settings.encrypted)
    try:
        await asyncio.to_thread(sessions.end, request.cookies.get(name, ""))
    except OSError as error:
        log.error("the end of a session cannot be written: %s", error)
    log.info("%s has logged out at %s", shown(person.name), address_of(request))
    response = RedirectResponse(LOGIN, 303)
    response.delete_cookie(name, secure=settings.encrypted, httponly=True, samesite="lax")
    return response


@router.post("/preferences")
async def choose(
    request: Request,
    language: Annotated[str, Form(max_length=8)] = "",
    theme: Annotated[str, Form(max_length=8)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Keeps a language or a theme in the browser."""
    rendering: Rendering = request.app.state.rendering
    response = RedirectResponse(_own_path(next), 303)
    for cookie, value, known in (
        (LANGUAGE_COOKIE, language, tuple(rendering.wordings)),
        (THEME_COOKIE, theme, THEMES),
    ):
        if value in known:
            response.set_cookie(cookie, value, max_age=_YEAR_S, httponly=True, samesite="lax")
    return response


def _own_path(path: str) -> str:
    """`path`, if it leads to a page of this console; else the first page."""
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if own else "/"
