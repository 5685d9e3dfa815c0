"""The names on the wire."""

from __future__ import annotations

import pytest

from edge import topics
from edge.settings import CameraSettings, LineSettings, Settings


@pytest.mark.parametrize(
    ("topic", "name", "qos", "retained"),
    [
        (topics.ANOMALY, "line/press-1/anomaly", 1, False),
        (topics.HEATMAP, "line/press-1/anomaly/heatmap", 0, False),
        (topics.PICTURE, "line/press-1/anomaly/picture", 0, False),
        (topics.STATUS, "line/press-1/status", 1, True),
        (topics.STATS, "line/press-1/stats", 0, True),
        (topics.TRIGGER, "line/press-1/trigger", 1, False),
        (topics.SYNC, "line/press-1/trigger/sync", 1, False),
        (topics.COMMAND, "line/press-1/command", 1, False),
        (topics.REPLY, "line/press-1/reply", 1, False),
    ],
)
def test_contract(topic: topics.Topic, name: str, qos: int, retained: bool) -> None:
    assert (topic.of("press-1"), topic.qos, topic.retained) == (name, qos, retained)
    assert topic in topics.TOPICS


def test_wildcard_of_verdicts() -> None:
    assert topics.EVERY_ANOMALY == "line/+/anomaly"


def test_table_has_each_topic_once_with_its_payload_in_words() -> None:
    assert len({topic.pattern for topic in topics.TOPICS}) == len(topics.TOPICS) == 9
    assert all(topic.payload and topic.direction in {"in", "out"} for topic in topics.TOPICS)
    assert not any(topic.retained for topic in topics.TOPICS if topic.direction == "in")


@pytest.mark.parametrize("name", ["a", "press-1", "0", "-", "x" * 64])
def test_line_name(name: str) -> None:
    assert topics.line_name(name) == name
    assert Settings(lines={name: LineSettings(camera=CameraSettings(source="sim:x"))}).lines


@pytest.mark.parametrize("name", ["", "x" * 65, "Press", "press 1", "a/b", "+", "#", "päcker", "press-1\n"])
def test_no_line_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no name for a line"):
        topics.line_name(name)
    with pytest.raises(ValueError, match="lines"):
        Settings(lines={name: LineSettings(camera=CameraSettings(source="sim:x"))})


def test_no_topic_of_a_bad_name() -> None:
    with pytest.raises(ValueError, match="is no name for a line"):
        topics.ANOMALY.of("+")
