"""What is refused, and why: as JSON for scripts, as a page for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from core.printable import shown

API = "/api/"
"""What the paths of the API begin with."""


class Refused(HTTPException):
    """A request that is not done. FastAPI passes this kind of exception on as it is.

    Attributes:
        status: Of HTTP.
        code: Stable, for machines.
        message: For people: what is wrong, and what to do.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.status = status
        self.code = code
        self.message = message


PageOf = Callable[[Request, Refused], Response]
"""Makes the page that says what is refused."""


def is_api(connection: HTTPConnection) -> bool:
    """Whether a request is for the API, whose answers are JSON."""
    return str(connection.scope["path"]).startswith(API)


def as_json(refused: Refused) -> JSONResponse:
    """The answer of the API, of the same form as the service's own refusals."""
    body = {"refusal": {"code": refused.code, "message": refused.message}}
    return JSONResponse(body, refused.status, headers=refused.headers)


def path_of(connection: HTTPConnection) -> str:
    """The path for a log, without the query, in which anything may stand."""
    return shown(str(connection.scope["path"]))[:200]
