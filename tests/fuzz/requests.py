"""Hostile requests to the console in the browser, drawn by chance, and which answers are right."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

from edge.hmi.command_documents import documents
from edge.hmi.person import ROLES, Role
from edge.hmi.roles import COMMAND_ROLES
from tests.fuzz import hostile

INCOMPLETE_S = 1.0
"""So long an answer is waited for of which nobody knows whether there will be one."""
OPEN = frozenset({"/login", "/preferences"})
_DRAWN_WITH = "/static/app.css"  # whatever way it is spelt, it is public
_LARGE = 16_384  # bytes of a head, at least
_LIVE = b"HTTP/1.1 101 "  # it would go on for ever
READING = (
    "/",
    "/lines/line-1",
    "/lines/line-1/counts",
    "/lines/line-1/strip",
    "/lines/line-1/enrol",
    "/lines/line-1/recipe",
    "/lines/line-1/review",
    "/lines/line-1/calibrate",
    "/lines/line-1/threshold/preview",
    "/history",
    "/history.csv",
    "/history/line-1/1",
    "/history/line-1/17",
    "/shots",
    "/health",
    "/audit",
    "/about",
    "/api/v1/lines",
    "/api/v1/lines/line-1/verdicts",
    "/api/v1/lines/line-1/verdicts/1/picture",
    "/api/v1/lines/line-1/trend",
    "/api/v1/shots/1/thumbnail",
    "/api/v1/audit",
    "/api/v1/openapi.json",
    _DRAWN_WITH,
    "/login",
)
WRITING = (
    "/lines/line-1/pause",
    "/lines/line-1/trigger",
    "/lines/line-1/threshold",
    "/lines/line-1/recipe",
    "/lines/line-1/enrol/take",
    "/lines/line-1/calibrate/cancel",
    "/history/line-1/1/feedback",
    "/shots/1/remove",
    "/api/v1/users",
    "/api/v1/commands/nothing",
    "/login",
    "/logout",
    "/preferences",
)
_FAULTS = frozenset({500, 501, 502, 505, 507})
_REFUSED = range(400, 500)


@dataclass(frozen=True)
class Request:
    """What is sent.

    Attributes:
        data: All of it, as bytes.
        role: Of whoever sends it; None: nobody that the console knows.
        path: Asked for; empty where the bytes were damaged, so that nobody knows what, nor whether it is all of it.
        command: Asked for; empty where it is none.
    """

    data: bytes
    role: Role | None
    path: str = ""
    command: str = ""


def draw(chance: random.Random, tokens: Mapping[str, str], lines: Sequence[str], host: str) -> Request:
    """A request with one thing about it that is wrong; and some with nothing."""
    role = chance.choice((None, None, *ROLES, "operate", "engineer"))
    kind = chance.randrange(20)
    method, path, command, headers, body = "GET", "/", "", dict[str, str](), b""
    damaged = False
    if kind < 9:
        command = chance.choice(list(COMMAND_ROLES))
        method, path = "POST", f"/api/v1/commands/{command}"
        headers["Content-Type"], body = _arguments(chance, command, lines)
    elif kind < 13:
        path = _spelt(chance, chance.choice(READING))
        if chance.random() < 0.7:
            names = (
                "line",
                "count",
                "since",
                "before_seq",
                "kinds",
                "page",
                "size",
                "recipe",
                "said",
                "next",
                "threshold",
            )
            path += "?" + urlencode([(chance.choice(names), _text(chance)) for _ in range(chance.randrange(4))])
    elif kind < 17:
        method, path = "POST", _spelt(chance, chance.choice(WRITING))
        fields = ("name", "password", "next", "theme", "part_id", "threshold", "recipe", "candidates", "kind", "role")
        form = [(chance.choice(fields), _text(chance)) for _ in range(chance.randrange(5))]
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form).encode()
    elif kind == 17:
        path = "/live?" + urlencode({"lines": _text(chance)})
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers["Sec-WebSocket-Key"] = chance.choice(("AAAAAAAAAAAAAAAAAAAAAA==", "x", ""))
    else:
        method = chance.choice(("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "X" * 50))
        path = _spelt(chance, chance.choice(READING + WRITING + ("/api/v1/users/nobody",)))
    headers.setdefault("Connection", "close")
    if role is not None:
        headers["Authorization"] = f"Bearer {tokens[role]}"
    else:
        headers |= chance.choice(
            ({}, {"Cookie": f"alfa-edge-session={_header(chance)}"}, {"Authorization": "Bearer x"})
        )
    if chance.random() < 0.15:
        name = chance.choice(
            ("Host", "Origin", "Sec-Fetch-Site", "Content-Length", "Transfer-Encoding", "Cookie", "X-Forwarded-For")
        )
        headers[name] = _header(chance)
        damaged = name in ("Content-Length", "Transfer-Encoding")
    data = _written(method, path, {"Host": host} | headers, body)
    if damaged or chance.random() < 0.1:
        return Request(data if damaged else hostile.damaged(chance, data), role)
    return Request(data, role, path, command)


def wrong(request: Request, answer: bytes | None) -> str | None:
    """What is wrong about an answer, in words; None where nothing is."""
    if answer is None:
        return "no answer" if request.path else None  # it waits for the rest
    if not answer:  # the connection was ended
        return None if not request.path or not request.path.isascii() else _ended(request)
    if not answer.startswith(b"HTTP/1.1 "):
        return f"no HTTP: {answer[:100]!r}"
    status = int(answer[9:12])
    if status in _FAULTS:
        return f"status {status}"
    if b"Traceback" in answer:
        return "a traceback"
    if not request.path:
        return None  # damaged bytes may be any request
    done = status < 400 and status != 303
    if request.role is None and done and not _is_open(request.path.partition("?")[0]):
        return f"status {status} without a login"
    if request.command and request.role is not None and status < 400:
        needed = COMMAND_ROLES[request.command]
        if ROLES.index(request.role) < ROLES.index(needed):
            return f"status {status} as {request.role}, where it takes {needed}"
    return None


def patience_s(request: Request, usual_s: float, service_s: float) -> float:
    """How long an answer is waited for: the console alone, or with it the service, which waits for parts."""
    return INCOMPLETE_S if not request.path else usual_s if request.role is None else service_s


def exchange(port: int, data: bytes, timeout_s: float) -> bytes | None:
    """What is answered up to the end of the connection, or its first bytes; None: nothing in time."""
    found = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(data)
            while len(found) < 65536 and not found.startswith(_LIVE) and (piece := connection.recv(65536)):
                found += piece
            return found
    except (ConnectionResetError, BrokenPipeError):
        return b""
    except TimeoutError:
        return found or None


def _is_open(spelt: str) -> bool:
    path = unquote(spelt).rstrip("/")
    return path in OPEN or (path.startswith("/static/") and path.endswith(_DRAWN_WITH))


def _ended(request: Request) -> str | None:
    """A request without an answer: the HTTP parser ends what it cannot read."""
    large = len(request.data) > _LARGE  # it is refused before it has come, and the rest of it ends the connection
    return None if large or b"\r\n\r\n" not in request.data or b"\x00" in request.data else "the connection was ended"


def _arguments(chance: random.Random, command: str, lines: Sequence[str]) -> tuple[str, bytes]:
    """Content type and body of a command."""
    usual = {
        "line": chance.choice(lines),
        "part_id": "A-17",
        "since": "2026-01-31T06:00:00Z",
        "count": 3,
        "timeout_s": 1.0,
        "shots": 1,
        "parts": 1,
        "rate": 0.5,
        "threshold": 0.5,
        "seq": 1,
        "shot": 1,
        "candidate": 1,
        "candidates": [1],
        "recipe": "1",
        "kind": "missed",
        "good": True,
        "name": "copy",
        "settings": {},
        "all": True,
        "hold": True,
    }
    properties = documents()[command].schema.get("properties", {})
    arguments = {name: usual[name] for name in properties if name in usual and chance.random() < 0.9}
    changed = hostile.replaced(chance, arguments) if chance.random() < 0.8 else arguments
    if isinstance(changed, dict) and "timeout_s" in properties:
        changed = changed | {"timeout_s": 1.0}
    written = json.dumps(changed).encode("utf-8", "surrogatepass")
    if chance.random() < 0.1:
        written = hostile.damaged(chance, written)
    elif chance.random() < 0.03:
        written = hostile.nested(chance)
    if command in ("enroll", "learn") and chance.random() < 0.5:
        picture = chance.choice((b"", b"\xff\xd8\xff", chance.randbytes(300)))
        part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        body = part % (b"arguments", b"", written) + part % (b"pictures", b'; filename="a.png"', picture) + b"--b--\r\n"
        return "multipart/form-data; boundary=b", hostile.damaged(chance, body) if chance.random() < 0.4 else body
    usual_kind = chance.random() < 0.85
    return "application/json" if usual_kind else chance.choice(
        ("application/json; charset=utf-16", "text/plain", "")
    ), written


def _text(chance: random.Random) -> str:
    usual = ("line-1", "1", "normal", "2026-01-31T06:00:00Z", "0.5", "/history")
    return chance.choice(usual) if chance.random() < 0.5 else hostile.text(chance).encode("utf-8", "replace").decode()


def _spelt(chance: random.Random, path: str) -> str:
    """A path, one in three times in a way that nobody writes it."""
    if chance.random() < 0.67:
        return path
    changes = (
        lambda: f"/{path}",
        lambda: f"{path}/",
        lambda: path.replace("/", "//"),
        lambda: path.replace("/", "/./"),
        lambda: f"/static/..{path}",
        lambda: f"/login/..{path}",
        lambda: f"/static/%2e%2e{path}",
        lambda: path.upper(),
        lambda: quote(path, safe=""),
        lambda: path.replace("line-1", quote(hostile.text(chance).encode("utf-8", "replace"), safe="")),
        lambda: path.replace("1", str(hostile.number(chance))),
        lambda: f"{path};x=1",
        lambda: f"{path}%00",
        lambda: f"http://evil.example{path}",
    )
    return chance.choice(changes)()


def _header(chance: random.Random) -> str:
    text = hostile.text(chance, 60).replace("\r", " ").replace("\n", " ")
    return chance.choice((text, "evil.example", "null", "cross-site", "chunked", "-1", "99999999999"))


def _written(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    if body and "Content-Length" not in headers:
        headers = {**headers, "Content-Length": f"{len(body)}"}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body
