"""Texts in a message's MQTT 5 properties that the library refuses, though the standard and brokers pass them on."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.mosquitto import Mosquitto, client, eventually
from tests.support.publisher import TRIGGER, Notes, Publishers, connected


@pytest.mark.parametrize("text", ["\ufeff", "a\ufeffb", "\u202e"])
def test_a_text_in_a_property_costs_no_connection_and_no_trigger(publisher_of: Publishers, text: str) -> None:
    """The connection ended; the second time all that the broker kept for the line was given up, good triggers too."""
    notes = Notes()
    with Mosquitto() as broker:
        publisher = publisher_of(broker.port, notes, version="5")
        publisher.start()
        connected(publisher)
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = [("note", text)]
        with client(broker.port, five=True) as machine:

            def subscribed() -> bool:
                machine.publish(TRIGGER, b"first", 1).wait_for_publish(5)
                return bool(notes.taken)

            eventually(subscribed)
            for number in range(6):
                machine.publish(TRIGGER, b"%d" % number, 1, properties=properties).wait_for_publish(5)
            eventually(lambda: {b"%d" % number for number in range(6)} <= {one.payload for one in notes.taken})
        assert publisher_of.alarm("broker") is None
