"""What a line's connection is subscribed to, what of it is refused unread, and when it is acknowledged."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic, utc_now
from edge.mqtt.connection import in_words, refuses
from edge.mqtt.freshness import Freshness
from edge.mqtt.inbound import InboundMessage, Router
from edge.mqtt.lost_session import LostSession
from edge.ops.alarms import Alarms
from edge.settings import MqttSettings
from edge.storage.outbox import Outbox
from edge.storage.verdict_tables import MessageIdentity
from edge.topics import COMMAND, LINE_NAME, STATS, SYNC, TRIGGER

MOST_SEQ = 2**53 - 1
"""The largest number that every reader of JSON reads exactly."""

_INCOMING = re.compile(
    TRIGGER.pattern.replace("<line>", f"({LINE_NAME.pattern})").replace("trigger", "(?:trigger|trigger/sync|command)")
)
_CONFIRM, _CONFIRM_S = b"confirm", 1.0  # published so long after a PUBACK, seconds, where no verdict follows it
_LARGEST_STATS = 64 * 1024  # bytes
_ANSWER_S = 5.0  # a broker that has not answered subscriptions by then is an alarm
_STRANGE_S = 60.0  # so long a message of an unknown line is left to whom it belongs; it is of no use any more then
_TELL_S = 1.0  # so long after the answer a broker has sent what it retains


class Sender(Protocol):
    """The line's publisher, as its subscriptions know it."""

    def wake(self) -> None:
        """There is something to send. Any thread may call it."""


@dataclass(frozen=True)
class _Acknowledged:
    """A PUBACK that was given to paho before `at`, of which is not known yet whether the broker has had it."""

    packet: int
    trigger: int
    at: float


class _Connection:
    """What is known of the connection that there is."""

    def __init__(self, session: str, resumed: bool, away_s: float) -> None:
        self.name = secrets.token_hex(6)
        self.session = session
        self.began = monotonic()
        self.granted: float | None = None  # when the broker answered the subscriptions
        self.freshness = Freshness(resumed, self.began, away_s)
        self.acknowledged: deque[_Acknowledged] = deque()
        self.confirming_at = 0.0  # when a message was sent whose PUBACK confirms them
        self.strange: deque[tuple[float, int]] = deque()  # when messages of unknown lines came, and their packets

    def unconfirmed(self, now: float) -> bool:
        """Whether PUBACKs wait for long to be confirmed, as after a message that came again: it has no new verdict."""
        if not self.acknowledged or self.acknowledged[-1].at < self.confirming_at:
            return False
        return now - self.acknowledged[0].at >= _CONFIRM_S


class Subscriptions:
    """Between the broker's messages and the router. Its `origin`s acknowledge on the connection that they came by."""

    def __init__(
        self, settings: MqttSettings, line: str, router: Router, store: Outbox, sender: Sender, alarms: Alarms
    ) -> None:
        self._line = line
        self._router = router
        self._store = store
        self._sender = sender
        self._alarms = alarms
        self._largest = settings.max_message_kb * 1024
        self._commands = settings.commands
        self._sync, self._stats = SYNC.of(line), STATS.of(line)
        kinds = (TRIGGER, COMMAND) if settings.commands else (TRIGGER,)
        self._topics = (*(topic.of(line) for topic in kinds), self._sync)
        self._of_topic: dict[str, tuple[str, Literal["trigger", "command"]]] = {}
        for name in router.lines:  # brokers that take the user for the client's id bring other lines' messages, too
            self._of_topic[TRIGGER.of(name)] = (name, "trigger")
            if settings.commands:
                self._of_topic[COMMAND.of(name)] = (name, "command")
        self._syncs = {SYNC.of(name) for name in router.lines}
        self._all_stats = {STATS.of(name) for name in router.lines}
        self.told = threading.Event()
        """Set when the broker has told the line's last number, or seems to know none: see `last_seq`."""
        self.last_seq = 0
        """The highest number that the broker knows of the line, from an earlier run; up to `MOST_SEQ`."""
        self.last_generation = 1
        """The generation of that number."""
        self._lost_session = LostSession(line, alarms)
        self._session_gone: str | None = None  # why, where that is known
        self._lock = threading.Lock()  # guards what follows; nothing is called under it
        self._connection: _Connection | None = None

    @property
    def asked_at(self) -> float | None:
        """When the subscriptions were asked for, on the monotonic clock; None: they were answered."""
        with self._lock:
            connection = self._connection
            return connection.began if connection is not None and connection.granted is None else None

    @property
    def sorting(self) -> bool:
        """Whether what comes in now may be old."""
        with self._lock:
            return self._connection is not None and self._connection.freshness.sorting(monotonic())

    def begin(self, client: Client, resumed: bool, away_s: float) -> None:
        """Subscribes; with `resumed` the broker has kept messages for `away_s` seconds, and perhaps subscriptions."""
        expected = self._store.session(self._line)
        if expected is not None and (self._session_gone is not None or not resumed):
            known = away_s != float("inf")
            since = utc_now() - timedelta(seconds=away_s) if known else self._store.last_contact(self._line)
            self._lost_session.note(since, self._session_gone)
        self._session_gone = None
        session = expected if resumed else None
        if session is None:
            session = secrets.token_hex(6)
            self._store.set_session(self._line, session)
        connection = _Connection(session, resumed, away_s)
        with self._lock:
            self._connection = connection
        if not resumed:
            self._store.forget_messages(self._line, None)
        topics = [(topic, 1) for topic in self._topics]
        if not self.told.is_set():
            topics.append((self._stats, 0))
        client.subscribe(topics)
        if resumed and not self._commands:
            client.unsubscribe(COMMAND.of(self._line))  # of a time when commands were taken

    def end(self, session_gone: str | None = None) -> None:
        """The connection is gone, and with it what was to be acknowledged on it; and why the session is, if it is."""
        self._session_gone = session_gone
        with self._lock:
            self._connection = None

    def look(self, client: Client) -> None:
        """Says whether old messages can be told from new ones, and whether there are subscriptions; to be called now
        and then.
        """
        now, useless = monotonic(), []
        self._lost_session.look()
        with self._lock:
            connection = self._connection
            overdue = connection is not None and connection.freshness.overdue(now)
            granted = None if connection is None else connection.granted
            while connection is not None and connection.strange and now - connection.strange[0][0] >= _STRANGE_S:
                useless.append(connection.strange.popleft()[1])
        for packet in useless:
            client.ack(packet, 1)
        if granted is not None:
            self._alarms.clear("broker_topic", self._line, about="subscriptions")
            if now - granted >= _TELL_S:
                self.told.set()
        elif connection is not None and now - connection.began >= _ANSWER_S:
            silent = "the broker does not answer the subscriptions: no triggers and commands come in"
            self._alarms.raise_("broker_topic", silent, self._line, about="subscriptions")
        self._alarms.set("broker_order", not_back(self._line) if overdue else None, self._line)

    def sync(self) -> bytes | None:
        """What to publish on the topic of sync messages, once."""
        now = monotonic()
        with self._lock:
            connection = self._connection
            if connection is None:
                return None
            expected = connection.freshness.to_send(now)
            if expected is None and connection.unconfirmed(now):
                expected = _CONFIRM
            if expected is not None:
                connection.confirming_at = now
            return expected

    def granted(self, codes: Sequence[ReasonCode]) -> None:
        """The broker's answer to the subscriptions."""
        with self._lock:
            if self._connection is not None:
                self._connection.granted = monotonic()
        for topic, code in zip(self._topics, codes, strict=False):
            refused = refuses(topic, in_words(code)) if code.is_failure else None
            self._alarms.set("broker_topic", refused, self._line, about=f"subscription {topic}")
        if len(codes) > len(self._topics) and codes[-1].is_failure:
            self.told.set()  # it will not tell

    def confirmed(self, sent_at: float) -> None:
        """The broker has answered a message that was sent at `sent_at`: it has had all that was sent before, too."""
        with self._lock:
            connection, sure = self._connection, []
            while connection is not None and connection.acknowledged and connection.acknowledged[0].at < sent_at:
                sure.append(connection.acknowledged.popleft())
        for acknowledged in sure:
            self._store.acknowledged(self._line, acknowledged.packet, acknowledged.trigger)

    def take(self, client: Client, message: MQTTMessage) -> None:
        """Passes a message on. One of a connection that is gone comes again."""
        now, name = monotonic(), _line_of(message.topic)
        strange = name is not None and name not in self._router.lines
        with self._lock:
            connection = self._connection
            if connection is None:
                return
            if message.qos and not strange:
                connection.freshness.hold(message.mid, now)
        origin = _Origin(self, client, connection)
        if message.topic in self._all_stats:
            self._note_stats(client, message)
        elif message.topic in self._syncs:
            self._note_sync(message, connection)
        elif strange:
            self._leave(message, connection)
            return
        elif (reason := self._refusal(message)) is not None:
            line, _ = self._of_topic.get(message.topic, (self._line, None))
            self._router.reject(line, *reason)
        else:
            self._router.receive(self._inbound(message, connection, origin, now))
            return
        if message.qos:
            origin.acknowledge(message.mid, None)

    def _inbound(self, message: MQTTMessage, connection: _Connection, origin: _Origin, now: float) -> InboundMessage:
        line, kind = self._of_topic[message.topic]
        with self._lock:
            waited_s = connection.freshness.waited_s(now)
        digest = hashlib.sha256(f"{message.topic}\0".encode() + message.payload).hexdigest()
        identity = MessageIdentity(
            self._line,
            connection.name,
            message.mid,
            digest,
            message.dup,
            connection.session,
        )
        return InboundMessage(
            line, kind, bytes(message.payload), now, waited_s, identity if message.qos else None, origin
        )

    def _leave(self, message: MQTTMessage, connection: _Connection) -> None:
        """It belongs to another box with the same client id, and comes to it when that one has the connection."""
        text = f"a message on {message.topic} was left at the broker: no line of this box; who else has the client id?"
        self._router.reject(self._line, "unexpected", text)
        if message.qos:
            with self._lock:
                connection.strange.append((monotonic(), message.mid))

    def acknowledge(self, client: Client, connection: _Connection, packet: int, trigger: int | None) -> None:
        """On the connection that the message came by: on another its number is that of another message."""
        with self._lock:
            if connection is not self._connection:
                return
            late = connection.freshness.let_go(packet, monotonic())
        client.ack(packet, 1)
        if trigger is not None:
            with self._lock:  # not before: what is sent meanwhile may leave before the PUBACK
                connection.acknowledged.append(_Acknowledged(packet, trigger, monotonic()))
        if late:
            self._sender.wake()

    def _refusal(self, message: MQTTMessage) -> tuple[str, str] | None:
        """Why a message is refused unread, as one of `REJECTIONS` and in words."""
        if message.topic not in self._of_topic:
            return "unexpected", f"a message on {message.topic} was refused: the line has not subscribed to it"
        if message.retain:  # it would come again at each start
            return "retained", f"a message on {message.topic} was refused: it is retained; publish it without retain"
        if len(message.payload) > self._largest:
            limit = f"mqtt.max_message_kb is {self._largest // 1024}"
            return "too_large", f"a message of {len(message.payload)} bytes on {message.topic} was refused: {limit}"
        return None

    def _note_sync(self, message: MQTTMessage, connection: _Connection) -> None:
        with self._lock:
            came = connection.freshness.came(bytes(message.payload))
        if came:  # all that the broker had to send again has come, too
            self._router.then(lambda: self._store.forget_messages(self._line, connection.name))

    def _note_stats(self, client: Client, message: MQTTMessage) -> None:
        """The last that an earlier run said of its numbers."""
        if message.topic != self._stats:
            return
        if message.retain and not self.told.is_set():
            last = _last_of(bytes(message.payload))
            if last is None:
                self._router.reject(
                    self._line, "unreadable", f"what is retained on {self._stats} is no message of the service's"
                )
            else:
                self.last_seq, self.last_generation = last
            self.told.set()
        client.unsubscribe(self._stats)


def not_back(line: str) -> str:
    """That a line's sync message does not come back, and what to do."""
    return (
        f"{SYNC.of(line)} does not come back: let the service write and read it; "
        "until then old triggers cannot be told from new ones"
    )


def _line_of(topic: str) -> str | None:
    """Whose topic it is, of those that lines subscribe to; None: of none."""
    found = _INCOMING.fullmatch(topic)
    return found[1] if found is not None else None


def _last_of(payload: bytes) -> tuple[int, int] | None:
    """The number in a line's counters, and its generation; None: they are none."""
    if len(payload) > _LARGEST_STATS:
        return None
    try:
        stats = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    found = (stats.get("seq"), stats.get("generation", 1)) if isinstance(stats, dict) else ()
    numbers = [number for number in found if type(number) is int and 0 <= number <= MOST_SEQ]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


class _Origin:
    """The connection that brought a message."""

    def __init__(self, subscriptions: Subscriptions, client: Client, connection: _Connection) -> None:
        self._subscriptions = subscriptions
        self._client = client
        self._connection = connection

    def acknowledge(self, packet: int, trigger: int | None) -> None:
        self._subscriptions.acknowledge(self._client, self._connection, packet, trigger)
