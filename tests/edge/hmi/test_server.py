"""What has to be right before the console listens, and how it starts and ends."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from edge.hmi.patience import PatientProtocol
from edge.hmi.server import address, check_reachable_safely, listening
from edge.hmi.users import UsersFile
from edge.settings import HmiSettings
from edge.settings_file import ConfigError
from tests.support.certificates import Authority, Identity
from tests.support.hmi import console, settings_of, stub_service, until
from tests.support.mosquitto import free_port
from tests.support.service import toml


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Authority(tmp_path_factory.mktemp("authority")).vouch("console", "DNS:localhost,IP:127.0.0.1")


def problems(folder: Path, **hmi: object) -> str:
    with pytest.raises(ConfigError) as refused:
        check_reachable_safely(settings_of(folder, **hmi))
    return str(refused.value)


def test_beyond_loopback_it_takes_users_and_a_certificate(tmp_path: Path, identity: Identity) -> None:
    tls = {"tls_cert": identity.certificate, "tls_key": identity.key}
    nothing = problems(tmp_path, listen="0.0.0.0")
    assert "alfa-edge users add" in nothing
    assert "hmi.tls_cert" in nothing
    assert "hmi.tls_cert" not in problems(tmp_path, listen="0.0.0.0", **tls)
    UsersFile(tmp_path / "users.toml").add("eva", "engineer", "correct horse")
    assert "users add" not in problems(tmp_path, listen="::")
    assert check_reachable_safely(settings_of(tmp_path, listen="0.0.0.0", **tls)) == []


def test_insecure_and_open_to_all_are_allowed_where_that_is_said(tmp_path: Path) -> None:
    assert "no users" in check_reachable_safely(settings_of(tmp_path))[0]
    notes = check_reachable_safely(settings_of(tmp_path, listen="0.0.0.0", insecure=True))
    assert "strangers" in notes[1]
    with console(settings_of(tmp_path, listen="0.0.0.0", insecure=True)) as browser:
        said = browser.get("/api/v1/me").json
        assert (said["anonymous"], said["insecure"]) == (True, True)
        assert b"network" in browser.get("/").body
        UsersFile(tmp_path / "users.toml").add("eva", "engineer", "correct horse")
        assert b"network" in browser.get("/login").body  # a password would be read along


def test_files_that_are_not_as_they_have_to_be_are_named(tmp_path: Path, identity: Identity) -> None:
    pair = {"tls_cert": identity.certificate, "tls_key": tmp_path / "none.key"}
    assert "none.key" in problems(tmp_path, **pair)
    os.mkfifo(tmp_path / "pipe.key")
    assert "pipe" in problems(tmp_path, tls_cert=identity.certificate, tls_key=tmp_path / "pipe.key")
    wrong = tmp_path / "wrong.key"
    wrong.write_text("nothing")
    assert "cannot be used" in problems(tmp_path, tls_cert=identity.certificate, tls_key=wrong)
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", str(identity.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    assert "has a password" in problems(tmp_path, tls_cert=identity.certificate, tls_key=locked)
    (tmp_path / "users.toml").write_text("nonsense")
    assert "users.toml" in problems(tmp_path)


def test_a_port_that_somebody_has_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="port"):
        listening(HmiSettings(port=taken.getsockname()[1]))
    with pytest.raises(ConfigError, match="no-such-host"):
        listening(HmiSettings(listen="no-such-host.invalid"))


def test_the_address_is_what_a_browser_takes(identity: Identity) -> None:
    assert address(HmiSettings()) == "http://127.0.0.1:8480/"
    assert address(HmiSettings(listen="::1")) == "http://[::1]:8480/"
    tls = HmiSettings(listen="box", tls_cert=identity.certificate, tls_key=identity.key)
    assert address(tls) == "https://box:8480/"


def test_over_tls_the_cookie_is_for_this_console_alone(tmp_path: Path, identity: Identity) -> None:
    UsersFile(tmp_path / "users.toml").add("eva", "engineer", "correct horse")
    settings = settings_of(tmp_path, tls_cert=identity.certificate, tls_key=identity.key)
    with console(settings) as browser:
        trusting = ssl.create_default_context(cafile=str(identity.certificate.parent / "authority.pem"))
        form = b"name=eva&password=correct+horse"
        own = {"origin": f"https://localhost:{browser.port}"}
        asked = urllib.request.Request(f"https://localhost:{browser.port}/login", form, own)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusting), _NoRedirect())
        with pytest.raises(urllib.error.HTTPError) as moved:
            opener.open(asked, timeout=20)
        cookie = moved.value.headers["set-cookie"]
        assert moved.value.code == 303
        assert cookie.startswith("__Host-alfa-edge-session=")
        assert "Secure" in cookie
        assert "strict-transport-security" in moved.value.headers


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def test_neither_torch_nor_opencv_is_loaded() -> None:
    """They take seconds, and hundreds of megabytes."""
    code = (
        "import sys, edge.cli.app, edge.hmi.server; "
        "print([name for name in ('torch', 'cv2', 'open_clip', 'timm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_it_runs_as_a_process_tells_systemd_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    config, port = tmp_path / "edge.toml", free_port()
    config.write_text(
        toml(
            {
                "service": {"state_dir": str(tmp_path)},
                "hmi": {"port": port},
                "lines.one": {"pack": "bottle"},
                "lines.one.camera": {"source": "sim:bottle"},
            }
        )
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        environment.pop("WATCHDOG_PID", None)
        command = [sys.executable, "-m", "edge.cli", "hmi", "--config", str(config)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20).status == 200
            process.send_signal(signal.SIGTERM)
            before = time.monotonic()
            assert process.wait(20) == 0
            assert time.monotonic() - before < 10
        finally:
            process.kill()
            _, errors = process.communicate()
    assert "Traceback" not in errors
    assert f"the console is at http://127.0.0.1:{port}/" in errors


def test_a_question_that_hangs_does_not_keep_the_console_from_ending(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with stub_service(tmp_path) as service:
        service.sleeps_s = 3.0
        with console(settings) as browser:
            asking = threading.Thread(target=browser.get, args=("/api/v1/audit",))
            asking.start()
            until(lambda: service.commands() == ["audit"], "question")
        asking.join(20)
        assert not asking.is_alive()


def ended_within(port: int, data: bytes) -> float:
    """Seconds until the console ends a connection on which this comes, and nothing more."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.settimeout(30)
        connection.sendall(data)
        begun = time.monotonic()
        while connection.recv(4096):
            pass
        return time.monotonic() - begun


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HT",
        b"GET /login HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\nGET /login HTTP/1.1\r\nHost: ",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname=",
    ],
    ids=["nothing", "a method", "a header", "a second request", "a body"],
)
def test_who_sends_half_a_request_makes_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(PatientProtocol, "head_s", 0.3)
    monkeypatch.setattr("edge.hmi.body_limit.SMALL_S", 0.3)
    UsersFile(tmp_path / "users.toml").add("plc", "view", None)
    with console(settings_of(tmp_path)) as browser:
        assert ended_within(browser.port, data) < 20
        assert browser.get("/login").status == 200


@pytest.mark.parametrize(
    "wrong",
    [{"lines": "y" * 9000}, {"key": ""}, {"key": "x"}, {"host": "\u022e"}, {"version": "99"}],
    ids=["a long line", "no key", "a short key", "a name that is none", "another version"],
)
def test_what_is_no_handshake_is_answered_at_once(tmp_path: Path, wrong: dict[str, str]) -> None:
    right = {"lines": "one", "key": "AAAAAAAAAAAAAAAAAAAAAA==", "host": "localhost", "version": "13"} | wrong
    request = (
        f"GET /live?lines={right['lines']} HTTP/1.1\r\nHost: {right['host']}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: {right['version']}\r\nSec-WebSocket-Key: {right['key']}\r\n\r\n"
    )
    with console(settings_of(tmp_path)) as browser, socket.create_connection(("127.0.0.1", browser.port), 30) as found:
        found.sendall(request.encode())
        found.settimeout(8)  # sooner than a connection on which nothing comes is ended
        answer = found.recv(4096)
        assert answer[9:12] in (b"400", b"403", b"426"), answer
        assert found.recv(4096) == b""


def test_who_goes_away_in_the_middle_of_a_request_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with console(settings_of(tmp_path)) as browser:
        for path in ("/api/v1/commands/pause", "/login"):
            with socket.create_connection(("127.0.0.1", browser.port), 30) as found:
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                found.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        until(lambda: browser.get("/api/v1/me").status == 200, "answer")
    assert "Traceback" not in caplog.text


def test_an_answer_that_takes_long_and_a_live_page_are_not_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "head_s", 0.2)
    with stub_service(tmp_path) as service, console(settings_of(tmp_path)) as browser:
        origin: Any = browser.origin
        with connect(f"ws://{browser.host}/live", origin=origin) as live:
            until(lambda: browser.get("/api/v1/lines").status == 200, "service")
            service.sleeps_s = 1.5
            assert browser.get("/api/v1/audit").status == 200
            before = time.monotonic()
            while time.monotonic() - before < 1.5:
                assert live.recv(20)


def test_a_console_whose_thread_has_failed_ends_to_be_started_anew(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edge.hmi import live\n"
        "from edge.hmi.server import run\n"
        "from tests.support.hmi import settings_of\n"
        "live.FeedClient = None  # the thread fails as soon as somebody looks\n"
        "run(settings_of(Path(sys.argv[1]), port=int(sys.argv[2])))\n"
    )
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(port)], stderr=subprocess.PIPE, text=True
    )
    origin: Any = f"http://127.0.0.1:{port}"

    def looks() -> bool:
        try:
            connect(f"ws://127.0.0.1:{port}/live?lines=one", origin=origin).close()
        except OSError:
            return process.poll() is not None
        return True

    try:
        until(looks, "console", 60)
        assert process.wait(60) == os.EX_SOFTWARE
    finally:
        process.kill()
        _, errors = process.communicate()
    assert "the console ends: the thread live-feed has failed" in errors
