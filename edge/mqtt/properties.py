"""What MQTT 5 carries beside a message: content type, expiry, and of which line, part and verdict it is."""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.topics import HEATMAP, Topic

HEATMAP_EXPIRY_S = 10
"""A heatmap is for those who look now."""


def of_message(topic: Topic, line: str, **user: str) -> Properties:
    """Those of a message of a line; `user` are user properties besides `line`."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if topic is HEATMAP:
        properties.ContentType = "image/png"
        properties.MessageExpiryInterval = HEATMAP_EXPIRY_S
    else:
        properties.ContentType = "application/json"
    properties.UserProperty = [("line", line), *user.items()]
    return properties


def of_will(line: str) -> Properties:
    """Those of a line's last will. paho would take those of a message without a word, and send them wrong."""
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    properties.UserProperty = [("line", line)]
    return properties


def size(properties: Properties) -> int:
    """Bytes that they take in a packet."""
    return len(properties.pack())  # type: ignore[no-untyped-call]
