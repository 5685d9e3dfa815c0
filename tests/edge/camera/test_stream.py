from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.camera import Frame
from edge.clock import monotonic
from tests.edge.camera.conftest import Open, wait_for
from tests.support import rtsp
from tests.support.mjpeg import MjpegServer
from tests.support.pictures import number_of, numbered, write_folder
from tests.support.rtsp import RtspServer


def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted(open_camera: Open) -> None:
    with MjpegServer(numbered, fps=40) as server:
        camera = open_camera(server.url)
        frames: list[Frame] = []
        for _ in range(8):
            asked, shown = monotonic(), server.index()
            frame = camera.next_frame(10)
            assert frame is not None
            assert frame.captured > asked - 0.001, "grabbed before it was asked for"
            assert number_of(frame.image) >= shown
            assert server.index() - number_of(frame.image) <= 4, "an old picture"
            frames.append(frame)
            time.sleep(0.2)
        camera.stop()
    assert frames[0].number == frames[0].dropped + 1
    for before, after in itertools.pairwise(frames):
        assert after.number == before.number + after.dropped + 1
        assert after.number - before.number == number_of(after.image) - number_of(before.image)
    assert all(frame.dropped >= 4 for frame in frames[1:])
    assert not frames[0].simulated


def test_a_frame_that_lay_unread_is_passed_over_and_counted(open_camera: Open) -> None:
    with MjpegServer(numbered, fps=20) as server:
        camera = open_camera(server.url)
        first = camera.next_frame(10)
        assert first is not None
        camera.next_frame(0)  # asks; the answer comes when nobody is waiting
        camera.poll(1.5)
        second = camera.next_frame(5)
        assert second is not None
        assert monotonic() - second.captured < 0.5
        assert second.number == first.number + second.dropped + 1
        camera.next_frame(0)
        camera.poll(0.3)
        trigger = monotonic()
        third = camera.next_frame(5, not_before=trigger)
        assert third is not None
        assert third.captured >= trigger
        assert third.number == second.number + third.dropped + 1


@pytest.mark.parametrize("fps", [5, 20])
def test_the_interval_between_its_frames_is_known(open_camera: Open, fps: int) -> None:
    with MjpegServer(numbered, fps=fps) as server:
        camera = open_camera(server.url)
        wait_for(camera, lambda: camera.status.interval_s is not None)  # though no frame is asked for
        for _ in range(5):
            assert camera.next_frame(10) is not None
        camera.poll(1.5)
        assert camera.status.interval_s == pytest.approx(1 / fps, rel=0.3)


def test_a_stream_that_stalls_is_a_fault_that_says_so(open_camera: Open) -> None:
    with MjpegServer(numbered, fps=20) as server:
        camera = open_camera(server.url)
        assert camera.next_frame(10) is not None
        server.stall()
        began = monotonic()
        wait_for(camera, lambda: camera.status.state == "fault", 5)
        assert 0.8 < monotonic() - began < 2.5
        assert "stalled: connected, but no frame in 1 s" in (camera.status.reason or "")
        wait_for(camera, lambda: camera.status.reconnects >= 1, 5)
        server.resume()
        frame = camera.next_frame(10)
        assert frame is not None
        assert camera.status.state == "running"
        assert camera.status.restarts == 0


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts and never says a word."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    held.append(server.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join()
    for connection in held:
        connection.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_accepts_and_is_silent_runs_into_the_timeout(open_camera: Open, scheme: str) -> None:
    with silent_server() as port:
        camera = open_camera(f"{scheme}://user:hunter2@127.0.0.1:{port}/x", open_timeout_s=0.5)
        assert camera.next_frame(0.2) is None
        wait_for(camera, lambda: camera.status.state == "fault", 8)
        assert camera.status.reason == (
            f"{scheme}://127.0.0.1:{port}: cannot be opened: "
            f"127.0.0.1 port {port} answers, but gave no video in 0.5 s; check path, user and password"
        )
        wait_for(camera, lambda: camera.status.reconnects >= 2, 8)
        assert camera.status.restarts == 0
        camera.stop()


def test_a_camera_that_was_off_comes_back(open_camera: Open) -> None:
    with MjpegServer(numbered, fps=20) as server:
        camera = open_camera(server.url)
        assert camera.next_frame(10) is not None
        server.stop()
        wait_for(camera, lambda: camera.status.state == "fault", 5)
        wait_for(camera, lambda: "Connection refused" in (camera.status.reason or ""), 5)
        wait_for(camera, lambda: camera.status.reconnects >= 2, 5)
        assert camera.next_frame(0.2) is None
        server.start()
        restarted = monotonic()
        frame = camera.next_frame(10)
        assert frame is not None
        assert frame.captured > restarted
        assert frame.number == frame.dropped + 1, "numbers begin again"
        assert (camera.status.state, camera.status.reason, camera.status.restarts) == ("running", None, 0)


def test_a_server_that_lacks_its_packages_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {rtsp.PYTHON} -S "$@"\n')  # -S hides what Debian's packages bring
    python.chmod(0o755)
    monkeypatch.setattr(rtsp, "PYTHON", str(python))
    with pytest.raises(RuntimeError, match=r"apt-get install .*gir1.2-gst-rtsp-server-1.0"):
        RtspServer(write_folder(tmp_path / "parts", 1), fps=5, size=(320, 240)).start()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp(open_camera: Open, tmp_path: Path, transport: str) -> None:
    with RtspServer(write_folder(tmp_path / "parts", 64), fps=20, size=(640, 480)) as server:
        camera = open_camera(server.url, transport=transport, open_timeout_s=5)
        frames = []
        for _ in range(5):
            frame = camera.next_frame(10)
            assert frame is not None
            assert frame.image.shape == (480, 640, 3)
            frames.append(frame)
            time.sleep(0.15)
        for before, after in itertools.pairwise(frames):
            assert after.number == before.number + after.dropped + 1
            # No backlog, and no picture twice: the pictures go on as fast as the clock.
            shown = (number_of(after.image) - number_of(before.image)) % 64
            assert abs(shown - (after.captured - before.captured) * 20) <= 2.5
            assert shown == after.number - before.number
        server.stop()
        wait_for(camera, lambda: camera.status.state == "fault", 8)
        if transport == "tcp":
            server.start()
            assert camera.next_frame(20) is not None
            assert camera.status.reconnects >= 1
