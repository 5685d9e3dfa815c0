"""Heatmaps go their own way: through a real broker, newest first where there are too many, and never in the way."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from core.alfa import Inspection
from edge.mqtt.heatmaps import Heatmaps
from edge.ops.alarms import Alarms
from edge.ops.metrics import Metrics
from edge.ops.worker import Workers
from edge.settings import HeatmapSettings, PictureSettings
from tests.support.mosquitto import Mosquitto, eventually, subscribe
from tests.support.publisher import ANOMALY, LINE, Publishers, connected, verdict

TOPIC = f"{ANOMALY}/heatmap"


IMAGE = np.zeros((48, 64, 3), np.uint8)


def inspection(value: float = 0.5, size: tuple[int, int] = (48, 64)) -> Inspection:
    kept = np.ones(1, bool)
    return Inspection(value, value, value, np.full((15, 15), value, np.float32), size, kept, kept)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def heatmaps(metrics: Metrics) -> Iterator[Heatmaps]:
    one = Heatmaps(metrics)
    yield one
    one.stop()


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("alfa_edge_heatmaps_total", {"line": LINE, "outcome": outcome}) or 0.0


def test_a_heatmap_names_its_verdict(
    mosquitto: Mosquitto, publisher_of: Publishers, heatmaps: Heatmaps, metrics: Metrics
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    heatmaps.start()
    one = verdict(1)
    with subscribe(mosquitto.port, TOPIC) as listener:
        heatmaps.send(publisher, one, inspection(0.4), IMAGE)
        [message] = listener.until(lambda heard: len(heard) == 1)
    with Image.open(io.BytesIO(message.payload)) as picture:
        assert picture.text == {"id": one.id, "line": LINE, "seq": "1"}  # type: ignore[attr-defined]
        assert picture.size == (64, 48)
        assert np.unique(np.asarray(picture)).tolist() == [102]
    assert counted(metrics, "sent") == 1


def test_a_picture_that_no_jpeg_can_hold_is_an_alarm_and_the_next_is_sent(
    mosquitto: Mosquitto, publisher_of: Publishers, metrics: Metrics
) -> None:
    alarms, workers = Alarms(), Workers()
    pictures = PictureSettings(enabled=True)
    heatmaps = Heatmaps(metrics, workers, alarms, HeatmapSettings(enabled=False), pictures)
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    heatmaps.start()
    with subscribe(mosquitto.port, f"{ANOMALY}/picture") as listener:
        heatmaps.send(publisher, verdict(1), inspection(), np.zeros((66_000, 8, 3), np.uint8))  # of a line camera
        heatmaps.send(publisher, verdict(2), inspection(), IMAGE)
        listener.until(lambda heard: len(heard) == 1)
    assert workers.failure is None
    assert [alarm.code for alarm in alarms.of(LINE)] == ["heatmaps"]
    heatmaps.stop()


def test_the_newest_are_sent_where_there_are_too_many(
    mosquitto: Mosquitto, publisher_of: Publishers, heatmaps: Heatmaps, metrics: Metrics
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    for seq in range(1, 6):  # before the thread runs: as while it is busy
        heatmaps.send(publisher, verdict(seq), inspection(), IMAGE)
    heatmaps.start()
    eventually(lambda: counted(metrics, "sent") == 2)
    assert counted(metrics, "dropped") == 3


def test_without_a_connection_they_are_dropped_and_counted(
    mosquitto: Mosquitto, publisher_of: Publishers, heatmaps: Heatmaps, metrics: Metrics
) -> None:
    heatmaps.start()
    heatmaps.send(publisher_of(mosquitto.port), verdict(1), inspection(), IMAGE)
    eventually(lambda: counted(metrics, "dropped") == 1)
    assert counted(metrics, "sent") == 0


def test_what_waits_at_the_end_is_still_sent(
    mosquitto: Mosquitto, publisher_of: Publishers, heatmaps: Heatmaps, metrics: Metrics
) -> None:
    publisher = publisher_of(mosquitto.port)
    publisher.start()
    connected(publisher)
    heatmaps.send(publisher, verdict(1), inspection(), IMAGE)
    heatmaps.start()
    heatmaps.stop()
    heatmaps.send(publisher, verdict(2), inspection(), IMAGE)
    assert counted(metrics, "sent") == 1
    assert counted(metrics, "dropped") == 0


def test_one_that_cannot_be_made_is_counted_and_holds_up_no_other(
    mosquitto: Mosquitto, publisher_of: Publishers, metrics: Metrics
) -> None:
    publisher, alarms = publisher_of(mosquitto.port), Alarms()
    workers = Workers(alarms)
    heatmaps = Heatmaps(metrics, workers, alarms)
    publisher.start()
    connected(publisher)
    damaged = inspection(size=(0, 64))
    for seq in range(1, 3):
        heatmaps.send(publisher, verdict(seq), damaged, IMAGE)
    heatmaps.start()
    eventually(lambda: counted(metrics, "dropped") == 2)
    heatmaps.send(publisher, verdict(3), inspection(), IMAGE)
    eventually(lambda: counted(metrics, "sent") == 1)
    assert workers.stalled_names() == []
    (alarm,) = alarms.every()
    assert (alarm.code, alarm.line, alarm.count) == ("heatmaps", LINE, 2)
    heatmaps.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
def test_its_thread_steps_back(heatmaps: Heatmaps) -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    heatmaps.start()
    [thread] = [one for one in threading.enumerate() if one.name == "heatmaps"]
    eventually(lambda: os.getpriority(os.PRIO_PROCESS, thread.native_id or 0) > before)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
