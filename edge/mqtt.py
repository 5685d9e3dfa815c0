"""A line's voice at the broker: birth, last will, and verdicts that are done when they are acknowledged."""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeAlias

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge import connection
from edge.clock import monotonic, utc_now
from edge.connection import BrokerStatus, PublishError, probe
from edge.settings import MqttSettings
from edge.topics import ANOMALY, HEATMAP, STATS, STATUS, Topic, line_name
from edge.verdict import LineStats, LineStatus, State, Verdict

__all__ = ["BrokerStatus", "PublishError", "Publisher", "probe"]

MAX_HEATMAPS = 4
"""Heatmaps that may wait for a slow network; the next one is refused, since the newest is what counts."""

logger = logging.getLogger(__name__)
P = ParamSpec("P")
Callback: TypeAlias = Callable[Concatenate["Publisher", P], None]
Props: TypeAlias = Properties | None


@dataclass(frozen=True)
class _Sent:
    """A message in paho's hands."""

    topic: Topic
    verdict: str | None = None


def _guarded(callback: Callback[P]) -> Callback[P]:
    """An exception would end paho's network thread; here it ends the connection, which is then made anew."""

    def guard(self: Publisher, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception as error:
            logger.exception("line %s: %s", self.line, callback.__name__)
            self._disconnected(f"failure in {callback.__name__}: {error}")
            connection.cut(self._client)

    return guard


class Publisher:
    """All that one line says. Any thread may call it; no method but `stop` waits for the network.

    Locks, outermost first: `_sending` puts the calls of paho's `publish` in order; then paho's own; then
    `_lock`, which guards the fields; paho is never called under it, since it calls back under its own.
    """

    def __init__(
        self, settings: MqttSettings, line: str, node: str, version: str, *, max_unacknowledged: int = 1000
    ) -> None:
        """Raises ConfigError where host or password cannot be used."""
        self.line = line_name(line)
        self.published = 0
        """Verdicts accepted for publishing."""
        self.acknowledged = 0
        """Verdicts that the broker has acknowledged."""
        self._settings = settings
        self._limit = max_unacknowledged
        self._sending = threading.RLock()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._status = LineStatus(line=line, state="starting", since=utc_now(), node=node, version=version)
        self._pending: dict[str, bytes] = {}  # by verdict id, in order
        self._unsent: deque[str] = deque()  # those of them that paho does not have
        self._in_flight: dict[int, _Sent] = {}  # by paho's message id
        self._early: set[int] = set()  # acknowledged before `_hand_over` had noted them
        self._connected = self._started = self._stopping = self._closing = self._answered = False
        self._reason: str | None = "not started"
        self._since = utc_now()
        self._puback_at: float | None = None
        self._network: threading.Thread | None = None
        self._client = connection.client_of(settings, f"{settings.client_id}-{node}-{line}")
        self._client.on_pre_connect = self._on_pre_connect
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish

    def start(self) -> None:
        """Begins to connect; a broker that is down is tried again until it is up."""
        with self._sending:
            if not self._started:
                self._started = True
                self._disconnected("connecting")
                self._connect()

    def set_status(self, state: State, reason: str | None = None) -> None:
        """Says, retained, what state the line is in; without a connection, as soon as there is one."""
        with self._sending:
            if self._stopping:
                return  # the last word has been said
            self._revive()
            since = self._status.since if state == self._status.state else utc_now()
            status = self._status.model_copy(update={"state": state, "reason": reason, "since": since})
            if status != self._status:
                self._status = status
                if self._connected:
                    self._hand_over(_Sent(STATUS), status.to_json())

    def publish_verdict(self, verdict: Verdict) -> None:
        """Accepts the verdict for publishing, at least once; it is kept in memory until the broker has it.

        Raises:
            PublishError: too many wait for the broker already, or the publisher has stopped.
        """
        if verdict.line != self.line:
            raise ValueError(f"a verdict of line {verdict.line} on the connection of line {self.line}")
        with self._lock:
            if self._stopping:
                raise PublishError(f"line {self.line}: the connection has been stopped")
            if verdict.id in self._pending:
                return  # it is on its way
            if len(self._pending) >= self._limit:
                why = self._reason or "it does not acknowledge"
                raise PublishError(f"line {self.line}: {self._limit} verdicts wait for the broker: {why}")
            self._pending[verdict.id] = verdict.to_json()
            self._unsent.append(verdict.id)
            self.published += 1
        with self._sending:
            self._revive()
            self._flush()

    def publish_heatmap(self, png: bytes) -> bool:
        """Sends a heatmap to those who listen now; False if there is no connection, or a slow one."""
        with self._sending:
            self._revive()
            with self._lock:
                waiting = sum(sent.topic is HEATMAP for sent in self._in_flight.values())
                sendable = self._connected and waiting < MAX_HEATMAPS
            return sendable and self._hand_over(_Sent(HEATMAP), png)

    def publish_stats(self, stats: LineStats) -> bool:
        """Sends the counters, retained; False if there is no connection."""
        with self._sending:
            self._revive()
            return self._connected and self._hand_over(_Sent(STATS), stats.to_json())

    def stop(self, reason: str | None = None, timeout_s: float = 5.0) -> int:
        """Says `stopped`, waits for PUBACKs, disconnects. Returns how many verdicts are unacknowledged."""
        deadline = monotonic() + timeout_s
        with self._sending:
            self.set_status("stopped", reason)
            self._stopping = True
        with self._lock:
            # Verdicts are worth waiting for a broker that is away or not reached yet; a status alone is not.
            self._changed.wait_for(lambda: not self._awaits_puback(), timeout_s if self._started else 0)
            self._closing = True
        self._client.disconnect()
        network = self._network
        if network is not None:
            network.join(max(1.0, deadline - monotonic()))
            connection.cut(self._client)  # where the last packets do not leave
            network.join(connection.CONNECT_TIMEOUT_S + 1)
            if network.is_alive():
                logger.warning("line %s: the network thread is still busy", self.line)
        self._disconnected("stopped")
        return len(self._pending)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection, and nothing has ended it since."""
        return self.state.connected

    @property
    def full(self) -> bool:
        """Whether the next verdict would be refused."""
        with self._lock:
            return len(self._pending) >= self._limit

    @property
    def state(self) -> BrokerStatus:
        """How the connection is. A broker that hangs shows in `last_puback_age_s` and `unacknowledged`."""
        with self._lock:
            dead = self._dead()
            age = None if self._puback_at is None else monotonic() - self._puback_at
            reason = "the network thread has ended" if dead else self._reason
            return BrokerStatus(self._connected and not dead, reason, self._since, age, len(self._pending))

    def _connect(self) -> None:
        self._client.connect_async(self._settings.host, self._settings.port, self._settings.keepalive_s)
        self._client.loop_start()

    def _dead(self) -> bool:
        return not self._stopping and self._network is not None and not self._network.is_alive()

    def _revive(self) -> None:
        """Starts paho's network thread anew if something has killed it."""
        if self._dead():
            logger.error("line %s: the network thread had ended; starting it anew", self.line)
            self._network = None
            self._disconnected("connecting")
            self._connect()

    def _flush(self) -> None:
        """Gives paho the verdicts that it does not have; `_sending` is held."""
        while True:
            with self._lock:
                if not self._connected or not self._unsent:
                    return
                verdict = self._unsent[0]
                payload = self._pending[verdict]
            if not self._hand_over(_Sent(ANOMALY, verdict), payload):
                return  # the connection has just gone; the next one begins with all that is pending
            with self._lock:
                self._unsent.popleft()

    def _hand_over(self, sent: _Sent, payload: bytes) -> bool:
        """Gives paho one message, and notes its id; `_sending` is held."""
        with self._lock:
            self._early.clear()
        topic = sent.topic
        info = self._client.publish(topic.of(self.line), payload, topic.qos, topic.retained)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        with self._lock:
            if info.mid in self._early:
                self._settle(sent)
            else:
                self._in_flight[info.mid] = sent
        return True

    def _settle(self, sent: _Sent) -> None:
        """Notes that a message is done; `_lock` is held."""
        if sent.topic.qos:
            self._puback_at = monotonic()
        if sent.verdict is not None and self._pending.pop(sent.verdict, None) is not None:
            self.acknowledged += 1
        self._changed.notify_all()

    def _awaits_puback(self) -> bool:
        unsettled = any(sent.topic.qos for sent in self._in_flight.values())
        return bool(self._pending) or (self._connected and unsettled)

    def _disconnected(self, reason: str) -> None:
        with self._lock:
            if self._connected or self._reason != reason:
                logger.info("line %s: not connected to the broker: %s", self.line, reason)
            if self._connected:
                self._since = utc_now()
            self._connected, self._reason = False, reason
            self._changed.notify_all()

    @_guarded
    def _on_pre_connect(self, client: Client, _: Any) -> None:
        self._network, self._answered = threading.current_thread(), False
        reason = "connection lost; it had been made at `since`"
        will = self._status.model_copy(update={"state": "offline", "since": utc_now(), "reason": reason})
        client.will_set(STATUS.of(self.line), will.to_json(), STATUS.qos, STATUS.retained)

    @_guarded
    def _on_connect(self, client: Client, _: Any, _flags: ConnectFlags, code: ReasonCode, _props: Props) -> None:
        self._answered = True
        if code.is_failure:
            self._disconnected(connection.refused(code))
            return
        if self._closing:  # the connection had been under way when `stop` gave up
            client.disconnect()
            return
        with self._sending:
            # Nothing of the last connection's: an old status must not come after the new one.
            client.drop_out_messages()
            with self._lock:
                self._in_flight.clear()
                self._unsent = deque(self._pending)
                self._connected, self._reason, self._since = True, None, utc_now()
            logger.info("line %s: connected to the broker", self.line)
            self._hand_over(_Sent(STATUS), self._status.to_json())
            self._flush()

    @_guarded
    def _on_connect_fail(self, _client: Client, _: Any) -> None:
        self._disconnected(connection.failed(sys.exc_info()[1], self._settings))

    @_guarded
    def _on_disconnect(self, _client: Client, _: Any, _flags: DisconnectFlags, code: ReasonCode, _props: Props) -> None:
        if self._connected:
            self._disconnected(connection.lost(code))
        elif not self._answered:
            self._disconnected(connection.NO_ANSWER)

    @_guarded
    def _on_publish(self, _client: Client, _: Any, mid: int, _code: ReasonCode, _props: Props) -> None:
        with self._lock:
            if (sent := self._in_flight.pop(mid, None)) is None:
                self._early.add(mid)
            else:
                self._settle(sent)
