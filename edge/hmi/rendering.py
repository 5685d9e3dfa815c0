"""Pages: templates, and what each of them knows."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from edge import __version__
from edge.hmi.formats import coded, local, pretty
from edge.hmi.refusals import Refused
from edge.hmi.wording import Wording, languages
from edge.zone import machine_zone

TEMPLATES = Path(__file__).parent / "templates"
STATIC_FOLDER = Path(__file__).parent / "static"
THEMES = ("auto", "light", "dark")
LANGUAGE_COOKIE, THEME_COOKIE = "alfa-edge-language", "alfa-edge-theme"
_FOR_EVER = "public, max-age=31536000, immutable"
_HASH = 12  # characters


class Rendering:
    """The templates, and the texts of all languages."""

    def __init__(self, language: str) -> None:
        """`language`: where nobody has chosen another."""
        self.language = language
        self.wordings = {name: Wording(name) for name in languages()}
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, auto_reload=False
        )
        self._environment.globals["static"] = static_url
        self._environment.filters |= {"pretty": pretty, "coded": coded}

    def wording(self, request: Request) -> Wording:
        """The texts in the language that the browser has chosen."""
        chosen = request.cookies.get(LANGUAGE_COOKIE, "")
        return self.wordings[chosen if chosen in self.wordings else self.language]

    def page(self, request: Request, name: str, /, status_code: int = 200, **values: Any) -> HTMLResponse:
        """The page of a template; see `render`."""
        theme = request.cookies.get(THEME_COOKIE, "")
        wording = self.wording(request)
        person = request.scope["state"]["person"]
        status = request.app.state.link.status()
        zone = request.app.state.settings.service.zone
        known = {
            "request": request,
            "path": request.scope["path"],
            "person": person,
            "t": wording,
            "language": wording.language,
            "languages": tuple(self.wordings),
            "theme": theme if theme in THEMES else THEMES[0],
            "version": __version__,
            "insecure": request.app.state.gate.insecure,
            "open_to_all": person is not None and person.anonymous,
            "status": status,
            "lost": status is None or status.lost,
            "zone": zone or machine_zone(),
            "local": lambda stamp: local(stamp, zone),
        }
        return HTMLResponse(self._environment.get_template(name).render(known | values), status_code)


def render(request: Request, name: str, /, status_code: int = 200, **values: Any) -> HTMLResponse:
    """The page of the template `name`.

    The template knows besides `values`: `request`, `path`, `person` (or none), `t` (the texts), `language`,
    `languages`, `theme`, `version`, `insecure`, `open_to_all`, `status` (the newest of the service, or none), `lost`
    (whether the service does not answer), and `static("file")`, the address of what a page is drawn with.
    """
    rendering: Rendering = request.app.state.rendering
    return rendering.page(request, name, status_code, **values)


def refusal_page(request: Request, refused: Refused) -> Response:
    """What is refused, for people."""
    page = render(request, "refused.html", refused.status, code=refused.code, message=refused.message)
    page.headers.update(refused.headers or {})
    return page


@lru_cache(maxsize=256)
def static_url(name: str) -> str:
    """The address of a file in `static`, which changes with what the file holds."""
    digest = hashlib.sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()[:_HASH]
    return f"/static/{name}?v={digest}"


class Assets(StaticFiles):
    """What pages are drawn with. A browser keeps what it has asked for by its hash."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        named = scope.get("query_string", b"").startswith(b"v=") and response.status_code in (200, 304)
        response.headers["cache-control"] = _FOR_EVER if named else "no-cache"
        return response
