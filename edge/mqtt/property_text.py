"""How texts in a message's MQTT 5 properties are read.

paho refuses U+FEFF in them and ends the connection, though the standard allows it [MQTT-1.5.4-3] and brokers do too.
The broker would send such a message again and again, and the triggers behind it would wait, or be given up with it.
Nothing here reads these texts, so that none of them is a reason to refuse the message.
"""

from __future__ import annotations

import paho.mqtt.properties
from paho.mqtt.exception import MalformedPacket


def read_text(buffer: bytes, most: int) -> tuple[str, int]:
    """A text, and the bytes that it takes with its length; what is no UTF-8 is replaced.

    Args:
        buffer: Begins with the text's length, two bytes.
        most: Bytes that are left for both.

    Raises:
        MalformedPacket: it ends before its length says.
    """
    length = int.from_bytes(buffer[:2], "big")
    if most < 2 or length > most - 2:
        raise MalformedPacket("a text in a property is cut short")
    return buffer[2 : 2 + length].decode("utf-8", "replace"), length + 2


def take_any_text() -> None:
    """From now on paho reads texts in properties so, in this process."""
    paho.mqtt.properties.readUTF = read_text
