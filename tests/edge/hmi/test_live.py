"""The live part of pages: newest only, and at once where the service is gone or back."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from edge.control.server import SOCKET
from edge.hmi.live import MOST_LINES, MOST_VIEWERS, Viewer, framed
from edge.hmi.pages.page import READ_S
from edge.ops.lock import hold_console
from tests.support.hmi import Browser, console, settings_of, stub_service, until


def said(live: ClientConnection) -> dict[str, Any]:
    frame = live.recv(30)
    assert isinstance(frame, str)
    found: dict[str, Any] = json.loads(frame)
    return found


def wait_for(live: ClientConnection, kind: str) -> dict[str, Any]:
    end = time.monotonic() + 30
    while (found := said(live))["kind"] != kind:
        assert time.monotonic() < end, f"no {kind}"
    return found


def test_a_page_hears_that_the_service_is_gone_and_that_it_is_back(tmp_path: Path) -> None:
    with console(settings_of(tmp_path)) as browser, connect(f"ws://{browser.host}/live", origin=browser.origin) as live:  # type: ignore[arg-type]
        assert said(live) == {"kind": "lost"}
        for _ in range(2):
            with stub_service(tmp_path):
                wait_for(live, "back")
                assert wait_for(live, "status")["lines"]["one"]["state"] == "running"
            wait_for(live, "lost")
        assert browser.get("/").status == 200  # pages are drawn all the same
        assert b"does not answer" in browser.get("/").body
        assert browser.get("/api/v1/lines").code == "no_service"


def test_a_service_that_hangs_keeps_no_page_waiting_long(tmp_path: Path) -> None:
    with (
        hold_console(tmp_path),
        socket.socket(socket.AF_UNIX) as silent,
        console(settings_of(tmp_path)) as browser,
    ):
        silent.bind(str(tmp_path / SOCKET))
        silent.listen()
        begun = time.monotonic()
        assert b"does not answer" in browser.get("/health").body
        assert time.monotonic() - begun < READ_S


def test_a_page_that_takes_nothing_keeps_the_newest_of_each_line_and_no_more() -> None:
    async def read() -> list[str | bytes]:
        viewer = Viewer(frozenset(("a", "b")))
        for number in range(1000):
            viewer.show("a", b"%d" % number)
            viewer.say(f"{number}")
            viewer.tell_state(f"state {number}")
        viewer.show("b", b"b")
        found = await viewer.next()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(viewer.next(), 0.05)
        return found

    found = asyncio.run(read())
    assert found[0] == "state 999"
    assert found[-2:] == [b"999", b"b"]
    texts = found[1:-2]
    assert len(texts) <= 64
    assert texts[-1] == "999"


def test_a_picture_is_one_frame() -> None:
    frame = framed({"line": "one"}, b"jpeg", b"png")
    assert frame == b"\0\0\0\x0f" + b'{"line": "one"}' + b"\0\0\0\x04" + b"jpeg" + b"png"


@pytest.mark.parametrize(
    "lines", ["a/b", "A", "..", "a,b,%00", ",".join(f"l{n}" for n in range(MOST_LINES + 1)), "x" * 65]
)
def test_names_that_no_line_has_are_refused(tmp_path: Path, lines: str) -> None:
    with (
        console(settings_of(tmp_path)) as browser,
        pytest.raises(InvalidStatus),
        connect(f"ws://{browser.host}/live?lines={lines}", origin=browser.origin),  # type: ignore[arg-type]
    ):
        pass


def test_a_crowd_is_let_in_up_to_a_limit_and_room_is_made_again(tmp_path: Path) -> None:
    with console(settings_of(tmp_path)) as browser, ExitStack() as stack:
        origin: Any = browser.origin
        pages = [stack.enter_context(connect(f"ws://{browser.host}/live", origin=origin)) for _ in range(MOST_VIEWERS)]
        with pytest.raises(InvalidStatus):
            connect(f"ws://{browser.host}/live", origin=origin)
        pages[0].close()

        def let_in() -> bool:
            try:
                connect(f"ws://{browser.host}/live", origin=origin).close()
            except InvalidStatus:
                return False
            return True

        until(let_in, "room")


def test_what_a_page_says_is_passed_over_and_a_flood_ends_its_connection(tmp_path: Path) -> None:
    with console(settings_of(tmp_path)) as browser:
        with connect(f"ws://{browser.host}/live", origin=browser.origin) as live:  # type: ignore[arg-type]
            live.send("hello")
            live.send(b"\xff" * 100)
            assert said(live)["kind"] == "lost"
            live.send("x" * 100_000)
            until(lambda: _is_closed(live), "end of the connection")
        assert browser.get("/").status == 200


def _is_closed(live: ClientConnection) -> bool:
    try:
        live.recv(0.5)
    except TimeoutError:
        return False
    except Exception:
        return True
    return False


def test_bytes_that_are_no_http_end_their_connection_and_nothing_else(tmp_path: Path) -> None:
    with console(settings_of(tmp_path)) as browser:

        def send(data: bytes) -> None:
            with socket.create_connection(("127.0.0.1", browser.port), 10) as connection:
                connection.sendall(data)
                connection.settimeout(0.2)
                with suppress(OSError):
                    connection.recv(100)

        rubbish = [
            b"\xff" * 1000,
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01" * 50,
            b"GET /" + b"a" * 200_000,
            b"\r\n" * 500,
        ]
        threads = [threading.Thread(target=send, args=(data,)) for data in rubbish]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert Browser(browser.port).get("/").status == 200
