from __future__ import annotations

import logging
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from core import simline
from edge.camera import Camera, CameraError, child
from edge.camera import supervisor as module
from edge.clock import monotonic, utc_now
from edge.ops.alarms import Alarms
from edge.settings import CameraSettings
from tests.edge.camera.conftest import Open, child_pid, gone, wait_for
from tests.edge.camera.test_source import write_video
from tests.support.pictures import number_of, write_folder


def test_a_folder_is_delivered_whole_and_ends(open_camera: Open, tmp_path: Path) -> None:
    camera = open_camera(write_folder(tmp_path / "parts", 4))
    assert camera.status.state == "starting"
    for index in range(4):
        frame = camera.next_frame(10)
        assert frame is not None
        assert (frame.number, frame.dropped, number_of(frame.image)) == (index + 1, 0, index)
        assert (frame.name, frame.simulated) == (f"{index:03d}.png", False)
        assert abs(frame.captured_at - utc_now()) < timedelta(seconds=1)
        assert 0 < frame.captured < frame.ready < monotonic()
        assert camera.status.state == "running"
        assert (camera.status.width, camera.status.height) == (320, 240)
    began = monotonic()
    assert camera.next_frame(10) is None
    assert monotonic() - began < 5, "the end is told at once"
    assert camera.status.state == "ended"
    assert "ended after 4 frames" in (camera.status.reason or "")
    assert camera.next_frame(0.3) is None


def test_a_slow_reader_loses_nothing_of_a_folder(
    open_camera: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = open_camera(write_folder(tmp_path / "parts", 3))
    monkeypatch.setattr(module, "FRESH_S", 0.1)
    numbers = []
    while len(numbers) < 3:
        frame = camera.next_frame(0)  # asks, and does not wait
        camera.poll(0.5)
        if frame is not None:
            numbers.append(frame.number)
    assert numbers == [1, 2, 3]


def test_a_picture_whose_name_is_no_text_costs_its_own_answer_only(open_camera: Open, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 3)
    (folder / "001.png").unlink()
    (folder / os.fsdecode(b"001\xff.png")).write_bytes(b"torn")
    camera = open_camera(folder)
    assert camera.next_frame(10) is not None
    assert camera.next_frame(10) is None
    assert r"001\udcff.png" in (camera.missing() or "")
    third = camera.next_frame(10)
    assert third is not None
    assert (third.name, camera.status.restarts) == ("002.png", 0)


def test_a_picture_that_cannot_be_read_is_a_fault_and_the_next_follows(open_camera: Open, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 3)
    (folder / "001.png").write_bytes(b"torn")
    camera = open_camera(folder)
    first = camera.next_frame(10)
    assert first is not None
    began = monotonic()
    assert camera.next_frame(10) is None
    assert monotonic() - began < 5
    assert camera.status.state == "fault"
    assert "001.png: no picture" in (camera.status.reason or "")
    third = camera.next_frame(10)
    assert third is not None
    assert number_of(third.image) == 2
    assert camera.status.state == "running"
    assert camera.status.reason is None


def test_a_fault_is_an_alarm_while_it_lasts_and_one_picture_that_cannot_be_read_is_none(
    open_camera: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    alarms = Alarms()
    camera = open_camera(tmp_path / "parts", alarms=alarms)
    wait_for(camera, lambda: camera.status.reconnects >= 3)
    (alarm,) = alarms.every()
    assert (alarm.code, alarm.line, alarm.severity) == ("camera", "line-1", "fault")
    assert "the camera gives no frames" in alarm.message
    assert "no such file or folder" in alarm.message
    folder = write_folder(tmp_path / "new", 20)
    for number in range(1, 20):
        (folder / f"{number:03d}.png").write_bytes(b"torn")
    folder.rename(tmp_path / "parts")
    assert camera.next_frame(10) is not None
    assert alarms.every() == []
    for _ in range(19):
        assert camera.next_frame(10) is None
        assert camera.status.state == "fault"
        assert alarms.every() == []
    assert camera.status.interval_s is None
    assert len(caplog.records) == 2, "that it is lost, that this is over; nothing of single pictures"
    assert {getattr(record, "line", None) for record in caplog.records} == {"line-1"}


def test_a_video_that_loops(open_camera: Open, tmp_path: Path) -> None:
    camera = open_camera(write_video(tmp_path / "parts.avi", 3), loop=True)
    frames = [camera.next_frame(10) for _ in range(5)]
    assert [number_of(frame.image) for frame in frames if frame] == [0, 1, 2, 0, 1]


def test_the_simulated_line(open_camera: Open) -> None:
    camera = open_camera(f"sim:{simline.CLASSES[0]}?seed=3")
    frame = camera.next_frame(20)
    assert frame is not None
    assert frame.simulated
    assert frame.name == f"{simline.CLASSES[0]}-000000"


def test_a_folder_that_is_missing_is_tried_again(open_camera: Open, tmp_path: Path) -> None:
    camera = open_camera(tmp_path / "parts")
    wait_for(camera, lambda: camera.status.reconnects >= 2)
    assert camera.status.state == "fault"
    assert "no such file or folder" in (camera.status.reason or "")
    since = camera.status.since
    write_folder(tmp_path / "parts", 1)
    assert camera.next_frame(10) is not None
    assert camera.status.state == "running"
    assert camera.status.since > since
    assert camera.status.restarts == 0


def test_stopping_leaves_nothing(open_camera: Open, runtime_dir: Path) -> None:
    camera = open_camera(f"sim:{simline.CLASSES[0]}")
    assert camera.next_frame(20) is not None
    pid = child_pid(camera)
    began = monotonic()
    camera.stop()
    assert monotonic() - began < 2
    assert not Path(f"/proc/{pid}").exists(), "not even a zombie"
    assert list(runtime_dir.iterdir()) == []
    camera.stop()
    with pytest.raises(CameraError, match="is not running"):
        camera.next_frame(0)


def test_a_camera_is_started_once(open_camera: Open, tmp_path: Path) -> None:
    camera = open_camera(write_folder(tmp_path / "parts", 1))
    with pytest.raises(CameraError, match="is running already"):
        camera.start()
    camera.stop()
    camera.start()
    assert camera.next_frame(10) is not None


def test_a_context_starts_and_stops(runtime_dir: Path, tmp_path: Path) -> None:
    with Camera("line-1", CameraSettings(source=str(write_folder(tmp_path / "p", 1))), runtime_dir) as camera:
        assert camera.next_frame(10) is not None
        pid = child_pid(camera)
    assert gone(pid)


def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    with pytest.raises(
        CameraError, match=r"longer than the 107 bytes of a socket's path; shorten service\.runtime_dir"
    ):
        Camera("line-1", CameraSettings(source="sim:bottle"), deep)


def test_a_runtime_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    camera = Camera("line-1", CameraSettings(source="sim:bottle"), Path("/tmp/no-such-directory"))
    with pytest.raises(CameraError, match="/tmp/no-such-directory"):
        camera.start()


def test_the_socket_is_for_this_user_only(open_camera: Open, runtime_dir: Path, tmp_path: Path) -> None:
    open_camera(write_folder(tmp_path / "parts", 1))
    (socket,) = runtime_dir.iterdir()
    assert socket.stat().st_mode & 0o777 == 0o600


def test_a_camera_nobody_asked_for_long_is_not_taken_for_hung(
    open_camera: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "SILENCE_S", 1.0)
    camera = open_camera(write_folder(tmp_path / "parts", 2))
    assert camera.next_frame(10) is not None
    time.sleep(1.5)
    assert camera.next_frame(5) is not None
    assert camera.status.restarts == 0
