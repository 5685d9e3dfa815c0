"""What comes in for a line: its subscriptions, what of it is refused unread, and what had waited at the broker."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic
from edge.mqtt.connection import in_words
from edge.mqtt.freshness import Marker
from edge.settings import MqttSettings
from edge.topics import COMMAND, SYNC, TRIGGER

REJECTIONS = ("too_large", "retained", "bad_trigger", "bad_command", "unexpected", "unreadable", "internal")
"""Why a message is refused. The inbox says the bad ones, as the message of a ValueError."""

logger = logging.getLogger(__name__)


class Inbox(Protocol):
    """Who takes what comes in. Called in the network thread: it returns soon."""

    def trigger(self, payload: bytes, *, again: bool, stale: bool) -> Future[Any] | None:
        """Takes a trigger; it is acknowledged to the broker when the future is done, at once without one.

        Args:
            payload: As it came.
            again: The broker may have sent it before.
            stale: It may have waited at the broker while the service was away: its part is gone.

        Raises:
            ValueError: `bad_trigger`.
        """

    def command(self, payload: bytes, *, stale: bool) -> None:
        """Takes a command. Raises ValueError: `bad_command`."""


class Intake:
    """Between the broker's messages and the inbox."""

    def __init__(self, settings: MqttSettings, line: str, inbox: Inbox, wake: Callable[[], None]) -> None:
        """`wake` is called, in any thread, when there is a marker to send."""
        self._line = line
        self._inbox = inbox
        self._wake = wake
        self._largest = settings.max_message_kb * 1024
        self._trigger, self._command, self._sync = (topic.of(line) for topic in (TRIGGER, COMMAND, SYNC))
        self._topics = (self._trigger, self._command, self._sync) if settings.commands else (self._trigger, self._sync)
        self._lock = threading.Lock()  # guards what follows; nothing is called under it
        self._rejected: Counter[str] = Counter()
        self._denied: tuple[str, ...] = ()
        self._marker: Marker | None = None  # of the connection that there is

    @property
    def rejected(self) -> dict[str, int]:
        """Messages refused since the start, by reason."""
        with self._lock:
            return dict(self._rejected)

    @property
    def trouble(self) -> str | None:
        """What does not come in, and why."""
        with self._lock:
            problems = list(self._denied)
            if self._marker is not None and self._marker.overdue(monotonic()):
                problems.append(
                    f"{self._sync} does not come back: let the service write and read it; "
                    "until then old triggers cannot be told from new ones"
                )
        return "; ".join(problems) or None

    @property
    def sorting(self) -> bool:
        """Whether what comes in now may be old."""
        with self._lock:
            return self._marker is not None and self._marker.sorting(monotonic())

    def begin(self, client: Client, resumed: bool) -> None:
        """Subscribes; with `resumed` the broker has kept messages, and perhaps other subscriptions."""
        with self._lock:
            self._denied = ()
            self._marker = Marker(resumed, monotonic())
        client.subscribe([(topic, 1) for topic in self._topics])
        if resumed and self._command not in self._topics:
            client.unsubscribe(self._command)  # of a time when commands were taken

    def end(self) -> None:
        """The connection is gone, and with it what was to be acknowledged on it."""
        with self._lock:
            self._marker = None

    def marker(self) -> bytes | None:
        """What to publish on the topic of markers, once."""
        with self._lock:
            return self._marker.to_send(monotonic()) if self._marker is not None else None

    def granted(self, codes: Sequence[ReasonCode]) -> None:
        """The broker's answer to the subscriptions."""
        pairs = zip(self._topics, codes, strict=False)
        denied = [f"the broker refuses {topic}: {in_words(code)}" for topic, code in pairs if code.is_failure]
        with self._lock:
            self._denied = tuple(denied)
        for one in denied:
            logger.error("line %s: %s", self._line, one)

    def take(self, client: Client, message: MQTTMessage) -> None:
        """Passes a message on, and acknowledges it in time. One of a connection that is gone comes again."""
        with self._lock:
            marker = self._marker
            if marker is not None and message.qos:
                marker.hold(message.mid, monotonic())
        if marker is None:
            return
        future, reason = None, None
        try:
            future = self._pass_on(message, marker)
        except ValueError as error:
            reason = str(error) if str(error) in REJECTIONS else self._failed()
        except Exception:
            reason = self._failed()
        if reason is not None:
            self.reject(reason)
        if future is None:
            self._acknowledge(client, message, marker)
        else:
            future.add_done_callback(lambda _: self._acknowledge(client, message, marker))

    def reject(self, reason: str) -> None:
        """Counts a message that was refused."""
        with self._lock:
            self._rejected[reason] += 1

    def _pass_on(self, message: MQTTMessage, marker: Marker) -> Future[Any] | None:
        """Raises ValueError: the reason why not."""
        if message.topic not in self._topics:
            raise ValueError("unexpected")
        if message.retain:
            raise ValueError("retained")  # it would come again at each start
        if len(message.payload) > self._largest:
            raise ValueError("too_large")
        payload = bytes(message.payload)
        with self._lock:
            if message.topic == self._sync:
                marker.came(payload)
                return None
            stale = marker.is_old(monotonic())
        if message.topic == self._trigger:
            return self._inbox.trigger(payload, again=message.dup, stale=stale)
        self._inbox.command(payload, stale=stale)
        return None

    def _failed(self) -> str:
        logger.exception("line %s: the inbox failed on a message", self._line)
        return "internal"

    def _acknowledge(self, client: Client, message: MQTTMessage, marker: Marker) -> None:
        """On the connection that the message came by: on another its number is that of another message."""
        with self._lock:
            if marker is not self._marker or not message.qos:
                return
            late = marker.let_go(message.mid, monotonic())
        client.ack(message.mid, message.qos)
        if late:
            self._wake()
