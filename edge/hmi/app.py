"""Puts the console in the browser together: its parts, its routes, and the door before them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from core.printable import shown
from edge import __version__
from edge.hmi import api, api_document, live, login, pages, users_api
from edge.hmi.access import Access, Gate
from edge.hmi.live import Live
from edge.hmi.login import Logins
from edge.hmi.pages.calibration_jobs import CalibrationJobs
from edge.hmi.pages.page import Notices
from edge.hmi.refusals import Refused, as_json, is_api
from edge.hmi.rendering import STATIC_FOLDER, Assets, Rendering, refusal_page
from edge.hmi.service_link import ServiceLink
from edge.hmi.sessions import Sessions
from edge.hmi.users import UsersFile
from edge.ops.systemd import Notifier, watchdog_period
from edge.ops.worker import Workers
from edge.settings import Settings, users_file

log = logging.getLogger(__name__)

ROUTERS = (login.router, live.router, api.router, users_api.router, api_document.router, *pages.ROUTERS)
"""All routes, but for what pages are drawn with."""
_LOOK_S = 1.0  # between two looks at the threads
_CODES = {404: "not_found", 405: "wrong_method", 400: "bad_request"}


def create_app(settings: Settings, link: ServiceLink, notifier: Notifier | None = None) -> FastAPI:
    """The application.

    Args:
        settings: Of the service and of the console.
        link: To the service; started and stopped with the application.
        notifier: To systemd, which hears when it is ready, and, for as long as it goes on, that it is alive.

    Raises:
        OSError: a file of the console itself cannot be read.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        link.start()
        hub.start()
        alive = asyncio.create_task(_stay_alive(notifier or Notifier({}), link.workers))
        try:
            yield
        finally:
            alive.cancel()
            hub.stop()
            link.stop()

    app = FastAPI(
        title="alfa-edge",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # it is a route of the API, with the commands' arguments in it
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    path = users_file(settings)
    users, sessions = UsersFile(path), Sessions(path.with_name("sessions.json"), settings.hmi.session_hours)
    gate, hub = Gate(settings, users, sessions), Live(link)
    app.state.settings = settings
    app.state.link = link
    app.state.users = users
    app.state.sessions = sessions
    app.state.gate = gate
    app.state.live = hub
    app.state.logins = Logins(users, sessions)
    app.state.notices = Notices()
    app.state.calibrations = CalibrationJobs()
    app.state.rendering = Rendering(settings.hmi.language)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", Assets(directory=STATIC_FOLDER), "static")
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _wrong_input)
    app.add_middleware(Access, gate=gate, page=refusal_page)
    return app


async def _stay_alive(notifier: Notifier, workers: Workers) -> None:
    """Tells systemd, from the loop that answers requests; a console without its threads ends, to be started anew."""
    notifier.ready()
    period_s = watchdog_period()
    while True:
        if workers.failed.is_set():
            log.critical("the console ends: %s", workers.failure)
            logging.shutdown()
            os._exit(os.EX_SOFTWARE)
        if period_s is not None and workers.stalled() is None:
            notifier.watchdog()
        await asyncio.sleep(min(period_s or _LOOK_S, _LOOK_S))


def _answer(request: Request, refused: Refused) -> Response:
    return as_json(refused) if is_api(request) else refusal_page(request, refused)


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, Refused):
        return _answer(request, error)
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "refused")
    return _answer(request, Refused(error.status_code, code, str(error.detail), error.headers))


async def _wrong_input(request: Request, error: Exception) -> Response:
    """Names what is wrong, and not what was given: it may be a password."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])[:80]
    return _answer(request, Refused(422, "bad_arguments", f"{shown(where)}: {first['msg']}"))
