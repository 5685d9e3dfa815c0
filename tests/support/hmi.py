"""The console in the browser as it runs, a browser without a screen, and a service that only notes what it is asked."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from edge.control.command_queue import CommandQueue
from edge.control.protocol import Refusal, Reply, Request
from edge.control.server import ConsoleServer
from edge.hmi.person import Role
from edge.hmi.server import listening, make_server
from edge.hmi.users import UsersFile
from edge.ops.lock import hold_console
from edge.settings import Settings
from tests.support.mosquitto import free_port

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
_FINE = {"level": "ok", "reason": None, "remedy": None, "since": None}
LINES: dict[str, dict[str, Any]] = {
    "one": {
        "state": "running",
        **_FINE,
        "since": "2026-01-31T06:00:00.000Z",
        "components": dict.fromkeys(("camera", "disk", "broker", "delivery", "judging", "drift", "service"), _FINE),
        "seq": 19,
        "counts": {"normal": 17, "anomaly": 2, "error": 0},
        "recipe": {"pack": "bottle", "pack_version": "0.1.0", "threshold_source": "uncalibrated", "tiles": None}
        | {"name": "default", "number": 1, "revision": 1},
        "threshold": 0.5,
        "provisional": True,
        "review_below": None,
        "in_review": 0,
        "method": {"name": "alfa", "head": None, "remark": None, "text_half": False},
        "bank": {"shots": 1, "revision": 1},
        "weights": {"text": 1.0},
        "smallest_defect": 2,
        "drift": None,
        "shadow": None,
    }
}
"""What the stub says of its one line, as the service would."""
PEOPLE: Mapping[str, tuple[Role, str]] = {
    "vera": ("view", "vera sees everything"),
    "otto": ("operate", "otto runs the line"),
    "eva": ("engineer", "eva sets thresholds"),
}
"""Users of the tests: role and password."""


def settings_of(folder: Path, **hmi: Any) -> Settings:
    """Of a console whose service is in `folder`."""
    line = {"pack": "bottle", "camera": {"source": "sim:bottle"}}
    service = {"state_dir": folder, "runtime_dir": folder}
    return Settings(service=service, hmi={"port": free_port()} | hmi, lines={"one": line})


def add_people(settings: Settings, path: Path | None = None) -> dict[str, str]:
    """Adds `PEOPLE` to the users file, and a script of each role; returns the tokens by role."""
    users = UsersFile(path or settings.service.state_dir / "users.toml")  # type: ignore[operator]
    for name, (role, password) in PEOPLE.items():
        users.add(name, role, password)
    return {role: users.add(f"script {role}", role, None) or "" for role, _ in PEOPLE.values()}


@dataclass
class StubService:
    """The service's end of the console: notes each question, and answers it with little."""

    asked: list[Request] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    sleeps_s: float = 0.0
    refuses: bool = False

    def answer(self, request: Request, blobs: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
        if request.command == "status":
            return Reply(id=request.id, result={"lines": LINES}), ()
        self.asked.append(request)
        self.pictures += blobs
        time.sleep(self.sleeps_s)
        if self.refuses:
            return Reply(id=request.id, refusal=Refusal(code="refused", message="as it is told to")), ()
        return Reply(id=request.id, result={"blobs": ["picture"]}), [PNG]

    def commands(self) -> list[str]:
        return [request.command for request in self.asked]


@contextmanager
def stub_service(folder: Path) -> Iterator[StubService]:
    """A service that listens in `folder`, with the lock that a service holds."""
    stub = StubService()
    with hold_console(folder):
        commands = CommandQueue(stub.answer)
        server = ConsoleServer(folder, commands)
        try:
            server.start()
            yield stub
        finally:
            commands.stop()
            server.stop()


@contextmanager
def console(settings: Settings) -> Iterator[Browser]:
    """The console of these settings, in a thread; gives a browser that has not logged in."""
    server = make_server(settings)
    with listening(settings.hmi) as opened:
        thread = threading.Thread(target=server.run, args=([opened],))
        thread.start()
        try:
            until(lambda: server.started, "console")
            yield Browser(settings.hmi.port)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def until(reached: Any, what: str, timeout_s: float = 30.0) -> None:
    """Waits for something to come true."""
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, f"no {what} within {timeout_s:g} s"
        time.sleep(0.02)


@dataclass(frozen=True)
class Answer:
    """What the console has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Of a refusal."""
        return str(self.json["refusal"]["code"])


@dataclass
class Browser:
    """Sends requests as they are told, and keeps cookies."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)
    token: str | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def get(self, path: str, **headers: str | None) -> Answer:
        return self.send("GET", path, None, **headers)

    def post(self, path: str, sent: Mapping[str, Any] | bytes | None = None, **headers: str | None) -> Answer:
        """JSON for the API, else a form."""
        kind = "application/json" if path.startswith("/api/") else "application/x-www-form-urlencoded"
        if not isinstance(sent, (bytes, type(None))):
            sent = json.dumps(sent).encode() if path.startswith("/api/") else urlencode(sent).encode()
        return self.send("POST", path, sent or b"", **{"content_type": kind} | headers)

    def send(self, method: str, path: str, body: bytes | None, **headers: str | None) -> Answer:
        """`headers` with `_` for `-`; None leaves one out."""
        own: dict[str, str | None] = {"host": self.host}
        if method not in ("GET", "HEAD") and self.token is None:
            own["origin"] = self.origin
        if self.cookies:
            own["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.token is not None:
            own["authorization"] = f"Bearer {self.token}"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (own | given).items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            for name, value in response.getheaders():
                if name.lower() == "set-cookie":
                    self._keep(value)
            return answer
        finally:
            connection.close()

    def log_in(self, name: str, password: str | None = None, **more: str) -> Answer:
        return self.post("/login", {"name": name, "password": password or PEOPLE[name][1], **more})

    def _keep(self, cookie: str) -> None:
        name, _, value = cookie.partition(";")[0].partition("=")
        if value.strip('"'):
            self.cookies[name] = value
        else:
            self.cookies.pop(name, None)
