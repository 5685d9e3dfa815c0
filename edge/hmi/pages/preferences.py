"""What a person prefers of the pages: light or dark, and the language."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edge.hmi.rendering import LANGUAGE_COOKIE, THEME_COOKIE, THEMES
from edge.hmi.wording import languages

router = APIRouter()
_YEAR_S = 31_536_000


@router.post("/preferences")
async def prefer(
    request: Request,
    theme: Annotated[str, Form(max_length=16)] = "",
    language: Annotated[str, Form(max_length=16)] = "",
    back: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Remembers it in this browser. Open to everybody: it changes nothing else."""
    response = RedirectResponse(_own(back), 303)
    for cookie, value, known in ((THEME_COOKIE, theme, THEMES), (LANGUAGE_COOKIE, language, languages())):
        if value in known:
            secure = request.app.state.gate.encrypted
            response.set_cookie(
                cookie, value, max_age=_YEAR_S, samesite="strict", httponly=True, secure=secure
            )
    return response


def _own(path: str) -> str:
    """A path of this console, so that nobody is sent elsewhere."""
    parts = urlsplit(path)
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if own and path.isprintable() else "/"
