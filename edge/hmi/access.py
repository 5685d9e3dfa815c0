"""The door: each request passes here before any route, and what is not allowed goes no further.

Whatever is decided is decided on `scope["path"]`, which the routes go by too, and never on an address that is made from
the `Host` header.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.printable import shown
from edge.hmi.body_limit import limited
from edge.hmi.headers import secure
from edge.hmi.origin import HostNames, cross_site, from_page
from edge.hmi.passwords import hash_token
from edge.hmi.person import Person, Role
from edge.hmi.refusals import PageOf, Refused, as_json, is_api, path_of
from edge.hmi.sessions import Sessions
from edge.hmi.users import User, UsersError, UsersFile
from edge.settings import Settings

log = logging.getLogger(__name__)

LOGIN = "/login"
PUBLIC_PAGES = frozenset({LOGIN, "/preferences"})
"""What is open to everybody, besides what the pages are drawn with."""
STATIC = "/static/"
_READING = frozenset({"GET", "HEAD"})
_NOT_CHANGED = "nothing was changed"
_POLICY_VIOLATION = 1008  # of WebSockets
FAILED = Refused(500, "failed", "the console has failed at this; its log says how")
ANYBODY = "local"
"""Who does something where nobody has to log in."""


class Gate:
    """Says who sends a request, and whether it may be done at all."""

    def __init__(self, settings: Settings, users: UsersFile, sessions: Sessions) -> None:
        """Knows no request yet, but whether there are users: from now on nobody is let in by their file being lost."""
        self._settings = settings.hmi
        self._users = users
        self._sessions = sessions
        self._hosts = HostNames(self._settings.listen, self._settings.hosts)
        try:
            self._had_users = bool(users.users())
        except UsersError:  # there is a file, which each request is refused for
            self._had_users = True

    @property
    def encrypted(self) -> bool:
        """Whether browsers come over TLS."""
        return self._settings.encrypted

    @property
    def insecure(self) -> bool:
        """Whether other machines reach it without users or without encryption, which each page has to say."""
        return not self._settings.on_loopback and not (self._had_users and self._settings.encrypted)

    def person(self, connection: HTTPConnection) -> Person | None:
        """Who sends a request; None: nobody knows. May be asked again while a connection lasts.

        Raises:
            Refused: the users file cannot be read.
        """
        try:
            users = self._users.users()
        except UsersError as error:
            log.error("%s", error)
            raise Refused(503, "no_users", "who may use the console cannot be read; its log says why") from error
        self._had_users = self._had_users or bool(users)
        insecure = self.insecure
        token = _token(connection.headers)
        if token is not None:
            name = _script(token, users)
            return None if name is None else Person(name, users[name].role, script=True, insecure=insecure)
        if not self._had_users:
            open_to_all = self._settings.on_loopback or self._settings.insecure
            return Person(ANYBODY, "engineer", anonymous=True, insecure=insecure) if open_to_all else None
        key = connection.cookies.get(cookie_name(self._settings.encrypted), "")
        known = self._sessions.name(key, users) if key else None
        return None if known is None else Person(known, users[known].role, insecure=insecure)

    def admit(self, connection: HTTPConnection) -> None:
        """Notes who sends a request.

        Raises:
            Refused: it is not to be done.
        """
        headers, path = connection.headers, str(connection.scope["path"])
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.know(hosts[0]):
            raise Refused(421, "wrong_host", "the console is not called that; hmi.hosts names what it is called")
        if path.startswith(STATIC) and connection.scope["type"] == "http":  # refusals are drawn with it, too
            return
        method = connection.scope.get("method", "")
        changes = connection.scope["type"] == "websocket" or method not in _READING
        person = connection.scope["state"]["person"] = self.person(connection)
        if changes and (why := cross_site(headers)) is not None:
            log.warning("a request of another site's page: %s", shown(why))
            raise Refused(403, "cross_site", f"the request comes from another site's page; {_NOT_CHANGED}")
        if changes and person is not None and not person.script and not person.anonymous and not from_page(headers):
            raise Refused(403, "no_origin", f"a script uses a token, not a browser's session; {_NOT_CHANGED}")
        if person is None and path not in PUBLIC_PAGES:
            if _token(headers) is not None:
                raise Refused(401, "wrong_token", "there is no such token", {"www-authenticate": "Bearer"})
            raise Refused(401, "no_login", "log in first", {"www-authenticate": "Bearer"})


class Access:
    """The ASGI middleware around everything else: what the gate refuses is answered here."""

    def __init__(self, app: ASGIApp, gate: Gate, page: PageOf) -> None:
        """`page` draws a refusal for people."""
        self._app = app
        self._gate = gate
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        scope.setdefault("state", {})["person"] = None
        scope["root_path"] = ""  # of a proxy: the routes would take the path to begin with it
        try:
            self._gate.admit(connection)
        except Refused as refused:
            log.warning("refused %s %s of %s: %s", *_request_in_words(connection), refused.message)
            await self._refuse(refused, scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A fault costs its own answer, and says nothing of itself but in the log."""
        begun = scope["type"] == "websocket"

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._app(scope, limited(scope, receive), self._with_headers(sending))
        except ClientDisconnect:  # in the middle of a request: nobody waits for an answer
            return
        except Exception:
            log.exception("%s %s of %s has failed", *_request_in_words(HTTPConnection(scope)))
            if begun:
                raise
            await self._refuse(FAILED, scope, receive, send)

    async def _refuse(self, refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": refused.code})
            return
        request = Request(scope)
        response: Response
        if is_api(request):
            response = as_json(refused)
        elif refused.code == "no_login" and "hx-request" in request.headers:  # a part of a page: all of it has to go
            response = Response(status_code=401, headers={"hx-redirect": LOGIN})
        elif refused.code == "no_login" and scope["method"] in _READING:
            response = RedirectResponse(_login_then(request), 303)
        else:
            response = self._page(request, refused)
        await response(scope, receive, self._with_headers(send))

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                secure(MutableHeaders(scope=message), self._gate.encrypted)
            await send(message)

        return sending


def needs(role: Role) -> Callable[[HTTPConnection], Awaitable[Person]]:
    """A dependency of a route: who asks for it, and may.

    Raises:
        Refused: they may not.
    """

    async def person_who_may(request: HTTPConnection) -> Person:
        person: Person | None = request.scope["state"]["person"]
        if person is None:
            raise Refused(401, "no_login", "log in first")
        if not person.may(role):
            log.warning("refused %s %s of %s: it takes %s", *_request_in_words(request), role)
            raise Refused(403, "not_allowed", f"{person.name} may {person.role}; this takes the role {role}")
        return person

    person_who_may.role = role  # type: ignore[attr-defined]  # for the documents, and the test that each route has one
    return person_who_may


def cookie_name(encrypted: bool) -> str:
    """Of a session. The prefix has browsers take it from this console alone, and over TLS alone."""
    return "__Host-alfa-edge-session" if encrypted else "alfa-edge-session"


def address_of(connection: HTTPConnection) -> str:
    """The address that a request comes from."""
    return connection.client.host if connection.client is not None else "unknown"


def _request_in_words(connection: HTTPConnection) -> tuple[str, str, str]:
    person: Person | None = connection.scope["state"]["person"]
    who = address_of(connection) if person is None else f"{shown(person.name)} at {address_of(connection)}"
    return str(connection.scope.get("method", "WebSocket")), path_of(connection), who


def _token(headers: Headers) -> str | None:
    """The token of a script; None: it shows none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _script(token: str, users: Mapping[str, User]) -> str | None:
    kept = hash_token(token)  # a hash is compared, so that the time says nothing of a token
    return next((name for name, user in users.items() if user.token == kept), None)


def _login_then(request: Request) -> str:
    """The login, and where to go from there: a path, so that nobody is sent elsewhere."""
    path = str(request.scope["path"])
    query = request.scope.get("query_string", b"").decode("latin-1")
    return f"{LOGIN}?next={quote(path + (f'?{query}' if query else ''), safe='/')}" if path != "/" else LOGIN
