"""A line's connection to the broker: made, lost, made anew, and, in words, why it is not there."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeAlias

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic, utc_now
from edge.mqtt import connection, properties
from edge.settings import MqttSettings
from edge.topics import STATUS, Topic

_PROTOCOL_ERROR = 130
_LOOK_S = 0.1

logger = logging.getLogger(__name__)
P = ParamSpec("P")
Callback: TypeAlias = Callable[Concatenate["Link", P], None]
Props: TypeAlias = Properties | None


def _guarded(callback: Callback[P]) -> Callback[P]:
    """An exception would end paho's network thread; here it ends the connection, which is then made anew."""

    def guard(self: Link, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception as error:
            logger.exception("line %s: %s", self.line, callback.__name__)
            self.drop(f"failure in {callback.__name__}: {error}")

    return guard


@dataclass(frozen=True)
class Ears:
    """Who is told what happens on a connection, in the network thread. What it raises ends the connection."""

    will: Callable[[], bytes]
    """The last will of the connection that is about to be made."""
    opened: Callable[[bool, Props], None]
    """It is made: whether the broker resumed a session, and what it says of itself. `Link.sending` is held."""
    lost: Callable[[bool], None]
    """It is gone: whether since paho did not understand the broker. In whatever thread noticed."""
    done: Callable[[int, ReasonCode], None]
    """A message is with the broker, or refused; without QoS, with the network. paho's lock is held."""
    granted: Callable[[Sequence[ReasonCode]], None]
    """The answer to subscriptions."""
    received: Callable[[MQTTMessage], None]
    """A message came."""


class Link:
    """Locks, outermost first: `sending` puts the calls of paho's `publish` in order; then paho's own; then `_lock`,
    which guards the fields; neither paho nor the ears are called under it, since paho calls back under its own.
    """

    def __init__(self, settings: MqttSettings, line: str, node: str, ears: Ears, *, keep: bool) -> None:
        """`keep`: whether the broker keeps its subscriptions while it is away. Raises ConfigError."""
        self.line = line
        self.sending = threading.RLock()
        self._settings = settings
        self._ears = ears
        self._keep = keep
        self._lock = threading.Lock()
        self._started = self._connected = self._answered = self._closing = self._gives_up = False
        self._reason: str | None = "not started"
        self._since = utc_now()
        self._network: threading.Thread | None = None
        self.client = connection.client_of(settings, connection.client_id(settings, node, line), keep=keep)
        self.client.on_pre_connect = self._on_pre_connect
        self.client.on_connect = self._on_connect
        self.client.on_connect_fail = self._on_connect_fail
        self.client.on_disconnect = self._on_disconnect
        self.client.on_publish = lambda _client, _, mid, code, _props: self._on_publish(mid, code)
        self.client.on_subscribe = lambda _client, _, _mid, codes, _props: self._on_subscribe(codes)
        self.client.on_message = lambda _client, _, message: self._on_message(message)

    def start(self) -> None:
        """Begins to connect; a broker that is down is tried again until it is up."""
        self._started = True
        self._lost("connecting")
        connection.connect(self.client, self._settings, keep=self._keep)

    def revive(self) -> None:
        """Starts paho's network thread anew if something has killed it; `sending` is held."""
        if self._dead:
            logger.error("line %s: the network thread had ended; starting it anew", self.line)
            self._network = None
            self.start()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection, and nothing has ended it since."""
        return self._connected and not self._dead

    def status(self) -> connection.BrokerStatus:
        """How it is, the line's verdicts aside."""
        with self._lock:
            reason = "the network thread has ended" if self._dead else self._reason
            return connection.BrokerStatus(self.connected, reason, self._since)

    def publish(self, topic: Topic, payload: bytes, props: Props) -> int | None:
        """Gives paho a message; its id, or None if there is no connection. `sending` is held."""
        info = self.client.publish(topic.of(self.line), payload, topic.qos, topic.retained, props)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def drop(self, reason: str) -> None:
        """Ends the connection without farewell; it is made anew."""
        self._lost(reason)
        connection.cut(self.client)

    def give_up_session(self) -> None:
        """The next connection begins with a new session; what the broker kept for this one is gone."""
        self._gives_up = True

    def close(self, timeout_s: float) -> None:
        """Disconnects, and ends the network thread; lets the last packets leave within the time."""
        late = monotonic() + max(1.0, timeout_s)
        too_late = late + connection.CONNECT_TIMEOUT_S
        self._closing = True
        self.client.disconnect()
        network = self._network
        while network is not None and network.is_alive() and monotonic() < too_late:
            network.join(_LOOK_S)
            if not self._connected or monotonic() >= late:  # or the last packets do not leave
                connection.cut(self.client)
                self.client.disconnect()  # again: paho forgets it where it was about to connect
        if network is not None and network.is_alive():
            logger.warning("line %s: the network thread is still busy", self.line)
        self._lost("stopped")

    @property
    def _dead(self) -> bool:
        return not self._closing and self._network is not None and not self._network.is_alive()

    def _lost(self, reason: str, misunderstood: bool = False) -> None:
        with self._lock:
            was = self._connected
            if was or self._reason != reason:
                logger.info("line %s: not connected to the broker: %s", self.line, reason)
            if was:
                self._since = utc_now()
            self._connected, self._reason = False, reason
        if was:
            self._ears.lost(misunderstood)

    @_guarded
    def _on_pre_connect(self, client: Client, _: Any) -> None:
        self._network, self._answered = threading.current_thread(), False
        props = properties.of_will(self.line) if self._settings.version == "5" else None
        client.will_set(STATUS.of(self.line), self._ears.will(), STATUS.qos, STATUS.retained, props)
        connection.begin_anew(client, self._gives_up or not self._keep)

    @_guarded
    def _on_connect(self, client: Client, _: Any, flags: ConnectFlags, code: ReasonCode, props: Props) -> None:
        self._answered = True
        if code.is_failure:
            self._lost(connection.refused(code))
            return
        self._gives_up = False
        if self._closing:  # the connection had been under way when `close` was called
            client.disconnect()
            return
        with self.sending:
            client.drop_out_messages()  # nothing of the last connection's: an old status must not come after a new one
            with self._lock:
                self._connected, self._reason, self._since = True, None, utc_now()
            logger.info("line %s: connected to the broker", self.line)
            self._ears.opened(flags.session_present, props)

    @_guarded
    def _on_connect_fail(self, _client: Client, _: Any) -> None:
        self._lost(connection.failed(sys.exc_info()[1], self._settings))

    @_guarded
    def _on_disconnect(self, _client: Client, _: Any, flags: DisconnectFlags, code: ReasonCode, _props: Props) -> None:
        if self._connected:
            ours = not flags.is_disconnect_packet_from_server
            self._lost(connection.lost(code), misunderstood=ours and code == _PROTOCOL_ERROR)
        elif not self._answered:
            self._lost(connection.unanswered(self._settings))

    @_guarded
    def _on_publish(self, mid: int, code: ReasonCode) -> None:
        self._ears.done(mid, code)

    @_guarded
    def _on_subscribe(self, codes: Sequence[ReasonCode]) -> None:
        self._ears.granted(codes)

    @_guarded
    def _on_message(self, message: MQTTMessage) -> None:
        self._ears.received(message)
