from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import simline
from edge.camera import child
from edge.clock import monotonic
from tests.edge.camera.conftest import Open, child_pid, gone, wait_for
from tests.support.mjpeg import MjpegServer
from tests.support.pictures import number_of, numbered, write_folder

PASSWORD = "hunter2"


def test_a_killed_process_is_replaced_and_counted(open_camera: Open) -> None:
    with MjpegServer(numbered, fps=20) as server:
        camera = open_camera(server.url)
        assert camera.next_frame(10) is not None
        for restarts in (1, 2):
            killed = child_pid(camera)
            os.kill(killed, signal.SIGKILL)
            died = monotonic()
            wait_for(camera, lambda: camera.status.state == "fault", 5)
            assert camera.status.reason == "the camera process ended: killed by SIGKILL"
            frame = camera.next_frame(15)
            assert frame is not None
            assert frame.captured > died
            assert frame.number == frame.dropped + 1
            assert camera.status.state == "running"
            assert camera.status.restarts == restarts
            assert child_pid(camera) != killed
            assert not Path(f"/proc/{killed}").exists()


def test_no_live_frame_of_a_process_outlives_it(open_camera: Open) -> None:
    with MjpegServer(numbered, fps=20) as server:
        camera = open_camera(server.url)
        assert camera.next_frame(10) is not None
        camera.next_frame(0)
        time.sleep(0.3)  # the second frame lies in the socket
        os.kill(child_pid(camera), signal.SIGKILL)
        wait_for(camera, lambda: camera.status.state == "fault", 5)
        gone = monotonic()
        frame = camera.next_frame(15)
        assert frame is not None
        assert frame.captured > gone


def test_what_a_process_has_read_of_a_folder_is_delivered_once_though_it_is_gone(
    open_camera: Open, tmp_path: Path
) -> None:
    camera = open_camera(write_folder(tmp_path / "parts", 4))
    assert camera.next_frame(10) is not None
    camera.next_frame(0)
    time.sleep(0.5)  # the second frame lies in the socket
    os.kill(child_pid(camera), signal.SIGKILL)
    wait_for(camera, lambda: camera.status.state == "fault", 5)
    assert camera.missing() is None
    numbers = []
    for _ in range(3):
        frame = camera.next_frame(15)
        assert frame is not None
        numbers.append(number_of(frame.image))
    assert numbers == [1, 2, 3]


def test_a_frozen_process_is_replaced(open_camera: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "SILENCE_S", 1.5)
    camera = open_camera(f"sim:{simline.CLASSES[0]}")
    assert camera.next_frame(20) is not None
    frozen = child_pid(camera)
    os.kill(frozen, signal.SIGSTOP)
    wait_for(camera, lambda: camera.status.state == "fault", 8)
    assert camera.status.reason == "the camera process hangs: no sign of life in 1.5 s"
    assert camera.next_frame(15) is not None
    assert camera.status.restarts == 1
    assert gone(frozen)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A file that the kernel lets FFmpeg wait for, where no timeout of its own reaches: a lease is on it."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # by which the kernel asks for it back
    path = tmp_path / "video.mp4"
    path.write_bytes(b"video")
    descriptor = os.open(path, os.O_RDWR)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    yield path
    os.close(descriptor)
    signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize("reader", ["av", "opencv"])
def test_a_native_call_that_hangs_is_ended_with_its_process(open_camera: Open, held: Path, reader: str) -> None:
    camera = open_camera(held, open_timeout_s=0.1, read_timeout_s=0.1, reader=reader)
    wait_for(camera, lambda: camera.status.restarts == 1, 12)
    assert camera.status.state == "fault"
    assert "opening the camera hangs" in (camera.status.reason or "")


def test_a_process_that_cannot_even_start_is_a_fault(open_camera: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child.sys, "executable", "/bin/false")
    camera = open_camera("sim:bottle")
    wait_for(camera, lambda: camera.status.restarts >= 2, 8)
    assert camera.status.state == "fault"
    assert camera.status.reason == "the camera process ended: exit code 1"
    assert camera.next_frame(0.2) is None


def test_the_process_is_stopped_by_sigterm_and_not_by_ctrl_c(open_camera: Open) -> None:
    camera = open_camera(f"sim:{simline.CLASSES[0]}")
    assert camera.next_frame(20) is not None
    pid = child_pid(camera)
    os.kill(pid, signal.SIGINT)
    assert camera.next_frame(5) is not None
    assert os.getpgid(pid) == pid, "in a session of its own"
    os.kill(pid, signal.SIGTERM)
    wait_for(camera, lambda: camera.status.state == "fault", 5)
    assert camera.status.reason == "the camera process ended: exit code 0"


def test_a_process_that_is_stuck_is_stopped_all_the_same(open_camera: Open, held: Path) -> None:
    camera = open_camera(held)
    camera.poll(2)
    stuck = child_pid(camera)
    os.kill(stuck, signal.SIGSTOP)
    began = monotonic()
    camera.stop(timeout_s=0.5)
    assert monotonic() - began < 2
    assert gone(stuck)


def test_the_process_dies_with_the_service(runtime_dir: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 3)
    script = f"""
        import time
        from pathlib import Path
        from edge.camera import Camera
        from edge.settings import CameraSettings
        camera = Camera("line-1", CameraSettings(source={str(folder)!r}), Path({str(runtime_dir)!r}))
        camera.start()
        assert camera.next_frame(20) is not None
        print(camera._child.process.pid, flush=True)
        time.sleep(60)
    """
    service = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert service.stdout is not None
    pid = int(service.stdout.readline())
    assert not gone(pid)
    service.kill()
    service.communicate()
    deadline = time.monotonic() + 5
    while not gone(pid):
        assert time.monotonic() < deadline, "the camera process outlives the service"
        time.sleep(0.05)
    assert list(runtime_dir.iterdir()) == [], "nor does its socket"


def test_torch_stays_out_of_the_process(open_camera: Open) -> None:
    camera = open_camera(f"sim:{simline.CLASSES[0]}")
    assert camera.next_frame(20) is not None
    maps = Path(f"/proc/{child_pid(camera)}/maps").read_text()
    assert "cv2" in maps
    assert "torch" not in maps


def test_passwords_stay_out_of_sight(open_camera: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []
    with MjpegServer(numbered, fps=20, credentials=("user", PASSWORD)) as server:
        camera = open_camera(server.url)
        assert PASSWORD in server.url
        frame = camera.next_frame(10)
        assert frame is not None, "the password is used"
        seen.append(repr(frame))
        for path in ("cmdline", "environ"):
            seen.append(Path(f"/proc/{child_pid(camera)}/{path}").read_bytes().decode(errors="replace"))
        server.stop()
        wait_for(camera, lambda: camera.status.state == "fault", 5)
        seen.append(str(camera.status))
        wait_for(camera, lambda: "refused" in (camera.status.reason or ""), 5)
        seen.append(str(camera.status))
        camera.stop()
    wrong = MjpegServer(numbered, fps=20, credentials=("user", "right"))
    with wrong:
        camera = open_camera(wrong.url.replace("right", PASSWORD))
        wait_for(camera, lambda: camera.status.state == "fault", 8)
        assert "check path, user and password" in (camera.status.reason or "")
        seen.append(str(camera.status))
    records = [record.getMessage() for record in caplog.records]
    assert any("http://127.0.0.1" in record for record in records)
    assert not [text for text in seen + records if PASSWORD in text]


def test_a_decoder_that_complains_of_each_frame_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = tmp_path / "stderr"
    printed.write_bytes(b"Corrupt JPEG data\n" * 1000)
    child._log_lines("line-1", "/dev/video0", printed.open("rb"))
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["camera process: Corrupt JPEG data"] * 10 + ["camera process: 990 more lines were left out"]
    caplog.clear()
    monkeypatch.setattr(child, "_WINDOW_S", 0.0)  # each line is in a minute of its own
    child._log_lines("line-1", "/dev/video0", printed.open("rb"))
    assert len(caplog.records) == 1000


def test_what_the_process_prints_is_logged_without_passwords(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    printed = tmp_path / "stderr"
    long = b"x" * 20000 + b" rtsp://user:hunter2@camera/ " + b"x" * 20000
    printed.write_bytes(b"[rtsp] rtsp://user:hunter2@camera/ failed\n" + long + b"\nlast\n")
    child._log_lines("line-1", "/dev/video0", printed.open("rb"))
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "camera process: [rtsp] rtsp://camera failed",
        "camera process: a line of more than 16384 bytes was left out",
        "camera process: last",
    ]
    assert {getattr(record, "line", None) for record in caplog.records} == {"line-1"}


def test_an_order_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "edge.camera.worker"]
    done = subprocess.run(command, input=b'{"line": "http://u:hunter2@x/"}', capture_output=True, check=False)
    assert done.returncode == 64
    assert b"not an order" in done.stderr
    assert PASSWORD.encode() not in done.stderr
