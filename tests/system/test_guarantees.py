"""One part, one answer, whatever breaks: the trials of the guarantees, in short. The long ones are benchmarks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import trial_broker, trial_camera, trial_load
from tests.support.crowd import Crowd
from tests.support.plant import Plant

pytestmark = pytest.mark.timeout(300)  # the first start compiles a pack, on a busy machine for long
MINUTES = 25 / (24 * 60)  # in days: longer than all of this takes, shorter than a clock jumps


@pytest.fixture(scope="module")
def whole_plant() -> Iterator[Plant]:
    history = {"days": MINUTES, "outbox_days": MINUTES}
    with Plant(deadline_ms=1000, proxied=True, history=history, mqtt={"keepalive_s": 3}) as one:
        yield one


@pytest.fixture
def plant(whole_plant: Plant) -> Plant:
    """The one that is there, started anew if a trial has ended it."""
    assert whole_plant.service.process is not None
    if whole_plant.service.process.poll() is not None:
        whole_plant.start()
    return whole_plant


def test_strangers_and_a_second_service_take_nothing_of_the_first(plant: Plant, tmp_path: Path) -> None:
    """Strangers connect to console and figures by the thousand, and stay. The second service has the same state, or
    another one and only the same sockets; it ends before it has a camera, or a session at the broker.
    """
    connections = plant.service.log.read_text().count("connected to the broker")
    with Crowd(plant.console), Crowd(plant.metrics_port, 200), ExitStack() as stack:
        ended = stack.enter_context(ThreadPoolExecutor())
        runs = [ended.submit(plant.second_service, state) for state in (plant.state, tmp_path / "another")]
        load = trial_load.steady(plant, 3.0, rate=5.0)
        assert plant.ask("status")
        assert plant.metric("alfa_edge_verdicts_total") > 0
        for run in runs:
            code, said = run.result()
            assert code == 2, said
            assert "another alfa-edge uses this folder" in said
    assert len(load.answers) >= 50
    assert plant.service.log.read_text().count("connected to the broker") == connections


def test_what_makes_no_sense_is_refused_counted_and_disturbs_nobody(plant: Plant) -> None:
    trial_load.noise(plant, 1000, seed=3)


def test_a_camera_that_fails_fails_its_own_line_only(plant: Plant) -> None:
    causes = ["camera process killed", "camera killed", "picture frozen"]
    trial_camera.faults(plant, causes, 1.6, rate=5.0, back_s=15.0, wire_s=3.0, judged=0.3)


def test_verdicts_outlast_an_outage_of_the_broker(plant: Plant) -> None:
    trial_broker.outage(plant, "stopped", 3.0)


def test_no_kill_loses_a_verdict(plant: Plant) -> None:
    trial_load.kills(plant, 2, seed=1)
