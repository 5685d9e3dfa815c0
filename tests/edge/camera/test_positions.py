"""A source that is not live goes on behind the item that ended its process, which is answered as an error."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from edge.camera import Camera, child
from tests.edge.camera.conftest import Open, child_pid, wait_for
from tests.edge.camera.test_source import write_video
from tests.support.pictures import number_of, write_folder


def number(camera: Camera) -> int | str:
    """Of the next item, or why there is none."""
    frame = None
    for _ in range(40):
        if (frame := camera.next_frame(0.5)) is not None:
            return number_of(frame.image)
        if (missing := camera.missing()) is not None:
            return missing
    raise AssertionError(f"no answer: {camera.status}")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
@pytest.mark.parametrize("loop", [False, True])
def test_a_folder_goes_on_behind_the_picture_that_ended_its_process(
    open_camera: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals, loop: bool
) -> None:
    monkeypatch.setattr(child, "SILENCE_S", 1.0)
    camera = open_camera(write_folder(tmp_path / "parts", 4), loop=loop)
    assert number(camera) == 0
    os.kill(child_pid(camera), signal.SIGSTOP)
    assert camera.next_frame(0.1) is None, "the second one is asked for, and cannot come"
    assert camera.missing() is None
    if how == signal.SIGKILL:
        os.kill(child_pid(camera), signal.SIGKILL)
    missing = number(camera)
    assert isinstance(missing, str)
    assert "ended: killed by SIGKILL" in missing if how == signal.SIGKILL else "hangs" in missing
    assert missing.endswith(f", as it read item 2 of {tmp_path}/parts")
    assert [number(camera) for _ in range(2)] == [2, 3]
    if loop:
        assert [number(camera) for _ in range(4)] == [0, 1, 2, 3], "it is tried again in its turn"
    else:
        wait_for(camera, lambda: camera.next_frame(0.1) is None and camera.status.state == "ended")
    assert camera.status.restarts == 1


def test_a_video_goes_on_behind_the_frame_that_ended_its_process(open_camera: Open, tmp_path: Path) -> None:
    camera = open_camera(write_video(tmp_path / "parts.avi", 5))
    assert [number(camera) for _ in range(2)] == [0, 1]
    os.kill(child_pid(camera), signal.SIGSTOP)
    assert camera.next_frame(0.1) is None
    os.kill(child_pid(camera), signal.SIGKILL)
    assert "as it read item 3 of" in str(number(camera))
    assert [number(camera) for _ in range(2)] == [3, 4]


def test_a_process_that_ends_while_nothing_is_asked_for_costs_no_item(open_camera: Open, tmp_path: Path) -> None:
    camera = open_camera(write_folder(tmp_path / "parts", 3))
    assert number(camera) == 0
    os.kill(child_pid(camera), signal.SIGKILL)
    wait_for(camera, lambda: camera.status.state == "fault")
    assert camera.missing() is None
    assert [number(camera) for _ in range(2)] == [1, 2]


def test_pictures_that_cannot_be_read_count_as_read(open_camera: Open, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 4)
    (folder / "001.png").unlink()
    os.mkfifo(folder / "001.png")
    camera = open_camera(folder)
    assert number(camera) == 0
    assert "001.png: is a pipe, not a regular file" in str(number(camera))
    os.kill(child_pid(camera), signal.SIGKILL)
    wait_for(camera, lambda: "SIGKILL" in (camera.status.reason or ""))
    assert [number(camera) for _ in range(2)] == [2, 3]
