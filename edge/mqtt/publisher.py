"""A line's voice at the broker: birth, last will, and verdicts that leave the outbox when they are acknowledged."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from paho.mqtt.client import MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic, utc_now
from edge.messages import LineStats, LineStatus, State, Verdict
from edge.mqtt import connection, properties
from edge.mqtt.backlog import Outbox, Replay, is_late, marked
from edge.mqtt.client import Ears, Link
from edge.mqtt.connection import BrokerStatus, probe
from edge.mqtt.in_flight import Flight, Sent
from edge.mqtt.subscriptions import Inbox, Intake
from edge.settings import MqttSettings
from edge.topics import ANOMALY, HEATMAP, REPLY, STATS, STATUS, SYNC, line_name

__all__ = ["BrokerStatus", "Inbox", "Outbox", "Publisher", "probe"]

MAX_HEATMAPS = 4
"""Heatmaps that may wait for a slow network; the next one is refused, since the newest is what counts."""
MAX_REPLIES = 16
"""Replies that may wait for a connection; beyond them the oldest is dropped, whose asker has long given up."""
PATIENCE = 3.0
"""Times `keepalive_s` that the broker may leave a message without a PUBACK before the connection is made anew."""

_FAULT_S = 5.0  # before an outbox that could not be read is read again
_OUTBOX = "outbox"

logger = logging.getLogger(__name__)


class Publisher:
    """All that one line says and is told. Any thread may call it; no method but `stop` waits for the network.

    Verdicts wait on disk, never in paho: it has no more of them than may be on their way. A thread of the publisher's
    own, the attendant, hands over what is behind.

    Locks: as those of `Link`; `_lock` is inside them like the link's own, and guards the fields.
    """

    def __init__(
        self, settings: MqttSettings, line: str, node: str, version: str, outbox: Outbox, inbox: Inbox | None = None
    ) -> None:
        """Without an inbox the line takes no triggers and commands.

        Raises:
            ConfigError: host, password, certificate or key cannot be used.
        """
        self.line = line_name(line)
        self.published = 0
        """Verdicts that it was given."""
        self.acknowledged = 0
        """Verdicts that the broker has acknowledged, those of earlier runs included."""
        self._settings = settings
        self._outbox = outbox
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._status = LineStatus(line=line, state="starting", since=utc_now(), node=node, version=version)
        self._unsaid = False  # the status, on this connection
        self._replies: deque[bytes] = deque(maxlen=MAX_REPLIES)
        self._flight = Flight(settings.in_flight)
        self._replay = Replay(outbox, line, settings)
        self._last_seq = 0  # of the verdicts that may be replayed: a later one is about to be published
        self._connections = 0
        self._largest: int | None = None  # packet that the broker takes, bytes
        self._troubles: dict[str, str] = {}  # in words, by what is in trouble
        self._puback_at: float | None = None
        self._started = self._stopping = self._ended = self._woken = False
        self._intake = None if inbox is None else Intake(settings, line, inbox, self._call_attendant)
        ears = Ears(self._will, self._opened, self._lost, self._done, self._granted, self._received)
        self._link = Link(settings, line, node, ears, keep=inbox is not None)
        self._attendant = threading.Thread(target=self._attend, name=f"publisher-{line}", daemon=True)

    def start(self) -> None:
        """Begins to connect; a broker that is down is tried again until it is up. The outbox must have been started."""
        with self._link.sending:
            if not self._started and not self._stopping:
                self._last_seq = self._outbox.last_seq(self.line)
                self._started = True
                self._attendant.start()
                self._link.start()

    def set_status(self, state: State, reason: str | None = None) -> None:
        """Says, retained, what state the line is in; without a connection, as soon as there is one."""
        with self._link.sending:
            if self._stopping:
                return  # the last word has been said
            self._link.revive()
            since = self._status.since if state == self._status.state else utc_now()
            status = self._status.model_copy(update={"state": state, "reason": reason, "since": since})
            if status != self._status:
                self._status, self._unsaid = status, True
                self._speak()

    def publish_verdict(self, verdict: Verdict) -> bool:
        """Sends a verdict that is in the outbox; False if it cannot go at once: it will, from there."""
        if verdict.line != self.line:
            raise ValueError(f"a verdict of line {verdict.line} on the connection of line {self.line}")
        payload = verdict.to_json()
        with self._link.sending:
            self._link.revive()
            with self._lock:
                self.published += 1
                if verdict.id in self._flight.verdicts:
                    return True
                sendable = self._link.connected and not self._stopping and self._flight.room
            sent = sendable and self._send(verdict.id, verdict.seq, verdict.issued_at, payload)
            with self._lock:
                self._last_seq = max(self._last_seq, verdict.seq)  # not before, or it would be replayed besides
                if not sent:
                    self._replay.behind = True
                    self._wake()
        return sent

    def publish_heatmap(self, png: bytes) -> bool:
        """Sends a heatmap to those who listen now; False if there is no connection, a slow one, or it is too large."""
        with self._link.sending:
            self._link.revive()
            with self._lock:
                waiting = sum(sent.topic is HEATMAP for sent in self._flight)
            return self._link.connected and waiting < MAX_HEATMAPS and self._hand_over(Sent(HEATMAP), png)

    def publish_stats(self, stats: LineStats) -> bool:
        """Sends the counters, retained; False if there is no connection."""
        with self._link.sending:
            self._link.revive()
            return self._link.connected and self._hand_over(Sent(STATS), stats.to_json())

    def publish_reply(self, payload: bytes) -> None:
        """Answers a command as soon as there is a connection with room; once: a reply may be lost with it."""
        with self._link.sending:
            self._replies.append(payload)
            self._speak()

    def stop(self, reason: str | None = None, timeout_s: float = 5.0) -> int:
        """Says `stopped`, waits for PUBACKs, disconnects. Returns how many verdicts of the line wait in the outbox."""
        deadline = monotonic() + timeout_s
        with self._link.sending:
            self.set_status("stopped", reason)
            self._stopping = True
        with self._lock:
            self._changed.wait_for(lambda: not self._awaits_puback(), timeout_s)
            self._ended = True
            self._wake()
        self._link.close(deadline - monotonic())
        if self._started:
            self._attendant.join(timeout_s + 1)
        return self._left()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection, and nothing has ended it since."""
        return self._link.connected

    @property
    def state(self) -> BrokerStatus:
        """How the connection is. A broker that hangs shows in `last_puback_age_s` and `unacknowledged`."""
        depth = self._outbox.depth(self.line)
        troubles = [self._intake.trouble] if self._intake is not None else []
        with self._lock:
            return replace(
                self._link.status(),
                last_puback_age_s=None if self._puback_at is None else monotonic() - self._puback_at,
                unacknowledged=len(self._flight.verdicts),
                waiting=depth.count,
                oldest=depth.oldest,
                dropped=depth.dropped,
                trouble="; ".join(one for one in (*troubles, *self._troubles.values()) if one) or None,
            )

    @property
    def rejected(self) -> dict[str, int]:
        """Triggers and commands refused since the start, by the reasons of `edge.mqtt.subscriptions.REJECTIONS`."""
        return {} if self._intake is None else self._intake.rejected

    def _wake(self) -> None:
        """Has the attendant look what there is to do; `_lock` is held."""
        self._woken = True
        self._changed.notify_all()

    def _call_attendant(self) -> None:
        with self._lock:
            self._wake()

    def _attend(self) -> None:
        """The attendant's thread."""
        while not self._ended:
            try:
                pause = self._look()
            except Exception as error:
                self._trouble(_OUTBOX, f"what waits for the broker cannot be sent: {error}")
                pause = _FAULT_S
            with self._lock:
                self._changed.wait_for(lambda: self._woken, pause)
                self._woken = False

    def _look(self) -> float:
        """Does what there is to do; the seconds until there may be more, if nothing wakes the attendant before."""
        now = monotonic()
        with self._lock:
            oldest = self._flight.oldest if self._link.connected else None
            if self._flight.release(now):
                self._replay.behind = True
        patience = PATIENCE * self._settings.keepalive_s
        if oldest is not None and now - oldest >= patience:
            self._link.drop(f"the broker has not acknowledged a message for {now - oldest:.0f} s; connecting anew")
            oldest = None
        with self._link.sending:
            self._speak()
        paced = self._replay_some()
        with self._lock:
            release = self._flight.next_release
        overdue = (now if oldest is None else oldest) + patience  # of what is sent after now it is later
        return max(0.0, min(at for at in (paced, release, overdue) if at is not None) - monotonic())

    def _replay_some(self) -> float | None:
        """Sends what is behind, as far as it may go; when more of it may, on the monotonic clock, if that is known."""
        while True:
            with self._lock:
                if not self._link.connected or self._stopping or not self._flight.room_to_replay:
                    return None
                current, besides, last = self._connections, self._flight.besides, self._last_seq
            one = self._replay.next(besides, last)
            self._trouble(_OUTBOX, None)
            if one is None:
                return None
            if (due := self._replay.due(one)) > monotonic():
                return due
            with self._link.sending:
                with self._lock:
                    if current != self._connections or not self._flight.room_to_replay:
                        continue  # what had been on its way is older; or live verdicts took the room
                if not self._send(one.id, one.seq, one.issued_at, one.payload, replayed=True) and not self.connected:
                    return None
                self._replay.sent(one)

    def _send(self, identity: str, seq: int, issued_at: datetime, payload: bytes, replayed: bool = False) -> bool:
        """Hands over a verdict; `sending` is held."""
        if is_late(issued_at, self._settings.historical_after_s):
            payload = marked(payload)
        return self._hand_over(Sent(ANOMALY, identity, replayed), payload, seq=str(seq), id=identity)

    def _speak(self) -> None:
        """Hands over what is to be said besides verdicts, as far as there is room; `sending` is held."""
        while self._link.connected:
            with self._lock:
                if not self._flight.room:
                    return
            if self._intake is not None and (marker := self._intake.marker()) is not None:
                self._hand_over(Sent(SYNC), marker)
            elif self._unsaid:
                self._unsaid = False
                self._hand_over(Sent(STATUS), self._status.to_json())
            elif self._replies:
                self._hand_over(Sent(REPLY), self._replies.popleft())
            else:
                return

    def _hand_over(self, sent: Sent, payload: bytes, **user: str) -> bool:
        """Gives paho one message, and notes its id; `sending` is held."""
        props = properties.of_message(sent.topic, self.line, **user) if self._settings.version == "5" else None
        if not self._fits(sent, payload, props):
            return False
        with self._lock:
            self._flight.expect()
        mid = self._link.publish(sent.topic, payload, props)
        if mid is None:
            return False
        with self._lock:
            code = self._flight.note(mid, sent)
        if code is not None:
            self._settle(sent, code)
        return True

    def _fits(self, sent: Sent, payload: bytes, props: Properties | None) -> bool:
        """Whether the broker takes messages so large; one that it does not take is refused here already."""
        if self._largest is None or props is None:
            return True
        size = (
            len(payload) + len(sent.topic.of(self.line)) + properties.size(props) + 9
        )  # the rest of a packet, at most
        if size <= self._largest:
            return True
        self._refused(sent, f"it takes packets of {self._largest} bytes, this one has {size}; raise its limit")
        return False

    def _settle(self, sent: Sent, code: ReasonCode) -> None:
        """A message is done, for better or worse."""
        if code.is_failure:
            self._refused(sent, connection.in_words(code))
        else:
            self._trouble(sent.topic.pattern, None)
            if sent.verdict is not None:
                self._outbox.delivered(self.line, sent.verdict)
        with self._lock:
            if sent.topic.qos:
                self._puback_at = monotonic()
            if sent.verdict is not None and not code.is_failure:
                self._flight.accept(sent.verdict)
                self.acknowledged += 1
            if self._replay.more or len(self._flight.awaited) + 1 >= self._flight.limit:  # something may wait for room
                self._wake()
            self._changed.notify_all()

    def _refused(self, sent: Sent, why: str) -> None:
        """The broker would not have a message. A verdict goes on waiting, and is tried again; others are gone."""
        with self._lock:
            if sent.verdict is not None:
                self._flight.refuse(sent.verdict, monotonic())
                self._replay.behind = True
                self._wake()
        self._trouble(sent.topic.pattern, f"the broker refuses {sent.topic.of(self.line)}: {why}")

    def _trouble(self, what: str, why: str | None) -> None:
        """Notes what is amiss; None: nothing any more."""
        with self._lock:
            before = self._troubles.pop(what, None)
            if why is not None:
                self._troubles[what] = why
        if why is not None and why != before:
            logger.error("line %s: %s", self.line, why)

    def _left(self) -> int:
        """Verdicts in the outbox; its own count may still hold some that it was told are delivered."""
        try:
            waits = bool(self._outbox.waiting(self.line, 1))
        except Exception:  # a disk that cannot be read must not keep the service from ending
            waits = True
        return self._outbox.depth(self.line).count if waits else 0

    def _awaits_puback(self) -> bool:
        return self._link.connected and bool(self._flight.awaited or self._unsaid)

    def _will(self) -> bytes:
        reason = "connection lost; it had been made at `since`"
        return self._status.model_copy(update={"state": "offline", "since": utc_now(), "reason": reason}).to_json()

    def _opened(self, resumed: bool, props: Properties | None) -> None:
        if self._intake is not None:
            self._intake.begin(self._link.client, resumed)
        with self._lock:
            self._flight.clear()
            self._flight.limit = min(self._settings.in_flight, getattr(props, "ReceiveMaximum", 65535))
            self._largest = getattr(props, "MaximumPacketSize", None)
            self._connections += 1
            self._replay.again()
            self._wake()
        self._unsaid = True
        self._speak()

    def _lost(self, misunderstood: bool) -> None:
        with self._lock:
            sent = self._flight.suspect if misunderstood else None
            self._flight.clear()
            self._wake()
        if misunderstood and self._intake is not None and self._intake.sorting:
            logger.error("line %s: the broker kept a message that cannot be read; all that it kept is lost", self.line)
            self._intake.reject("unreadable")
            self._link.give_up_session()
        elif sent is not None:
            self._refused(sent, "it does not answer as MQTT has it; is the message larger than it takes?")
        if self._intake is not None:
            self._intake.end()

    def _done(self, mid: int, code: ReasonCode) -> None:
        with self._lock:
            sent = self._flight.done(mid, code)
        if sent is not None:
            self._settle(sent, code)

    def _granted(self, codes: Sequence[ReasonCode]) -> None:
        if self._intake is not None:
            self._intake.granted(codes)

    def _received(self, message: MQTTMessage) -> None:
        if self._intake is not None:
            self._intake.take(self._link.client, message)
