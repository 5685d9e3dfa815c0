"""What MQTT 5 carries beside a message: content type, expiry, and of which line, part and verdict it is."""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.topics import HEATMAP, PICTURE, Topic

IMAGE_EXPIRY_S = 10
"""A heatmap or picture is for those who look now."""
_IMAGES = {HEATMAP: "image/png", PICTURE: "image/jpeg"}


def of_message(topic: Topic, line: str, **user: str) -> Properties:
    """Those of a message of a line; `user` are user properties besides `line`."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = _IMAGES.get(topic, "application/json")
    if topic in _IMAGES:
        properties.MessageExpiryInterval = IMAGE_EXPIRY_S
    properties.UserProperty = [("line", line), *user.items()]
    return properties


def of_image(topic: Topic, line: str, verdict_id: str, seq: int) -> Properties:
    """Those of a heatmap or picture: they say which verdict it belongs to."""
    return of_message(topic, line, seq=str(seq), id=verdict_id)


def of_will(line: str) -> Properties:
    """Those of a line's last will. paho would take those of a message without a word, and send them wrong."""
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    properties.ContentType = "application/json"
    properties.UserProperty = [("line", line)]
    return properties


def size(properties: Properties) -> int:
    """Bytes that they take in a packet."""
    return len(properties.pack())  # type: ignore[no-untyped-call]
