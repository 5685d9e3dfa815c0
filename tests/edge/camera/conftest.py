"""What the camera's tests share: a short runtime directory that has to be empty in the end, and waiting."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.camera import Camera
from edge.ops.alarms import Alarms
from edge.settings import CameraSettings, HealthSettings

Open = Callable[..., Camera]


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cam-") as name:
        yield Path(name)


@pytest.fixture
def open_camera(runtime_dir: Path) -> Iterator[Open]:
    """Starts cameras with short timeouts; stops them and checks that nothing of them is left."""
    cameras: list[Camera] = []

    def opened(
        source: object, health: HealthSettings = HealthSettings(), alarms: Alarms | None = None, **settings: object
    ) -> Camera:
        defaults = {"open_timeout_s": 2.0, "read_timeout_s": 1.0, "retry_s": 0.2, "retry_max_s": 0.5}
        given = CameraSettings(source=str(source), **defaults | settings)
        camera = Camera("line-1", given, runtime_dir, health, alarms)
        cameras.append(camera)
        camera.start()
        return camera

    yield opened
    for camera in cameras:
        camera.stop()
    assert list(runtime_dir.iterdir()) == [], "a socket is left over"


def wait_for(camera: Camera, condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Polls `camera` until `condition`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {camera.status}"
        camera.poll(0.05)


def child_pid(camera: Camera) -> int:
    """Process id of the camera's process."""
    assert camera._child is not None
    return camera._child.process.pid


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has waited for counts as gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
