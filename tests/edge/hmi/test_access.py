"""Who gets in, and who does not: over real connections, past every page and command that there is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from edge.hmi.access import cookie_name
from edge.hmi.api_document import role_of
from edge.hmi.app import ROUTERS
from edge.hmi.headers import CONTENT_SECURITY_POLICY
from edge.hmi.person import ROLES, Role
from edge.hmi.roles import COMMAND_ROLES
from edge.hmi.users import UsersFile
from edge.settings import Settings
from tests.support.hmi import LINES, PEOPLE, Browser, StubService, add_people, console, settings_of, stub_service, until

COOKIE = cookie_name(encrypted=False)
PUBLIC = {"/login", "/preferences"}
SINCE = LINES["one"]["since"].encode()  # of what only the API says
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


@dataclass
class Plant:
    """A console with users, and the service behind it."""

    browser: Browser
    service: StubService
    settings: Settings
    tokens: dict[str, str]
    sessions: dict[str, str]
    """Cookies of people who are logged in, by role."""

    def as_role(self, role: Role) -> Browser:
        return Browser(self.browser.port, {COOKIE: self.sessions[role]})

    def script(self, role: Role) -> Browser:
        return Browser(self.browser.port, token=self.tokens[role])


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    folder = tmp_path_factory.mktemp("hmi")
    settings = settings_of(folder)
    tokens = add_people(settings)
    with stub_service(folder) as service, console(settings) as browser:
        sessions: dict[str, str] = {}
        for name, (role, _) in PEOPLE.items():
            person = Browser(browser.port)
            assert person.log_in(name).status == 303
            sessions[role] = person.cookies[COOKIE]
        until(lambda: Browser(browser.port, token=tokens["view"]).get("/api/v1/lines").status == 200, "service")
        yield Plant(browser, service, settings, tokens, sessions)


@pytest.fixture(autouse=True)
def _nothing_was_asked(plant: Plant) -> None:
    plant.service.asked.clear()


def path_of(route: APIRoute) -> str:
    """With names in the place of arguments."""
    numbers = ("seq", "seqs", "shot", "shots", "candidate", "candidates")
    path = route.path.replace("{path:path}", "nothing")
    for name in numbers:
        path = path.replace(f"{{{name}}}", "1")
    return path.replace("{line}", "one").replace("{recipe}", "1").replace("{name}", "nobody")


def all_routes() -> list[tuple[str, str, Role | None]]:
    return [(method, path_of(route), role_of(route)) for route in ROUTES for method in sorted(route.methods)]


def test_each_route_has_a_role_but_for_the_way_in() -> None:
    assert {route.path for route in ROUTES if role_of(route) is None} == PUBLIC


def test_without_a_login_no_route_is_reached(plant: Plant) -> None:
    for method, path, role in all_routes():
        if role is None:
            continue
        answer = plant.browser.send(method, path, b"{}", content_type="application/json")
        expected = 303 if method == "GET" and not path.startswith("/api/") else 401
        assert answer.status == expected, f"{method} {path}: {answer.status}"
        if expected == 303:
            assert answer.headers["location"].startswith("/login"), path
    assert plant.service.asked == []


def test_a_part_of_a_page_sends_all_of_it_to_the_login(plant: Plant) -> None:
    answer = plant.browser.get("/lines/one/counts", hx_request="true")
    assert (answer.status, answer.headers["hx-redirect"]) == (401, "/login")


def test_no_role_reaches_what_is_for_a_higher_one(plant: Plant) -> None:
    for method, path, role in all_routes():
        for lower in ROLES[: ROLES.index(role)] if role is not None else ():
            for browser in (plant.as_role(lower), plant.script(lower)):
                answer = browser.send(method, path, b"{}", content_type="application/json")
                assert answer.status == 403, f"{method} {path} as {lower}: {answer.status}"
    assert plant.service.asked == []


def test_each_command_is_passed_on_for_its_role(plant: Plant) -> None:
    for command, role in COMMAND_ROLES.items():
        answer = plant.script(role).post(f"/api/v1/commands/{command}", {"line": "one"})
        assert answer.status == 200, f"{command}: {answer.body[:300]!r}"
    assert set(plant.service.commands()) == set(COMMAND_ROLES) - {"status"}
    assert {request.who for request in plant.service.asked} == {f"script {role}" for role in ROLES}


def test_a_forged_cookie_is_nobodys(plant: Plant) -> None:
    right = plant.sessions["engineer"]
    forged = [
        "",
        "x",
        right[:-1],
        right + "x",
        right.swapcase(),
        "../../users.toml",
        "eva",
        "'; --",
        "\xe9" * 40,
        "=" * 4000,
    ]
    for key in forged:
        browser = Browser(plant.browser.port, {COOKIE: key})
        assert browser.get("/api/v1/lines").status == 401, key
    assert Browser(plant.browser.port, {f"__Host-{COOKIE}": right}).get("/api/v1/lines").status == 401
    assert Browser(plant.browser.port, {COOKIE: right}).get("/api/v1/lines").status == 200


def test_a_forged_token_is_nobodys_whatever_cookie_is_beside_it(plant: Plant) -> None:
    for token in ("", "x", plant.tokens["view"][:-1], plant.tokens["view"] + "x", "sha256$" + "0" * 64):
        browser = Browser(plant.browser.port, {COOKIE: plant.sessions["engineer"]}, token=token)
        assert browser.get("/api/v1/lines").status == 401, token
    assert plant.browser.get("/api/v1/lines", authorization="Basic ZXZhOmV2YQ==").status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": None},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": "http://evil.example", "sec_fetch_site": "same-origin"},
    ],
    ids=str,
)
def test_another_sites_page_changes_nothing(plant: Plant, headers: dict[str, str | None]) -> None:
    engineer = plant.as_role("engineer")
    assert engineer.post("/api/v1/commands/pause", {"line": "one"}, **headers).status == 403
    assert engineer.post("/lines/one/pause", {}, **headers).status == 403
    assert engineer.send("DELETE", "/api/v1/users/vera", None, **headers).status == 403
    assert plant.service.asked == []
    assert "vera" in UsersFile(plant.settings.service.state_dir / "users.toml").users()  # type: ignore[operator]


def test_another_sites_form_logs_nobody_in(plant: Plant) -> None:
    form = {"name": "eva", "password": PEOPLE["eva"][1]}
    stranger = Browser(plant.browser.port)
    assert stranger.post("/login", form, origin="http://evil.example").status == 403
    assert stranger.cookies == {}


def test_a_page_of_the_console_itself_may(plant: Plant) -> None:
    engineer = plant.as_role("engineer")
    assert engineer.post("/api/v1/commands/pause", {"line": "one"}, sec_fetch_site="same-origin").status == 200
    assert plant.service.commands() == ["pause"]
    assert plant.service.asked[0].who == "eva"


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "localhost/../evil",
        "localhost:x",
        "localhost:80:80",
        "[::1",
        "xn--lcalhost-65a",
    ],
)
def test_another_name_than_the_consoles_is_not_answered(plant: Plant, host: str | None) -> None:
    answer = plant.as_role("engineer").get("/api/v1/lines", host=host)
    assert answer.status in (400, 421)  # without one, it is no request
    assert SINCE not in answer.body
    assert plant.as_role("engineer").send("POST", "/api/v1/commands/pause", b"", host=host).status in (400, 421)
    assert plant.service.asked == []


def test_the_consoles_own_names_are_answered(plant: Plant) -> None:
    for host in ("localhost", "LOCALHOST:8480", "127.0.0.1", "[::1]:8480", "192.0.2.7"):
        assert plant.as_role("view").get("/api/v1/lines", host=host).status == 200, host


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/lines",
        "/api//v1/lines",
        "/login/../api/v1/lines",
        "/static/../api/v1/lines",
        "/static/..%2fapi/v1/lines",
        "/static/%2e%2e/api/v1/lines",
        "/static/..%5c..%5capp.py",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/%00",
        "/login%2f..%2fapi/v1/lines",
        "/login;/api/v1/lines",
        "/login/",
        "/API/V1/lines",
        "/api/v1/lines/",
        "/api/v1/lines;x",
        "/%61pi/v1/lines",
        "/api/v1/%6cines",
        "/preferences/../api/v1/lines",
        "http://evil.example/api/v1/lines",
        "/api/v1/docs",
        "/docs",
        "/openapi.json",
        "/redoc",
    ],
)
def test_no_spelling_of_a_path_leads_past_the_door(plant: Plant, path: str) -> None:
    answer = plant.browser.get(path)
    assert answer.status in (303, 401, 404), f"{path}: {answer.status}"
    for found in (SINCE, b"root:", b"def create_app", b'"openapi"'):
        assert found not in answer.body
    assert plant.service.asked == []


def test_no_spelling_of_a_path_gives_a_higher_role(plant: Plant) -> None:
    for path in ("//api/v1/commands/threshold", "/api/v1/commands/pause/../threshold", "/api/v1/commands/threshold/"):
        assert plant.as_role("operate").post(path, {"line": "one"}).status in (403, 404, 405), path
    assert plant.service.asked == []


def test_methods_and_headers_that_proxies_know_change_nothing(plant: Plant) -> None:
    stranger = plant.browser
    for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "CONNECT", "PROPFIND", "GETX"):
        assert stranger.send(method, "/api/v1/lines", b"").status in (400, 401, 404, 405), method
    forwarded = {
        "x_forwarded_for": "127.0.0.1",
        "x_forwarded_host": "localhost",
        "x_original_url": "/login",
        "x_rewrite_url": "/login",
        "x_http_method_override": "GET",
        "x_forwarded_user": "eva",
    }
    assert stranger.get("/api/v1/lines", **forwarded).status == 401


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example", None])
def test_another_sites_page_sees_nothing_live(plant: Plant, origin: str | None) -> None:
    headers = {"cookie": f"{COOKIE}={plant.sessions['engineer']}"}
    with (
        pytest.raises(InvalidStatus),
        connect(
            f"ws://{plant.browser.host}/live?lines=one",
            origin=origin,
            additional_headers=headers,  # type: ignore[arg-type]
        ),
    ):
        pass


def test_without_a_login_nothing_is_live(plant: Plant) -> None:
    with pytest.raises(InvalidStatus), connect(f"ws://{plant.browser.host}/live", origin=plant.browser.origin):  # type: ignore[arg-type]
        pass


def test_a_page_of_the_console_is_live_until_its_user_is_removed(plant: Plant) -> None:
    users = UsersFile(plant.settings.service.state_dir / "users.toml")  # type: ignore[operator]
    users.add("gast", "view", "gast sees a little")
    guest = Browser(plant.browser.port)
    guest.log_in("gast", "gast sees a little")
    headers = {"cookie": f"{COOKIE}={guest.cookies[COOKIE]}"}
    with connect(f"ws://{plant.browser.host}/live", origin=plant.browser.origin, additional_headers=headers) as live:  # type: ignore[arg-type]
        assert '"kind"' in live.recv(10)  # type: ignore[operator]
        users.remove("gast")
        with pytest.raises(ConnectionClosed):
            list(live)
    assert guest.get("/api/v1/lines").status == 401


def test_what_a_script_of_a_role_sees_live_is_known_by_its_token(plant: Plant) -> None:
    headers = {"authorization": f"Bearer {plant.tokens['view']}"}
    with connect(f"ws://{plant.browser.host}/live", additional_headers=headers) as live:
        assert '"kind"' in live.recv(10)  # type: ignore[operator]


def test_what_is_refused_is_in_the_log_with_who_asked_and_why(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    operator = plant.as_role("operate")
    plant.browser.get("/api/v1/audit")
    operator.post("/api/v1/commands/threshold", {"line": "one", "threshold": 0.5})
    operator.post("/api/v1/commands/pause", {"line": "one"}, origin="http://evil.example")
    operator.get("/api/v1/audit", host="evil.example")
    plant.browser.get("/%1b[31mred")
    with pytest.raises(InvalidStatus), connect(f"ws://{plant.browser.host}/live", origin="http://evil.example"):  # type: ignore[arg-type]
        pass
    for words in (
        "refused GET /api/v1/audit of 127.0.0.1: log in first",
        "refused POST /api/v1/commands/threshold of otto at 127.0.0.1: it takes engineer",
        "refused POST /api/v1/commands/pause of otto at 127.0.0.1: the request comes from another site's page",
        "refused GET /api/v1/audit of 127.0.0.1: the console is not called that",
        r"refused GET /\x1b[31mred of 127.0.0.1: log in first",
        "refused WebSocket /live of 127.0.0.1: the request comes from another site's page",
    ):
        assert words in caplog.text, caplog.text
    assert plant.service.asked == []


def test_each_answer_tells_the_browser_what_to_refuse(plant: Plant) -> None:
    stranger, person = plant.browser, plant.as_role("view")
    answers = [stranger.get("/login"), stranger.get("/"), stranger.get("/api/v1/lines"), person.get("/")]
    answers += [person.get("/nothing"), person.get("/static/app.css"), stranger.get("/", host="evil.example")]
    for answer in answers:
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert answers[3].headers["cache-control"] == "no-store"


def test_logging_in_goes_on_to_a_page_of_this_console_only(plant: Plant) -> None:
    for given, expected in {
        "/history?line=one": "/history?line=one",
        "//evil.example": "/",
        "/\\evil.example": "/",
        "https://evil.example": "/",
        "/x\r\nset-cookie: a=b": "/",
        "javascript:alert(1)": "/",
    }.items():
        answer = Browser(plant.browser.port).log_in("vera", next=given)
        assert (answer.status, answer.headers["location"]) == (303, expected)
        answer = plant.as_role("view").get(f"/login?next={quote(given)}")
        assert (answer.status, answer.headers["location"]) == (303, expected)


def test_the_cookie_is_the_browsers_alone(plant: Plant) -> None:
    cookie = Browser(plant.browser.port).log_in("vera").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()


def test_logging_out_ends_the_session_for_whoever_has_its_key(plant: Plant) -> None:
    person = Browser(plant.browser.port)
    person.log_in("vera")
    copied = Browser(person.port, dict(person.cookies))
    assert copied.get("/api/v1/me").json["name"] == "vera"
    assert person.post("/logout", {}).status == 303
    assert COOKIE not in person.cookies
    assert copied.get("/api/v1/me").status == 401


def test_too_large_a_request_is_refused_before_it_is_kept(plant: Plant) -> None:
    engineer = plant.script("engineer")
    assert engineer.post("/api/v1/commands/pause", b"x" * 100_000).code == "too_large"
    assert plant.browser.post("/login", b"name=eva&password=" + b"x" * 100_000).status == 413
    assert plant.service.asked == []


def test_no_password_and_no_key_is_in_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = settings_of(tmp_path)
    tokens = add_people(settings)
    secret = "correct horse battery"
    with stub_service(tmp_path), console(settings) as browser:
        browser.log_in("eva")
        browser.log_in("nobody", secret)
        browser.post("/login", {"name": "x" * 500, "password": secret})
        browser.post("/login", {"password": secret})
        browser.get(f"/login?password={secret.replace(' ', '+')}")
        browser.post("/api/v1/users", {"name": "new", "role": "view", "password": secret, "oops": 1})
        browser.post("/api/v1/users", {"name": "new", "role": "view", "password": secret})
        browser.post("/api/v1/users", {"name": "new", "role": "king", "password": secret})
        browser.get("/api/v1/lines", authorization=f"Bearer {tokens['view']}x")
        answers = [browser.post("/login", {"name": "eva", "password": [secret]}).body]
        cookie = browser.cookies[COOKIE]
        headers = {"cookie": f"{COOKIE}={cookie}"}
        with connect(f"ws://{browser.host}/live", origin=browser.origin, additional_headers=headers) as live:  # type: ignore[arg-type]
            live.recv(10)
    written = caplog.text + "".join(capfd.readouterr()) + b"".join(answers).decode()
    kept = "".join(path.read_text() for path in tmp_path.iterdir() if path.suffix in (".toml", ".json"))
    assert "has logged in" in caplog.text
    for hidden in (secret, PEOPLE["eva"][1], cookie, tokens["view"]):
        assert hidden not in written
        assert hidden not in kept


def test_passwords_cannot_be_tried_for_long(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    UsersFile(tmp_path / "users.toml").add("eva", "engineer", PEOPLE["eva"][1])
    with console(settings) as browser:
        answers = [browser.log_in("eva", "wrong wrong") for _ in range(11)]
        assert [answer.status for answer in answers] == [401] * 10 + [429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert browser.log_in("eva").status == 429  # the right one, too: it tells nothing
        before = time.monotonic()
        assert browser.get("/login").status == 200
        assert time.monotonic() - before < 10


def test_whoever_is_logged_in_stays_so_over_a_restart_of_the_console(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    UsersFile(tmp_path / "users.toml").add("eva", "engineer", PEOPLE["eva"][1])
    with console(settings) as browser:
        browser.log_in("eva")
    with console(settings) as _:
        assert browser.get("/api/v1/me").json["name"] == "eva"
        UsersFile(tmp_path / "users.toml").add("eva", "engineer", "another password", replace=True)
        assert browser.get("/api/v1/me").status == 401


def test_on_loopback_without_users_anybody_of_this_machine_may_and_is_told_so(tmp_path: Path) -> None:
    with stub_service(tmp_path) as service, console(settings_of(tmp_path)) as browser:
        until(lambda: browser.get("/api/v1/lines").status == 200, "service")
        said = browser.get("/api/v1/me").json
        assert said == {"name": "local", "role": "engineer", "kind": "person", "anonymous": True, "insecure": False}
        assert browser.post("/api/v1/commands/pause", {"line": "one"}, origin=None).status == 200  # curl
        assert service.asked[-1].who == "local"
        assert browser.post("/api/v1/commands/pause", {"line": "one"}, origin="http://evil.example").status == 403
        assert browser.get("/api/v1/lines", host="evil.example").status == 421
        UsersFile(tmp_path / "users.toml").add("eva", "engineer", PEOPLE["eva"][1])
        assert browser.get("/api/v1/lines").status == 401  # from the first user on
        (tmp_path / "users.toml").unlink()
        assert browser.get("/api/v1/lines").status == 401  # a file that is lost lets nobody in


def test_a_users_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    UsersFile(tmp_path / "users.toml").add("eva", "engineer", PEOPLE["eva"][1])
    with console(settings) as browser:
        browser.log_in("eva")
        assert browser.get("/api/v1/me").status == 200
        (tmp_path / "users.toml").write_text("users = 3")
        assert browser.get("/api/v1/me").code == "no_users"
        assert browser.log_in("eva").status == 503
