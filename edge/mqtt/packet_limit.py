"""How large a message may be for the broker: as it says, as the settings say, or as its hanging up has taught."""

from __future__ import annotations

import threading
from collections import deque

from paho.mqtt.properties import Properties

from edge.clock import monotonic
from edge.mqtt import properties
from edge.ops.alarms import Alarms
from edge.settings import MqttSettings

_SUSPICIOUS_S = 1.0  # a connection lost so soon after a large message may have been lost for its size
_LARGE = 8 * 1024  # bytes; no broker takes less
_LEARNED = "limit"  # what the alarm of a limit that was found is about; the others are about topics
_LOSSES = 2  # so many in a row are no accident


class PacketLimit:
    """Of one line. A broker of MQTT 3.1.1 cannot say why it hangs up. Any thread may call it, under any lock; except
    `look`, which raises the alarm.
    """

    def __init__(self, settings: MqttSettings, line: str, alarms: Alarms) -> None:
        self._line = line
        self._alarms = alarms
        self._configured = None if settings.max_packet_kb is None else settings.max_packet_kb * 1024
        self._lock = threading.Lock()
        self._told: int | None = None
        self._learned: int | None = None
        self._recent: deque[tuple[float, int]] = deque()  # when large messages were sent on this connection, and sizes
        self._survived = 0  # bytes of the largest message that this connection has outlived
        self._suspects: list[int] = []  # sizes after which the connection was lost, in a row
        self._messages: dict[str, str | None] = {}  # what the alarms are to say: by topic, and of the limit itself

    @property
    def largest(self) -> int | None:
        """Bytes of the largest packet that is sent; None: any."""
        return min((size for size in (self._configured, self._told, self._learned) if size is not None), default=None)

    def told(self, size: int | None) -> None:
        """What the broker says of itself on a new connection, bytes; None: nothing."""
        with self._lock:
            if size != self._told and self._learned is None:
                self._messages = dict.fromkeys(self._messages)
            self._told = size
            self._recent.clear()
            self._survived = 0

    def sent(self, size: int, topic: str = "") -> None:
        """A packet of so many bytes is on its way."""
        now = monotonic()
        with self._lock:
            if topic in self._messages:
                self._messages[topic] = None
            if size >= _LARGE:
                self._outlive(now)
                self._recent.append((now, size))

    def lost(self, told: bool = False) -> None:
        """The broker has ended the connection; `told`: it has said that a message was too large, else it said nothing.

        Losses for other reasons are not to be told here.
        """
        with self._lock:
            self._outlive(monotonic())
            suspect = next((size for _, size in self._recent if size > self._survived), None)
            self._recent.clear()
            if suspect is None:
                self._suspects.clear()
                return
            self._suspects.append(suspect)
            if len(self._suspects) < (1 if told else _LOSSES):
                return
            smallest = min(self._suspects)
            self._suspects.clear()
            # Once it is known that there is a limit, it is looked for in larger steps.
            self._learned = smallest - 1 if self._learned is None else min(smallest - 1, self._learned * 3 // 4)
            self._messages[_LEARNED] = (
                f"the broker ends the connection after messages of {smallest} bytes: none larger than {self._learned} "
                "bytes are sent; raise the broker's limit (mosquitto: max_packet_size) and restart, "
                "or set mqtt.max_packet_kb"
            )

    def allows(self, size: int, topic: str) -> bool:
        """Whether a packet of so many bytes may be sent; one that is too large is noted as refused."""
        largest = self.largest
        if largest is None or size <= largest:
            return True
        self.refuse(size, topic)
        return False

    def refuse(self, size: int, topic: str) -> None:
        """A message of so many bytes was not sent, for its size."""
        with self._lock:
            if self._learned is None and self._messages.get(topic) is None:
                source = "mqtt.max_packet_kb" if self.largest == self._configured else "the broker"
                text = f"a message of {size} bytes on {topic} was not sent: {source} allows {self.largest}"
                self._messages[topic] = text

    def look(self) -> None:
        """Raises the alarms, or ends them; to be called now and then."""
        with self._lock:
            messages = tuple(self._messages.items())
        for about, message in messages:
            self._alarms.set("broker_packet_size", message, self._line, about=about)

    def _outlive(self, now: float) -> None:
        """The connection has outlived what was sent some time ago; `_lock` is held."""
        while self._recent and now - self._recent[0][0] >= _SUSPICIOUS_S:
            self._survived = max(self._survived, self._recent.popleft()[1])


def packet_size(topic: str, payload: bytes, props: Properties | None) -> int:
    """Bytes of the packet that brings a message, at most."""
    fixed = 9  # kind, remaining length, length of the topic, number
    return fixed + len(payload) + len(topic) + (0 if props is None else properties.size(props))
