"""A GigE Vision camera for half an hour, and under loss; and how soon after a trigger a frame of any camera is there.

`make bench PYTEST_ARGS="-k genicam"`; 35 minutes, of which `ALFA_EDGE_BENCH_GIGE_MIN` (30) are the long run.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from edge.camera import Camera
from edge.camera.genicam import GenICam
from edge.clock import monotonic
from edge.settings import CameraSettings
from tests.support.film import Film, draw
from tests.support.gige import GigECamera, Relay
from tests.support.pictures import write_folder
from tests.support.rtsp import RtspServer

MINUTES = float(os.environ.get("ALFA_EDGE_BENCH_GIGE_MIN", "30"))
TRIGGERS = int(os.environ.get("ALFA_EDGE_BENCH_GIGE_TRIGGERS", "200"))
WARM_S = min(60.0, 60 * MINUTES / 4)
MOST_GROWTH_MIB = 8.0
OPENINGS = 60


@pytest.fixture
def gige() -> Iterator[GigECamera]:
    with GigECamera() as camera:
        yield camera


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.timeout(0)
@pytest.mark.parametrize("trigger", ["software", "free"])
def test_half_an_hour_without_a_leak(gige: GigECamera, tmp_path: Path, trigger: str) -> None:
    """Half of it by software's trigger, half free."""
    minutes = MINUTES / 2
    settings = CameraSettings(source=gige.source, trigger=trigger)
    taken, faults, before, peak = 0, 0, 0.0, 0.0
    with Camera("line-1", settings, tmp_path) as camera:
        begun, end = time.monotonic(), time.monotonic() + 60 * minutes
        while (now := time.monotonic()) < end:
            frame = camera.next_frame(10)
            assert frame is not None, camera.status
            taken += 1
            faults += frame.health.fault is not None
            assert camera._child is not None
            pid = camera._child.process.pid
            memory = rss_mib(pid)
            if now - begun < WARM_S:
                before, open_before = max(before, memory), descriptors(pid)
            peak = max(peak, memory)
        open_after, restarts = descriptors(pid), camera.status.restarts + camera.status.reconnects
    print(
        f"\n{trigger}, {minutes:g} min: {taken} frames, {faults} not whole, {restarts} reconnections; {before:.1f} MiB "
        f"after {WARM_S:.0f} s, {peak:.1f} at most; {open_before} open files, then {open_after}"
    )
    assert restarts == 0
    assert peak - before < MOST_GROWTH_MIB
    assert open_after <= open_before + 2


def test_many_openings_without_a_leak(gige: GigECamera) -> None:
    pid = os.getpid()
    settings = CameraSettings(source=gige.source, trigger="software")

    def opened_and_closed(count: int) -> None:
        for _ in range(count):
            camera = GenICam(settings)
            camera.grab()
            camera.retrieve()
            camera.close()

    opened_and_closed(OPENINGS // 3)
    before, open_before = rss_mib(pid), descriptors(pid)
    opened_and_closed(OPENINGS)
    growth = rss_mib(pid) - before
    print(f"\n{OPENINGS} openings: {growth:.1f} MiB more, {descriptors(pid) - open_before} more open files")
    assert growth < MOST_GROWTH_MIB
    assert descriptors(pid) <= open_before + 2


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.001, 0.01])
def test_a_frame_under_loss_is_whole_or_no_picture(gige: GigECamera, share: float) -> None:
    across = np.arange(512)
    ramp = across + across[:, None]
    whole = torn = 0
    with Relay() as relay:
        camera = GenICam(CameraSettings(source=relay.source, trigger="software", resend=False, read_timeout_s=10))
        relay.lose(share)
        for _ in range(TRIGGERS):
            camera.grab()
            picture = camera.retrieve()
            if camera.exposure.damage is not None:
                torn += 1
                assert not picture.any()
                continue
            whole += 1
            assert camera.exposure.number is not None
            assert np.array_equal(picture[..., 0], (ramp + camera.exposure.number) % 255), (
                "of another exposure, or torn"
            )
        camera.close()
    print(f"\n{share:.2%} of packets lost: {whole} frames whole and right, {torn} refused")
    assert whole + torn == TRIGGERS
    assert whole > 0


@pytest.mark.parametrize("kind", ["gige-software", "gige-free", "mjpeg", "rtsp", "folder"])
def test_how_soon_a_frame_is_there(kind: str, tmp_path: Path) -> None:
    """From a trigger at any moment to a frame in the service that was exposed after it; 25 frames a second."""
    chance = random.Random(1)
    with ExitStack() as stack:
        settings = _source(kind, tmp_path, stack)
        camera = stack.enter_context(Camera("line-1", settings, tmp_path))
        assert camera.next_frame(30) is not None, camera.status
        waits = []
        for _ in range(TRIGGERS):
            camera.poll(chance.uniform(0.02, 0.08))
            trigger = monotonic()
            frame = camera.next_frame(10, not_before=trigger)
            assert frame is not None, camera.status
            if camera.live:
                assert frame.captured >= trigger
            waits.append((monotonic() - trigger) * 1000)
    p50, p99 = np.percentile(waits, [50, 99])
    print(f"\n{kind}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, at most {max(waits):.1f} ms")


def _source(kind: str, folder: Path, stack: ExitStack) -> CameraSettings:
    if kind.startswith("gige"):
        camera = stack.enter_context(GigECamera())
        return CameraSettings(source=camera.source, trigger=kind.removeprefix("gige-"))
    if kind == "mjpeg":
        film = stack.enter_context(Film(draw(folder / "film", (512, 512)), fps=25.0, size=(512, 512)))
        return CameraSettings(source=film.url)
    pictures = write_folder(folder / "parts", 8)
    if kind == "folder":
        return CameraSettings(source=str(pictures), loop=True)
    server = stack.enter_context(RtspServer(pictures, fps=25, size=(512, 512)))
    return CameraSettings(source=server.url)
