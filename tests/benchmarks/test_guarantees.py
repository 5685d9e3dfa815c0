"""One part, one answer, whatever breaks: the trials of the guarantees, at length, with their figures (`pytest -s`).

`ALFA_EDGE_BENCH_SOAK_MIN` is the length of the soak in minutes, 30 without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import trial_broker, trial_camera, trial_load, trial_soak, trial_state
from tests.support.disk import FailingDisk, NoDiskError, SmallDisk
from tests.support.plant import Plant

SOAK_MIN = float(os.environ.get("ALFA_EDGE_BENCH_SOAK_MIN", "30"))
OVERHEAD_P50_MS, OVERHEAD_P99_MS = 5.0, 20.0
RSS_MB_H = 5.0  # a leak of a verdict's size at each part would be 100

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def plant() -> Iterator[Plant]:
    with Plant() as one:
        yield one


@pytest.fixture
def far_plant() -> Iterator[Plant]:
    """One with a proxy between service and broker."""
    with Plant(proxied=True) as one:
        yield one


def test_overhead_under_load(plant: Plant) -> None:
    """What is counted is said at `Answer.overhead_ms`: all but the model and the camera."""
    load = trial_load.steady(plant, 120.0, rate=10.0)
    assert {one.code for one in load.answers} == {"normal"}
    assert load.overhead.p50 <= OVERHEAD_P50_MS
    assert load.overhead.p99 <= OVERHEAD_P99_MS


def test_kills(plant: Plant) -> None:
    trial_load.kills(plant, 20, seed=2026)


@pytest.mark.parametrize("seconds", [60.0])
@pytest.mark.parametrize("cause", ["stopped", "hangs", "refuses", "swallows"])
def test_outages_of_the_broker(far_plant: Plant, cause: str, seconds: float) -> None:
    trial_broker.outage(far_plant, cause, seconds, rate=10.0)


def test_cameras() -> None:
    with Plant(7) as plant:
        trial_camera.faults(plant, list(trial_camera.CAUSES), 4.0, rate=5.0)
        trial_camera.faults(plant, list(trial_camera.CAUSES), 20.0, rate=5.0)


def test_full_disk(tmp_path: Path) -> None:
    try:
        with SmallDisk(tmp_path / "disk") as disk, Plant(2, state=disk.folder) as plant:
            trial_state.full_disk(plant, disk, 20.0)
    except NoDiskError as error:
        pytest.skip(str(error))


def test_failed_disk(tmp_path: Path) -> None:
    try:
        with FailingDisk(tmp_path / "disk") as disk, Plant(2, state=disk.folder) as plant:
            trial_state.failed_disk(plant, disk, 20.0)
    except NoDiskError as error:
        pytest.skip(str(error))


def test_clock_jumps() -> None:
    history = {"days": 0.02, "outbox_days": 0.02}
    with Plant(history=history) as plant:
        trial_state.clock_jumps(plant, 10.0)


def test_noise(plant: Plant) -> None:
    trial_load.noise(plant, 10_000, seed=7)


@pytest.mark.timeout(SOAK_MIN * 60 + 300)
def test_soak(plant: Plant) -> None:
    slopes = trial_soak.soak(plant, SOAK_MIN)
    assert slopes["rss_mb"].per_hour - 2 * slopes["rss_mb"].error < RSS_MB_H
    assert abs(slopes["threads"].per_hour) < 2
    assert abs(slopes["files"].per_hour) < 5
