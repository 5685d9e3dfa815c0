"""What MQTT 5 carries beside a message."""

from __future__ import annotations

import pytest

from edge.mqtt.properties import of_image, of_message
from edge.topics import ANOMALY, HEATMAP, PICTURE, Topic


@pytest.mark.parametrize(("topic", "content"), [(HEATMAP, "image/png"), (PICTURE, "image/jpeg")])
def test_an_image_says_which_verdict_it_belongs_to(topic: Topic, content: str) -> None:
    properties = of_image(topic, "press-1", "01a20120-b6d4-76e7-895a-84a672869ea3", 4711)
    assert properties.json() == {
        "ContentType": content,
        "MessageExpiryInterval": 10,
        "UserProperty": [("line", "press-1"), ("seq", "4711"), ("id", "01a20120-b6d4-76e7-895a-84a672869ea3")],
    }


def test_json_has_no_expiry() -> None:
    assert of_message(ANOMALY, "press-1", seq="1").json() == {
        "ContentType": "application/json",
        "UserProperty": [("line", "press-1"), ("seq", "1")],
    }
