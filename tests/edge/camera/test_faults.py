"""What befalls a camera on a line, and that its end is noticed as well."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core import simline
from core.image import Rgb, encode_png
from edge.camera import Camera, Frame
from edge.clock import monotonic
from edge.ops.alarms import Alarms
from edge.settings import HealthSettings
from tests.edge.camera.conftest import Open, child_pid, wait_for
from tests.support.mjpeg import MjpegServer
from tests.support.pictures import number_of, numbered, write_folder
from tests.support.rtsp import RtspServer

PART = simline.render(simline.CLASSES[0], 1, 0, 0.0).image
FROZEN = HealthSettings(frozen_s=0.6)
LONG = {"retry_s": 60, "retry_max_s": 60}  # pauses that no test waits for


def moving(index: int) -> Rgb:
    return np.roll(PART, index * 3, axis=1)


class Scene:
    """What a camera sees, which may change."""

    def __init__(self) -> None:
        self.draw: Callable[[int], Rgb] = moving

    def __call__(self, index: int) -> Rgb:
        return self.draw(index)


def fault(camera: Camera) -> str | None:
    """The code of what is amiss with the camera's frames."""
    found = camera.status.health.fault
    return None if found is None else found.code


def frame_that(camera: Camera, is_it: Callable[[Frame], bool]) -> Frame:
    """The first frame that is; others may be on their way."""
    deadline = monotonic() + 20
    while monotonic() < deadline:
        frame = camera.next_frame(1)
        if frame is not None and is_it(frame):
            return frame
    raise AssertionError(f"no such frame: {camera.status}")


def code(frame: Frame) -> str | None:
    return None if frame.health.fault is None else frame.health.fault.code


def test_a_picture_that_stands_still_is_delivered_with_its_fault_until_it_moves(open_camera: Open) -> None:
    scene, alarms = Scene(), Alarms()
    with MjpegServer(scene, fps=20) as server:
        camera = open_camera(server.url, FROZEN, alarms)
        first = camera.next_frame(20)
        assert first is not None
        assert code(first) is None
        assert first.health.sharpness > 0
        scene.draw = lambda index: PART
        wait_for(camera, lambda: fault(camera) == "camera_frozen", 20)  # though no frame is asked for
        assert camera.status.state == "running", "its frames come"
        (alarm,) = alarms.every()
        assert (alarm.code, alarm.line) == ("camera", "line-1")
        assert "frames are not judged: the picture has stood still" in alarm.message
        frame = camera.next_frame(20)
        assert frame is not None
        assert code(frame) == "camera_frozen"
        scene.draw = moving
        wait_for(camera, lambda: fault(camera) is None, 20)
        frame = camera.next_frame(20)
        assert frame is not None
        assert code(frame) is None
        assert alarms.every() == []
        assert camera.status.reconnects == camera.status.restarts == 0


def test_darkness_between_parts_is_no_fault_and_a_dark_part_is(open_camera: Open) -> None:
    scene = Scene()
    with MjpegServer(scene, fps=20) as server:
        camera = open_camera(server.url, FROZEN)
        assert camera.next_frame(20) is not None
        scene.draw = lambda index: np.zeros_like(PART)
        camera.poll(1.5)
        assert fault(camera) is None
        dark = frame_that(camera, lambda frame: not frame.image.any())
        assert code(dark) == "camera_black"
        assert fault(camera) == "camera_black"
        scene.draw = moving
        wait_for(camera, lambda: fault(camera) is None, 20)


@pytest.mark.parametrize(
    "damage", [lambda jpeg: jpeg[: len(jpeg) // 2], lambda jpeg: b"\x12" * len(jpeg)], ids=["half", "garbage"]
)
def test_a_frame_that_did_not_come_whole_is_a_fault_and_no_picture(
    open_camera: Open, damage: Callable[[bytes], bytes]
) -> None:
    with MjpegServer(numbered, fps=20) as server:
        camera = open_camera(server.url)
        assert camera.next_frame(20) is not None
        server.damage = damage
        deadline = monotonic() + 20
        while camera.status.state != "fault":
            assert monotonic() < deadline
            frame = camera.next_frame(0.1)
            if frame is not None:  # nothing is made up for what is missing
                assert number_of(frame.image[:80]) == number_of(frame.image[-80:])
        assert "a frame could not be decoded" in (camera.status.reason or "")
        server.damage = bytes
        assert camera.next_frame(20) is not None
        assert (camera.status.state, camera.status.restarts) == ("running", 0)


def test_a_camera_that_changes_its_resolution_is_followed_and_refused_where_it_matters(open_camera: Open) -> None:
    scene = Scene()
    scene.draw = lambda index: numbered(index + 1)
    with MjpegServer(scene, fps=20) as server:
        camera = open_camera(server.url, HealthSettings(size=(320, 240)))
        first = camera.next_frame(20)
        assert first is not None
        scene.draw = lambda index: numbered(index + 1, 640, 400)
        second = frame_that(camera, lambda frame: frame.image.shape != first.image.shape)
        assert (first.image.shape, second.image.shape) == ((240, 320, 3), (400, 640, 3)), "never scaled"
        assert (code(first), code(second)) == (None, "camera_size")
        assert (camera.status.width, camera.status.height) == (640, 400)
        assert camera.status.reconnects == 0


def test_a_camera_that_is_back_is_opened_long_before_the_pause_is_over(open_camera: Open) -> None:
    with MjpegServer(moving, fps=20) as server:
        server.stop()
        camera = open_camera(server.url, **LONG)
        wait_for(camera, lambda: "Connection refused" in (camera.status.reason or ""), 20)
        camera.poll(1.5)
        assert (camera.status.state, camera.status.reconnects) == ("fault", 0), "a look is no attempt"
        server.start()
        assert camera.next_frame(20) is not None
        assert camera.status.reconnects == 1


def test_a_folder_that_comes_is_opened_long_before_the_pause_is_over(open_camera: Open, tmp_path: Path) -> None:
    camera = open_camera(tmp_path / "parts", **LONG)
    wait_for(camera, lambda: camera.status.state == "fault", 20)
    write_folder(tmp_path / "parts", 1)
    assert camera.next_frame(20) is not None


def test_a_camera_that_answers_and_refuses_is_left_in_peace(open_camera: Open) -> None:
    with MjpegServer(moving, fps=20, credentials=("user", "right")) as server:
        camera = open_camera(server.url.replace("right", "wrong"), **LONG)
        wait_for(camera, lambda: camera.status.state == "fault", 20)
        assert "check path, user and password" in (camera.status.reason or "")
        camera.poll(1.5)
        assert camera.status.reconnects == 0, "cameras lock out who knocks with a wrong password"


def test_gstreamer_is_refused_once_where_there_is_none(open_camera: Open) -> None:
    camera = open_camera("gst:nvarguscamerasrc ! videoconvert ! appsink drop=true max-buffers=1 sync=false")
    wait_for(camera, lambda: camera.status.state == "fault", 20)
    assert "gst:nvarguscamerasrc: this OpenCV has no GStreamer" in (camera.status.reason or "")
    camera.poll(1.0)
    assert camera.next_frame(0.2) is None
    assert (camera.status.reconnects, camera.status.restarts) == (0, 0)


def test_a_process_that_has_served_for_long_is_replaced_at_once(open_camera: Open) -> None:
    with MjpegServer(moving, fps=20) as server:
        camera = open_camera(server.url, **LONG)
        assert camera.next_frame(20) is not None
        assert camera._child is not None
        camera._child.started -= 100
        os.kill(child_pid(camera), signal.SIGKILL)
        wait_for(camera, lambda: camera.status.state == "fault", 20)
        assert camera.next_frame(20) is not None
        assert camera.status.restarts == 1


def test_rtsp_that_stands_still_stalls_and_comes_back_in_another_size(open_camera: Open, tmp_path: Path) -> None:
    (tmp_path / "part.png").write_bytes(encode_png(PART))
    with RtspServer(tmp_path, fps=20, size=(640, 480)) as server:
        camera = open_camera(server.url, FROZEN, open_timeout_s=5)
        wait_for(camera, lambda: fault(camera) == "camera_frozen", 20)  # though an encoder's key frames differ
        server.stall()
        wait_for(camera, lambda: camera.status.state == "fault", 20)
        assert "stalled: connected, but no frame in 1 s" in (camera.status.reason or "")
        server.resume()
        assert camera.next_frame(20) is not None
        server.stop()
        wait_for(camera, lambda: camera.status.state == "fault", 20)
        server.resize((320, 256))
        server.start()
        frame = camera.next_frame(20)
        assert frame is not None
        assert frame.image.shape == (256, 320, 3)
        assert (camera.status.width, camera.status.height) == (320, 256)
        assert camera.status.restarts == 0
