"""The API's document in the OpenAPI form, and a page that shows it. The last routes of the API."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge import __version__
from edge.hmi import api, users_api
from edge.hmi.access import needs
from edge.hmi.command_documents import schemas
from edge.hmi.person import MEANINGS, Person, Role
from edge.hmi.rendering import render

router = APIRouter(prefix="/api/v1")

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_DESCRIPTION = (
    "The service's own commands over HTTP. A script sends its token as `Authorization: Bearer ...`; "
    "`alfa-edge users add NAME --script` makes one. What is refused is answered "
    '`{"refusal": {"code": ..., "message": ...}}`. Roles: '
)


@router.get("/openapi.json", include_in_schema=False)
async def document_for_programs(person: Person = Depends(needs("view"))) -> Response:
    """The document."""
    return JSONResponse(document())


@router.get("/docs", include_in_schema=False)
async def page(request: Request, person: Person = Depends(needs("view"))) -> Response:
    """The document as a page, without any script."""
    found = document()
    operations = [
        operation | {"method": method.upper(), "path": path}
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
    ]
    return render(request, "api.html", operations=operations, schemas=found["components"]["schemas"], roles=MEANINGS)


@router.api_route("/{path:path}", methods=_METHODS, include_in_schema=False)
async def nothing(path: str, person: Person = Depends(needs("view"))) -> Response:
    """Every other path of the API."""
    raise HTTPException(404, "there is no such path; /api/v1/docs lists them")


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The document, made once."""
    routes = [route for part in (api.router, users_api.router) for route in part.routes if isinstance(route, APIRoute)]
    made = get_openapi(
        title="alfa-edge",
        version=__version__,
        description=_DESCRIPTION + "; ".join(f"*{role}* {meaning}" for role, meaning in MEANINGS.items()) + ".",
        routes=routes,
    )
    components = made.setdefault("components", {})
    components["schemas"] = schemas() | components.get("schemas", {})
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"token": []}]
    for route in routes:
        for method in route.methods or ():
            made["paths"][route.path][method.lower()]["x-role"] = role_of(route)
    return made


def role_of(route: APIRoute) -> Role | None:
    """The role that a route takes; None: it is open to everybody."""
    found = (getattr(dependant.call, "role", None) for dependant in route.dependant.dependencies)
    return next((role for role in found if role is not None), None)
