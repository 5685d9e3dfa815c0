"""A line's connection to the broker: made, lost, made anew, and, in words, why it is not there."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeAlias

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic, utc_now
from edge.mqtt import connection, properties, property_text
from edge.ops.alarms import Alarms
from edge.ops.backoff import Backoff
from edge.ops.logs import line_log
from edge.settings import MqttSettings
from edge.topics import STATUS, Topic

property_text.take_any_text()
EARLY_S = 5.0
"""A connection that is lost within so many seconds, or twice the last pause, was lost early; several have a cause."""
EARLY_LOSSES = 3
"""So many early losses in a row are an alarm; of those that the broker puts down to another client, one fewer."""
STEADY_S = 60.0
"""The alarm is over when a connection lasts for so long: another client of the same id may pause for 30 s."""

Cause: TypeAlias = Literal["hung_up", "taken_over", "too_large", "told", "misunderstood", "silent", "ours"]
"""Why a connection is gone: the broker hung up without a word; it said that another client has the id, that a message
was too large, or something else; paho did not understand it; it was not heard any more; the service ended it."""

_PROTOCOL_ERROR = 130
_UNSUPPORTED_VERSION = 132
_OF_BROKER: dict[int, Cause] = {142: "taken_over", 149: "too_large"}  # by the code in its DISCONNECT
_EARLY_PAUSE_S = 5.0  # the longest pause after early losses: a network that is merely bad must not be left for long
_HUNG_UP = 2  # connections ended without an answer after which a broker is taken to speak no MQTT 5
_LOOK_S = 0.1
_CUT_S = 1.0  # for a network thread whose connection was cut; one that is about to connect may take longer

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
            self.fail(f"failure in {callback.__name__}: {error}")

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

    def lost(self, cause: Cause) -> None:
        """It is gone, in whatever thread noticed; paho's lock may be held, as in `done`."""

    def done(self, packet: int, code: ReasonCode) -> None:
        """A message is with the broker, or refused; without QoS, with the network. paho's lock is held, so nothing
        that takes a lock outside it may be called: neither `LineClient.sending` nor who listens to alarms.
        """

    def granted(self, codes: Sequence[ReasonCode]) -> None:
        """The answer to subscriptions."""

    def received(self, message: MQTTMessage) -> None:
        """A message came."""


class LineClient:
    """Locks, outermost first: `sending` puts the calls of paho's `publish` in order; then paho's own; then `_lock`,
    which guards the fields; neither paho nor the owner is called under it, since paho calls back under its own.
    """

    def __init__(
        self,
        settings: MqttSettings,
        line: str,
        node: str,
        owner: Owner,
        alarms: Alarms,
        *,
        suffix: str = "",
        keep: bool = False,
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: Of the broker.
            line: Whose connection it is.
            node: The box.
            owner: Who is told what happens.
            alarms: Where it is said that something is wrong.
            suffix: Of the installation's client ids.
            keep: Whether the broker keeps its subscriptions while it is away.

        Raises:
            ConfigError: host, password, certificate or key cannot be used.
        """
        self.line = line
        self.log = line_log(__name__, line)
        self.sending = threading.RLock()
        self._settings = settings
        self._owner = owner
        self._alarms = alarms
        self._keep = keep
        self._name = connection.client_id(settings, node, line, suffix)
        self.shown_name = self._name.replace(suffix, "...") if suffix else self._name
        """Its id at the broker, without what nobody is to guess: alarms are published."""
        self._takeovers = 0  # that `look` is to tell
        self._lock = threading.Lock()
        self._started = self._connected = self._answered = self._closing = self._gives_up = False
        self._reason: str | None = "not started"
        self._alarm_messages: dict[str, str | None] = {}  # by code: what `look` is to raise or to clear
        self._failure: str | None = None  # of a callback, for which the connection was ended
        self._since = utc_now()
        self._made_at = 0.0
        self._lost_at: float | None = None  # None: there was no connection in this run
        self._early = self._hung_up = 0
        self._pause = Backoff(connection.RECONNECT_S[0], _EARLY_PAUSE_S)
        self._paused_s = 0.0  # before this connection, after a loss
        self._network: threading.Thread | None = None
        self.version: connection.Version = settings.version
        """The MQTT version that is spoken."""
        self._next_version: connection.Version | None = None
        self._spoke = False  # whether the broker has accepted a connection in this run
        self._version_pause = Backoff(connection.RECONNECT_S[0], connection.RECONNECT_S[1])
        self.client = self._make(self.version)

    @property
    def five(self) -> bool:
        """Whether MQTT 5 is spoken."""
        return self.version == "5"

    def start(self) -> None:
        """Begins to connect; a broker that is down is tried again until it is up."""
        self._started = True
        with self._lock:
            self._reason, self._since = "connecting", utc_now()
        self._connect()

    def look(self) -> None:
        """Starts paho's network thread anew if something has killed it, changes the MQTT version if need be, and raises
        alarms.

        To be called about every second, in one thread; `sending` is not held.

        Raises:
            ConfigError: the password, certificate or key for another version cannot be read.
        """
        if self._dead:
            self._lost("the network thread has ended", "ours")
        with self.sending:
            if self._closing or not self._started:
                return
            if self._next_version is not None:
                self._change_version(self._next_version)
            elif self._dead:
                self.log.error("the network thread had ended; starting it anew")
                self.start()
        if self._connected and monotonic() - self._made_at > STEADY_S:
            self._say("broker_losses", None)
        with self._lock:
            messages = tuple(self._alarm_messages.items())
            takeovers, self._takeovers = self._takeovers, 0
        for code, message in messages:
            self._alarms.set(code, message, self.line)
        for _ in range(takeovers):
            message = f"another client took the id {self.shown_name} and with it the line's triggers; find it in the "
            self._alarms.count("broker_takeover", f"{message}broker's log, and give it an id of its own", self.line)

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
        """Ends the connection of a broker that is silent, without farewell; it is made anew. No lock is held."""
        self._lost(reason, "silent", heard_at=connection.last_heard(self.client))
        connection.cut(self.client)

    def fail(self, reason: str) -> None:
        """Ends the connection since a callback has failed; it is made anew. Any lock may be held."""
        self._failure = reason
        connection.cut(self.client)

    def give_up_session(self) -> None:
        """The next connection begins with a new session; what the broker kept for this one is gone."""
        self._gives_up = True

    def close(self, timeout_s: float) -> None:
        """Disconnects, and ends the network thread; lets the last packets leave within the time."""
        late = monotonic() + max(1.0, timeout_s)
        too_late = late + _CUT_S
        with self.sending:
            self._closing = True
            network = self._network
        self.client.disconnect()
        while network is not None and network.is_alive() and monotonic() < too_late:
            network.join(_LOOK_S)
            if not self._connected or monotonic() >= late:  # or the last packets do not leave
                connection.cut(self.client)
                self.client.disconnect()  # again: paho forgets it where it was about to connect
        if network is not None and network.is_alive():
            self.log.warning("the network thread is still busy")
        self._lost("stopped", "ours")

    @property
    def _dead(self) -> bool:
        ended = self._network is not None and not self._network.is_alive()
        return ended and not self._closing and self._next_version is None

    def _make(self, version: connection.Version) -> Client:
        client = connection.client_of(self._settings, self._name, version, keep=self._keep)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = lambda client, _, packet, code, _props: self._on_publish(client, packet, code)
        client.on_subscribe = lambda client, _, _packet, codes, _props: self._on_subscribe(client, codes)
        client.on_message = lambda client, _, message: self._on_message(client, message)
        return client

    def _change_version(self, version: connection.Version) -> None:
        """Once the network thread has ended; until then it may connect once more, and is told again."""
        self.client.disconnect()
        connection.cut(self.client)
        if self._network is not None and self._network.is_alive():
            return
        self.client = self._make(version)
        self.version, self._next_version, self._hung_up = version, None, 0
        connection.pause(self.client, self._version_pause.fail())
        self._connect()

    def _connect(self) -> None:
        self._network = connection.connect(self.client, self._settings, self.version, keep=self._keep)
        if self._network is not None:
            self._network.name = f"paho-{self.line}"  # not the client's id, which nobody is to read in a log

    def _lost(self, reason: str, cause: Cause, heard_at: float | None = None) -> None:
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
            self._say("broker", connection.not_connected(reason))
        if was:
            self._owner.lost(cause)

    def _say(self, code: str, message: str | None) -> None:
        """Has `look` raise an alarm, or clear it. paho's lock may be held here, and who listens may publish."""
        with self._lock:
            self._alarm_messages[code] = message

    def _note_loss(self, client: Client, cause: Cause) -> None:
        """Early losses in a row are no accident: the pauses between connections grow, and people are told. That another
        client has the id is none at any time, for the two may take turns.
        """
        taken_over = cause == "taken_over"
        if monotonic() - self._made_at > max(EARLY_S, 2 * self._paused_s) and not taken_over:
            self._early = 0
            self._pause.succeed()
        else:
            self._early += 1
        self._paused_s = self._pause.fail() if self._early > 1 else connection.RECONNECT_S[0]
        connection.pause(client, self._paused_s)
        if cause not in ("hung_up", "taken_over") or self._early < (EARLY_LOSSES - 1 if taken_over else EARLY_LOSSES):
            return
        causes = (
            f"another client has the id {self.shown_name}, or the broker takes the user for the id "
            "(give each line or box a user, or the broker a setting, of its own)"
        )
        size = "or a message is larger than the broker takes (mqtt.max_packet_kb)"
        why = causes if taken_over else f"{causes}; {size}"
        self._say("broker_losses", f"the broker ends the connection again and again: {why}")

    @_guarded
    def _on_pre_connect(self, client: Client, _: Any) -> None:
        self._network, self._answered, self._failure = threading.current_thread(), False, None
        props = properties.of_will(self.line) if self.five else None
        client.will_set(STATUS.of(self.line), self._owner.last_will(), STATUS.qos, STATUS.retained, props)
        connection.begin_anew(client, self._gives_up or not self._keep)

    @_guarded
    def _on_connect(self, client: Client, _: Any, flags: ConnectFlags, code: ReasonCode, props: Props) -> None:
        self._answered = True
        self._hung_up = 0
        if code.is_failure:
            if code == _UNSUPPORTED_VERSION and self.five and not self._spoke:
                self._next_version = "3.1.1"
            self._lost(connection.refused(code), "told")
            return
        if self._closing:  # the connection had been under way when `close` was called
            client.disconnect()
            return
        self._gives_up, self._spoke, self._next_version = False, True, None
        self._version_pause.succeed()
        self._say("broker_version", self._version_in_words())
        self._say("broker", None)
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
        self._hung_up = 0
        self._lost(connection.failed(sys.exc_info()[1], self._settings), "told")

    @_guarded
    def _on_disconnect(self, client: Client, _: Any, flags: DisconnectFlags, code: ReasonCode, _props: Props) -> None:
        if self._connected:
            cause = self._cause(flags.is_disconnect_packet_from_server, code)
            heard_at = connection.last_heard(client) if cause == "silent" else None
            with self._lock:
                self._takeovers += cause == "taken_over"
            self._lost(self._failure or connection.lost(code), cause, heard_at)
            if not self._closing:
                self._note_loss(client, cause)
        elif not self._answered and not self._closing:
            self._hung_up += 1
            if self._settings.version == "5" and not self._spoke and self._hung_up >= _HUNG_UP:
                # Brokers of 3.1.1 may hang up on a version that they do not know; but so does what is no broker yet.
                self._next_version = "3.1.1" if self.five else "5"
            self._lost(connection.unanswered(self._settings), "hung_up")

    def _cause(self, of_broker: bool, code: ReasonCode) -> Cause:
        """Why the connection is gone; `of_broker`: whether the broker has said so."""
        if self._failure is not None:
            return "ours"
        if str(code) == "Keep alive timeout":
            return "silent"
        if of_broker:
            return _OF_BROKER.get(code.value, "told")
        return "misunderstood" if code == _PROTOCOL_ERROR else "hung_up"

    def _version_in_words(self) -> str | None:
        if self.version == self._settings.version:
            return None
        return (
            f"the broker refuses MQTT {self._settings.version}, so {self.version} is used: what it refuses to publish "
            f"is not seen; set mqtt.version = '{self.version}' to accept that"
        )

    @_guarded
    def _on_publish(self, _client: Client, packet: int, code: ReasonCode) -> None:
        self._owner.done(packet, code)

    @_guarded
    def _on_subscribe(self, _client: Client, codes: Sequence[ReasonCode]) -> None:
        self._owner.granted(codes)

    @_guarded
    def _on_message(self, _client: Client, message: MQTTMessage) -> None:
        self._owner.received(message)
