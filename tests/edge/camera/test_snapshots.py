"""Cameras that give one picture for each request."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.image import encode_jpeg
from edge.camera.source import open_source
from edge.clock import monotonic
from edge.settings import CameraSettings
from tests.edge.camera.conftest import Open, wait_for
from tests.support.pictures import number_of, numbered

USER, PASSWORD = "line", "p/w d"


class SnapshotCamera:
    """Answers each request with the picture of its number; what `answer` makes of a JPEG is sent in its place."""

    def __init__(self, login: str | None = None) -> None:
        self.requests = 0
        self.answer: Callable[[bytes], bytes] = bytes
        self.pause_s = 0.0
        self.length: Callable[[int], str] = str
        """How it writes the length of its answer."""
        self.status: tuple[int, str, dict[str, str]] | None = None
        """What it answers in place of a picture: a number, words and headers."""
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if login is not None and not _admits(login, self.headers.get("Authorization"), self.path):
                    self.send_response(401)
                    asked = (
                        'Basic realm="camera"' if login == "basic" else 'Digest realm="camera", nonce="abc", qop="auth"'
                    )
                    self.send_header("WWW-Authenticate", asked)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                camera.requests += 1
                if camera.status is not None:
                    number, words, headers = camera.status
                    self.send_response(number, words)
                    for name, value in {**headers, "Content-Length": "0"}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    return
                time.sleep(camera.pause_s)
                picture = encode_jpeg(numbered(camera.requests % 1000))
                sent = camera.answer(picture)
                self.send_response(200)
                self.send_header("Content-Type", "image/jpeg")
                self.send_header("Content-Length", camera.length(len(picture)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> SnapshotCamera:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _admits(login: str, said: str | None, path: str) -> bool:
    if said is None:
        return False
    if login == "basic":
        return said == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    fields = dict(part.strip().split("=", 1) for part in said.removeprefix("Digest ").split(","))
    fields = {name: value.strip('"') for name, value in fields.items()}
    whose = hashlib.md5(f"{USER}:camera:{PASSWORD}".encode()).hexdigest()
    what = hashlib.md5(f"GET:{path}".encode()).hexdigest()
    of = f"{whose}:abc:{fields['nc']}:{fields['cnonce']}:auth:{what}"
    return fields["response"] == hashlib.md5(of.encode()).hexdigest()


@pytest.fixture
def camera_at() -> Iterator[SnapshotCamera]:
    with SnapshotCamera() as camera:
        yield camera


@pytest.mark.parametrize("path", ["snapshot.jpg", "cgi-bin/snapshot.cgi?channel=1&subtype=0"])
def test_each_part_gets_a_picture_that_was_asked_for_after_it(
    open_camera: Open, camera_at: SnapshotCamera, path: str
) -> None:
    camera = open_camera(f"http://{camera_at.address}/{path}")
    numbers = []
    for _ in range(3):
        trigger, before = monotonic(), camera_at.requests
        frame = camera.next_frame(10, not_before=trigger)
        assert frame is not None
        assert frame.captured >= trigger
        assert number_of(frame.image) > before, "not one that was on its way"
        numbers.append(number_of(frame.image))
        camera.poll(0.3)
    assert numbers == sorted(set(numbers))
    assert camera.live
    before = camera_at.requests
    camera.poll(1.0)
    assert camera_at.requests - before <= 11, "each request is work for a camera"


@pytest.mark.parametrize("login", ["basic", "digest"])
def test_it_logs_in_as_the_camera_asks(login: str) -> None:
    with SnapshotCamera(login) as server:
        source = open_source(
            CameraSettings(source=f"http://{USER}:p%2Fw%20d@{server.address}/snapshot.jpg", open_timeout_s=2)
        )
        assert source.live
        for _ in range(8):
            assert source.grab()
            assert source.retrieve().shape == (240, 320, 3)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda jpeg: jpeg[:-200], "broke off: the camera's answer did not come whole"),
        (lambda jpeg: b"\x12" * len(jpeg), "a frame could not be decoded"),
        (lambda jpeg: jpeg[:600] + bytes(len(jpeg) - 600), "a frame could not be decoded"),
    ],
    ids=["short", "garbage", "torn"],
)
def test_what_does_not_come_whole_is_a_fault_and_no_picture(
    open_camera: Open, camera_at: SnapshotCamera, answer: Callable[[bytes], bytes], says: str
) -> None:
    camera = open_camera(f"http://{camera_at.address}/snapshot.jpg")
    assert camera.next_frame(10) is not None
    camera_at.answer = answer
    wait_for(camera, lambda: camera.next_frame(0.05) is None and camera.status.state == "fault")
    assert says in (camera.status.reason or "")
    camera_at.answer = bytes
    assert camera.next_frame(10) is not None
    assert camera.status.restarts == 0


def test_a_camera_that_does_not_answer_in_time_is_a_fault(open_camera: Open, camera_at: SnapshotCamera) -> None:
    camera = open_camera(f"http://{camera_at.address}/snapshot.jpg", read_timeout_s=0.5)
    assert camera.next_frame(10) is not None
    camera_at.pause_s = 5.0
    wait_for(camera, lambda: camera.status.state == "fault")
    assert "stalled: connected, but no frame in 0.5 s" in (camera.status.reason or "")


def test_a_length_that_is_written_oddly_ends_nothing(open_camera: Open, camera_at: SnapshotCamera) -> None:
    camera = open_camera(f"http://{camera_at.address}/snapshot.jpg")
    for written in ("{0}", "{0:09d}", "{0}, {0}", "{0} bytes", "+{0}", ""):
        camera_at.length = written.format
        assert camera.next_frame(10, not_before=monotonic()) is not None, (written, camera.status)
    assert (camera.status.restarts, camera.status.reconnects) == (0, 0)


ANSWERS: tuple[tuple[int, str, dict[str, str]], ...] = (
    (302, "Found", {"Location": "rtsp://admin:hunter2@other/x"}),
    (302, "Found", {"Location": "ftp://admin:hunter2@127.0.0.1:9/x"}),
    (302, "Found", {"Location": "http://admin:hunter2@[::/x"}),
    (302, "Found", {"Location": "http://127.0.0.1:99999999/?pass=hunter2"}),
    (404, "no /cgi/snap?loginpas=hunter2", {}),
    (401, "no", {"WWW-Authenticate": 'Digest realm="hunter2", nonce="b", algorithm=SHA-512'}),
    (204, "No Content", {}),
)


def test_what_a_camera_answers_in_place_of_a_picture_is_a_fault_and_not_quoted(
    open_camera: Open, camera_at: SnapshotCamera
) -> None:
    camera = open_camera(f"http://{camera_at.address}/cgi/snap?loginpas=hunter2")
    for answer in (None, *ANSWERS):
        camera_at.status = answer
        if answer is not None:
            wait_for(camera, lambda: camera.next_frame(0.05) is None and camera.status.state == "fault")
            reason = camera.status.reason or ""
            assert "hunter2" not in reason
            assert f"http://{camera_at.address}: " in reason, answer
        camera_at.status = None
        assert camera.next_frame(10) is not None
        wait_for(camera, lambda: camera.status.state == "running")
    assert camera.status.restarts == 0
