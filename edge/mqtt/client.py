"""A line's connection to the broker: made, lost, made anew, and, in words, why it is not there."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic, utc_now
from edge.mqtt import connection, properties
from edge.ops.alarms import Alarms
from edge.ops.backoff import Backoff
from edge.ops.logs import line_log
from edge.settings import MqttSettings
from edge.topics import STATUS, Topic

EARLY_S = 5.0
"""A connection that is lost so many seconds after it was made was lost early; several in a row have a cause."""
EARLY_LOSSES = 3
"""So many early losses in a row are an alarm."""

_PROTOCOL_ERROR = 130
_UNSUPPORTED_VERSION = 132
_TAKEN_OVER = 142
_HUNG_UP = 2  # connections ended without an answer after which a broker is taken to speak no MQTT 5
_LOOK_S = 0.1

P = ParamSpec("P")
Callback: TypeAlias = Callable[Concatenate["LineClient", P], None]
Props: TypeAlias = Properties | None


def _guarded(callback: Callback[P]) -> Callback[P]:
    """An exception would end paho's network thread; here it ends the connection, which is then made anew."""

    @functools.wraps(callback)
    def guard(self: LineClient, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception as error:
            self.log.exception("%s", callback.__name__)
            self.drop(f"failure in {callback.__name__}: {error}")

    return guard


class Owner(Protocol):
    """Who is told what happens on a connection, in the network thread. What it raises ends the connection."""

    def last_will(self) -> bytes:
        """The last will of the connection that is about to be made."""

    def opened(self, resumed: bool, away_s: float, props: Props) -> None:
        """It is made. `LineClient.sending` is held.

        Args:
            resumed: Whether the broker resumed a session.
            away_s: Seconds for which it may have kept messages; infinite if not known.
            props: What the broker says of itself.
        """

    def lost(self, misunderstood: bool, lasted_s: float) -> None:
        """It is gone, in whatever thread noticed.

        Args:
            misunderstood: Whether since paho did not understand the broker.
            lasted_s: Seconds since it was made.
        """

    def done(self, packet: int, code: ReasonCode) -> None:
        """A message is with the broker, or refused; without QoS, with the network. paho's lock is held."""

    def granted(self, codes: Sequence[ReasonCode]) -> None:
        """The answer to subscriptions."""

    def received(self, message: MQTTMessage) -> None:
        """A message came."""


class LineClient:
    """Locks, outermost first: `sending` puts the calls of paho's `publish` in order; then paho's own; then `_lock`,
    which guards the fields; neither paho nor the owner is called under it, since paho calls back under its own.
    """

    def __init__(
        self, settings: MqttSettings, line: str, node: str, owner: Owner, alarms: Alarms, *, keep: bool
    ) -> None:
        """`keep`: whether the broker keeps its subscriptions while it is away. Raises ConfigError."""
        self.line = line
        self.log = line_log(__name__, line)
        self.sending = threading.RLock()
        self._settings = settings
        self._owner = owner
        self._alarms = alarms
        self._keep = keep
        self._name = connection.client_id(settings, node, line)
        self._lock = threading.Lock()
        self._started = self._connected = self._answered = self._closing = self._gives_up = False
        self._reason: str | None = "not started"
        self._since = utc_now()
        self._made_at = 0.0
        self._lost_at: float | None = None  # None: there was no connection in this run
        self._early = self._hung_up = 0
        self._pause = Backoff(connection.RECONNECT_S[0], connection.RECONNECT_S[1])
        self._network: threading.Thread | None = None
        self.version = settings.version
        """The MQTT version that is spoken."""
        self._falls_back = self._spoke = False
        self.client = self._make()

    @property
    def five(self) -> bool:
        """Whether MQTT 5 is spoken."""
        return self.version == "5"

    def start(self) -> None:
        """Begins to connect; a broker that is down is tried again until it is up."""
        self._started = True
        self._lost("connecting")
        connection.connect(self.client, self._settings, self.version, keep=self._keep)

    def look(self) -> None:
        """Starts paho's network thread anew if something has killed it, and falls back to MQTT 3.1.1 if need be.

        To be called about every second; `sending` is held.
        """
        if self._closing or not self._started:
            return
        if self._dead:
            self.log.error("the network thread had ended; starting it anew")
            self._network = None
            self.start()
        elif self._falls_back:
            self._falls_back = False
            self._silence(self.client)
            self.version = "3.1.1"
            message = "the broker refuses MQTT 5, so 3.1.1 is used: what it refuses to publish is not seen; "
            self._alarms.raise_("broker_version", f"{message}set mqtt.version = '3.1.1' to accept that", self.line)
            self._network = None
            self.client = self._make()
            connection.connect(self.client, self._settings, self.version, keep=self._keep)
        if self._connected and self._early and monotonic() - self._made_at > EARLY_S:
            self._early = 0
            self._pause.succeed()
            self._alarms.clear("broker_losses", self.line)

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

    def publish_on(self, topic: str, payload: bytes, like: Topic) -> int | None:
        """As `publish`, on the topic of another line, as of `like`."""
        info = self.client.publish(topic, payload, like.qos, like.retained)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def drop(self, reason: str) -> None:
        """Ends the connection without farewell; it is made anew."""
        self._lost(reason, heard_at=connection.last_heard(self.client))
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
            self.log.warning("the network thread is still busy")
        self._lost("stopped")

    @property
    def _dead(self) -> bool:
        return not self._closing and self._network is not None and not self._network.is_alive()

    def _make(self) -> Client:
        client = connection.client_of(self._settings, self._name, self.version, keep=self._keep)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = lambda client, _, packet, code, _props: self._on_publish(client, packet, code)
        client.on_subscribe = lambda client, _, _packet, codes, _props: self._on_subscribe(client, codes)
        client.on_message = lambda client, _, message: self._on_message(client, message)
        return client

    def _silence(self, client: Client) -> None:
        """Lets a client end by itself; nothing that it still does is heard."""
        client.on_pre_connect = client.on_connect = client.on_connect_fail = client.on_disconnect = None
        client.on_publish = client.on_subscribe = client.on_message = None
        client.disconnect()
        connection.cut(client)

    def _lost(self, reason: str, misunderstood: bool = False, heard_at: float | None = None) -> None:
        """`heard_at`: when the broker was last heard, where that may be long before now."""
        now = monotonic()
        with self._lock:
            was = self._connected
            changed = was or self._reason != reason
            if was:
                self._since = utc_now()
                self._lost_at = now if heard_at is None else min(now, heard_at)
            self._connected, self._reason = False, reason
        if changed and not self._closing:
            self.log.info("not connected to the broker: %s", reason)
        if was:
            self._owner.lost(misunderstood, now - self._made_at)

    def _note_loss(self, taken_over: bool) -> None:
        """Early losses in a row are no accident: the pauses between connections grow, and people are told."""
        if monotonic() - self._made_at > EARLY_S:
            self._early = 0
            self._pause.succeed()
        else:
            self._early += 1
        connection.pause(self.client, self._pause.fail() if self._early > 1 else connection.RECONNECT_S[0])
        if self._early < EARLY_LOSSES and not (taken_over and self._early > 1):
            return
        causes = (
            f"another client has the id {self._name}, or the broker takes the user for the id "
            "(give each line or box a user, or the broker a setting, of its own)"
        )
        size = "or a message is larger than the broker takes (mqtt.max_packet_kb)"
        why = causes if taken_over else f"{causes}; {size}"
        message = f"the broker has ended the connection {self._early} times soon after it was made: {why}"
        if self._early in (EARLY_LOSSES, 2):  # said once: a count that grows is no news
            self._alarms.raise_("broker_losses", message, self.line)

    @_guarded
    def _on_pre_connect(self, client: Client, _: Any) -> None:
        self._network, self._answered = threading.current_thread(), False
        props = properties.of_will(self.line) if self.five else None
        client.will_set(STATUS.of(self.line), self._owner.last_will(), STATUS.qos, STATUS.retained, props)
        connection.begin_anew(client, self._gives_up or not self._keep)

    @_guarded
    def _on_connect(self, client: Client, _: Any, flags: ConnectFlags, code: ReasonCode, props: Props) -> None:
        self._answered = True
        self._hung_up = 0
        if code.is_failure:
            if code == _UNSUPPORTED_VERSION and self.five:
                self._falls_back = True
            self._lost(connection.refused(code))
            return
        self._gives_up, self._spoke = False, True
        if self._closing:  # the connection had been under way when `close` was called
            client.disconnect()
            return
        with self.sending:
            client.drop_out_messages()  # nothing of the last connection's: an old status must not come after a new one
            now = monotonic()
            away_s = float("inf") if self._lost_at is None else now - self._lost_at
            with self._lock:
                self._connected, self._reason, self._since, self._made_at = True, None, utc_now(), now
            self.log.info("connected to the broker, MQTT %s", self.version)
            self._owner.opened(flags.session_present, away_s, props)

    @_guarded
    def _on_connect_fail(self, _client: Client, _: Any) -> None:
        self._lost(connection.failed(sys.exc_info()[1], self._settings))

    @_guarded
    def _on_disconnect(self, client: Client, _: Any, flags: DisconnectFlags, code: ReasonCode, _props: Props) -> None:
        if self._connected:
            ours = not flags.is_disconnect_packet_from_server
            silent = code == MQTTErrorCode.MQTT_ERR_KEEPALIVE or str(code) == "Keep alive timeout"
            self._lost(
                connection.lost(code),
                misunderstood=ours and code == _PROTOCOL_ERROR,
                heard_at=connection.last_heard(client) if silent else None,
            )
            if not self._closing:
                self._note_loss(not ours and code == _TAKEN_OVER)
        elif not self._answered:
            self._hung_up += 1
            if self.five and not self._spoke and self._hung_up >= _HUNG_UP:
                self._falls_back = True  # brokers of 3.1.1 may hang up on a version that they do not know
            self._lost(connection.unanswered(self._settings))

    @_guarded
    def _on_publish(self, _client: Client, packet: int, code: ReasonCode) -> None:
        self._owner.done(packet, code)

    @_guarded
    def _on_subscribe(self, _client: Client, codes: Sequence[ReasonCode]) -> None:
        self._owner.granted(codes)

    @_guarded
    def _on_message(self, _client: Client, message: MQTTMessage) -> None:
        self._owner.received(message)
