"""What a line says at the broker: birth, last will, and verdicts that leave the outbox when they are acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from paho.mqtt.client import MQTTMessage
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.clock import monotonic
from edge.messages import ActiveRecipe, LineHealth, LineStats, StatusAlarm, Verdict
from edge.mqtt import connection, properties
from edge.mqtt.announcements import Announcements
from edge.mqtt.backlog import Backlog, is_late, marked
from edge.mqtt.client import Cause, LineClient
from edge.mqtt.connection import BrokerStatus
from edge.mqtt.delivery import Delivery
from edge.mqtt.follow_ups import FollowUps
from edge.mqtt.in_flight import InFlight, Sent
from edge.mqtt.inbound import Router
from edge.mqtt.lost_session import GIVEN_UP, TAKEN_OVER
from edge.mqtt.packet_limit import PacketLimit, packet_size
from edge.mqtt.refusals import Refusals
from edge.mqtt.subscriptions import Subscriptions
from edge.ops.alarms import Alarms
from edge.settings import MqttSettings
from edge.storage.outbox import Outbox
from edge.topics import ANOMALY, HEATMAP, PICTURE, STATS, STATUS, SYNC, Topic, line_name

__all__ = ["BrokerStatus", "Publisher"]

MAX_IMAGES = 4
"""Heatmaps or pictures that may wait for a slow network; the next one is refused: the newest is what counts."""
PATIENCE = 3.0
"""Times `keepalive_s` that the broker may leave a message without a PUBACK before the connection is made anew."""

_FAULT_S = 5.0  # before an outbox that could not be read is read again
_LOOK_S = 1.0  # between two looks at a connection


class Publisher:
    """All that one line says and is told. Any thread may call it; no method but `stop` waits for the network. Alarms
    are raised where no lock is held, since whoever listens to them may take locks of its own.

    Verdicts wait on disk, never in paho: it has no more of them than may be on their way. All lines share the delivery
    thread, which hands over what is behind.

    Locks: as those of `LineClient`; `_lock` is inside them like the client's own, and guards the fields.
    """

    def __init__(
        self,
        settings: MqttSettings,
        line: str,
        node: str,
        version: str,
        outbox: Outbox,
        delivery: Delivery,
        alarms: Alarms,
        router: Router | None = None,
    ) -> None:
        """Without a router the line takes no triggers and commands.

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
        self._delivery = delivery
        self._alarms = alarms
        self._router = router
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._announcements = Announcements(line, node, version)
        self._refusals = Refusals(line, alarms)
        self._in_flight = InFlight(settings.in_flight)
        self._backlog = Backlog(outbox, line, settings)
        self._limit = PacketLimit(settings, line, alarms)
        self._follow_ups = FollowUps()
        self._last_seq = 0  # of the verdicts that may be replayed: a later one is about to be published
        self._connections = 0
        self._puback_at: float | None = None
        self._started = self._stopping = False
        self._unreadable = False  # whether a message that the broker kept was given up
        self.subscriptions = None if router is None else Subscriptions(settings, line, router, outbox, self, alarms)
        keep, suffix = router is not None, outbox.client_suffix
        self._client = LineClient(settings, line, node, self, alarms, suffix=suffix, keep=keep)

    def start(self) -> None:
        """Begins to connect; a broker that is down is tried again until it is up. The outbox must have been started."""
        with self._client.sending:
            if not self._started and not self._stopping:
                self._last_seq = self._outbox.last_seq(self.line)
                self._started = True
                self._client.start()
                self._delivery.start()
                self._delivery.add(self)

    def set_status(
        self,
        health: LineHealth,
        *,
        generation: int = 1,
        alarms: tuple[StatusAlarm, ...] = (),
        recipe: ActiveRecipe | None = None,
    ) -> None:
        """Says, retained, how the line is; without a connection, as soon as there is one."""
        if self._announcements.status.change(health, generation, alarms, recipe):
            self._speak_soon()

    def publish_verdict(self, verdict: Verdict, then: Callable[[], None] | None = None) -> bool:
        """Sends a verdict that is in the outbox; False if it cannot go at once: it will, from there.

        `then` is called in the delivery thread once the broker has acknowledged it.
        """
        if verdict.line != self.line:
            raise ValueError(f"a verdict of line {verdict.line} on the connection of line {self.line}")
        payload = verdict.to_json()
        with self._client.sending:
            with self._lock:
                self.published += 1
                if then is not None:
                    self._follow_ups.add(verdict.id, then)
                if verdict.id in self._in_flight.verdicts:
                    return True
                sendable = self._client.connected and not self._stopping and self._in_flight.room
            sent = sendable and self._send(verdict.id, verdict.seq, verdict.issued_at, payload)
            with self._lock:
                self._last_seq = max(self._last_seq, verdict.seq)  # not before, or it would be replayed besides
                if not sent:
                    self._backlog.behind = True
        if not sent:
            self.wake()
        return sent

    def publish_heatmap(self, png: bytes, verdict: Verdict) -> bool:
        """Sends a heatmap to those who listen now; False if there is no connection, a slow one, or it is too large."""
        return self._publish_image(HEATMAP, png, verdict)

    def publish_picture(self, jpeg: bytes, verdict: Verdict) -> bool:
        """Sends the picture of a part, as `publish_heatmap`."""
        return self._publish_image(PICTURE, jpeg, verdict)

    def publish_stats(self, stats: LineStats) -> bool:
        """Sends the counters, retained; without a connection, as soon as there is one."""
        with self._client.sending:
            self._announcements.set_stats(stats)
            self._speak()
            return not self._announcements.stats_unsaid

    def note_number(self, seq: int, generation: int) -> None:
        """Has the broker know a number before the verdict that it is given to, which the disk does not know."""
        with self._client.sending:
            if (stats := self._announcements.stats) is not None:
                self.publish_stats(stats.model_copy(update={"seq": seq, "generation": generation}))

    def forget(self, line: str) -> bool:
        """Clears what the broker retains of a line that is no more; False if there is no connection."""
        with self._client.sending:
            return self._client.connected and all(
                self._client.publish_on(topic.of(line), b"", topic) is not None for topic in (STATUS, STATS)
            )

    def publish_reply(self, payload: bytes) -> None:
        """Answers a command as soon as there is a connection with room; once: a reply may be lost with it."""
        self._announcements.add_reply(payload)
        self._speak_soon()

    def stop(self, reason: str | None = None, timeout_s: float = 5.0) -> int:
        """Says `stopped`, waits for PUBACKs, disconnects. Returns how many verdicts of the line wait in the outbox."""
        deadline = monotonic() + timeout_s
        with self._client.sending:
            self._stopping = True
            self._announcements.status.change(LineHealth(state="stopped", level="warning", reason=reason), last=True)
            self._speak()
        with self._lock:
            self._changed.wait_for(lambda: not self._awaits_puback(), timeout_s)
        self._delivery.remove(self)
        self._client.close(deadline - monotonic())
        return self._left()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection, and nothing has ended it since."""
        return self._client.connected

    @property
    def state(self) -> BrokerStatus:
        """How the connection is. A broker that hangs shows in `last_puback_age_s` and `unacknowledged`."""
        depth = self._outbox.depth(self.line)
        with self._lock:
            return replace(
                self._client.status(),
                last_puback_age_s=None if self._puback_at is None else monotonic() - self._puback_at,
                unacknowledged=len(self._in_flight.verdicts),
                waiting=depth.count,
                oldest=depth.oldest,
                dropped=depth.dropped,
            )

    @property
    def rejected(self) -> dict[str, int]:
        """Triggers and commands refused since the start, by the reasons of `edge.mqtt.inbound.REJECTIONS`."""
        return {} if self._router is None else self._router.rejected(self.line)

    def wake(self) -> None:
        """There is something to send besides verdicts."""
        self._delivery.wake(self)

    def look(self) -> float:
        """Sends what may be sent, in the delivery thread; the seconds until there may be more."""
        try:
            return self._look()
        except Exception as error:
            self._alarms.raise_("outbox", f"verdicts that wait for the broker cannot be sent: {error}", self.line)
            return _FAULT_S

    def _publish_image(self, topic: Topic, payload: bytes, verdict: Verdict) -> bool:
        with self._client.sending:
            with self._lock:
                waiting = sum(sent.topic is topic for sent in self._in_flight)
            if not self._client.connected or waiting >= MAX_IMAGES:
                return False
            return self._hand_over(Sent(topic), payload, seq=str(verdict.seq), id=verdict.id)

    def _look(self) -> float:
        """Does what there is to do; the seconds until there may be more, if nothing wakes the thread before."""
        now = monotonic()
        with self._lock:
            oldest = self._in_flight.oldest if self._client.connected else None
            if self._in_flight.release(now):
                self._backlog.behind = True
        patience = PATIENCE * self._settings.keepalive_s
        asked = None if self.subscriptions is None else self.subscriptions.asked_at
        if oldest is not None and now - oldest >= patience:
            self._client.drop(f"the broker has not acknowledged a message for {now - oldest:.0f} s; connecting anew")
            oldest = None
        elif asked is not None and now - asked >= patience:
            self._client.drop(f"the broker has not answered the subscriptions for {now - asked:.0f} s; connecting anew")
        self._follow_ups.run()
        self._client.look()
        self._limit.look()
        if self._unreadable and self._router is not None:
            self._unreadable = False
            lost = "the broker kept a message that cannot be read; all that it kept is lost"
            self._router.reject(self.line, "unreadable", lost)
        if self.subscriptions is not None:
            self.subscriptions.look(self._client.client)
        self._refusals.look()
        with self._client.sending:
            self._speak()
        paced = self._replay_some()
        with self._lock:
            release = self._in_flight.next_release
        overdue = (now if oldest is None else oldest) + patience  # of what is sent after now it is later
        soonest = min(at for at in (paced, release, overdue, now + _LOOK_S) if at is not None)
        return max(0.0, soonest - monotonic())

    def _replay_some(self) -> float | None:
        """Sends what is behind, as far as it may go; when more of it may, on the monotonic clock, if that is known."""
        while True:
            with self._lock:
                if not self._client.connected or self._stopping or not self._in_flight.room_to_replay:
                    return None
                current, besides, last = self._connections, self._in_flight.besides, self._last_seq
            verdict = self._backlog.next(besides, last)
            self._alarms.clear("outbox", self.line, about="")
            if verdict is None:
                return None
            if (due := self._backlog.due(verdict)) > monotonic():
                return due
            with self._client.sending:
                with self._lock:
                    if current != self._connections or not self._in_flight.room_to_replay:
                        continue  # what had been on its way is older; or live verdicts took the room
                sent = self._send(verdict.id, verdict.seq, verdict.issued_at, verdict.payload, replayed=True)
                if not sent and not self.connected:
                    return None
                self._backlog.sent(verdict)

    def _send(self, identity: str, seq: int, issued_at: datetime, payload: bytes, replayed: bool = False) -> bool:
        """Hands over a verdict; `sending` is held."""
        late = is_late(issued_at, self._settings.historical_after_s)
        if late:
            payload = marked(payload)
        return self._hand_over(Sent(ANOMALY, identity, replayed, late), payload, seq=str(seq), id=identity)

    def _speak_soon(self) -> None:
        """Speaks now if that takes no waiting: the caller may be in a callback of paho's, under its lock."""
        if self._client.sending.acquire(blocking=False):
            try:
                self._speak()
            finally:
                self._client.sending.release()
        else:
            self.wake()

    def _speak(self) -> None:
        """Hands over what is to be said besides verdicts, as far as there is room; `sending` is held."""
        while self._client.connected:
            with self._lock:
                if not self._in_flight.room:
                    return
            if self.subscriptions is not None and (sync := self.subscriptions.sync()) is not None:
                self._hand_over(Sent(SYNC), sync)
            elif (said := self._announcements.to_say()) is not None:
                self._hand_over(Sent(said.topic), said.payload)
            else:
                return

    def _hand_over(self, sent: Sent, payload: bytes, **user: str) -> bool:
        """Gives paho one message, and notes its id; `sending` is held."""
        topic = sent.topic.of(self.line)
        props = properties.of_message(sent.topic, self.line, **user) if self._client.five else None
        sent = replace(sent, size=packet_size(topic, payload, props))
        if not self._limit.allows(sent.size, topic):
            if sent.verdict is not None:
                self._hold_back(sent)
            return False
        with self._lock:
            self._in_flight.expect()
        self._limit.sent(sent.size, topic)  # before: the broker may hang up, and the loss be told, within the next call
        mid = self._client.publish(sent.topic, payload, props)
        if mid is None:
            return False
        with self._lock:
            code = self._in_flight.note(mid, sent)
        if code is not None:
            self._settle(sent, code)
        return True

    def _settle(self, sent: Sent, code: ReasonCode) -> None:
        """A message is done, for better or worse. paho's lock may be held."""
        if sent.topic.qos and self.subscriptions is not None:
            self.subscriptions.confirmed(sent.at)
        if code.is_failure:
            self._refused(sent, connection.in_words(code))
        else:
            self._note_refusal(sent.topic, None)
            if sent.verdict is not None:
                self._outbox.delivered(self.line, sent.verdict, sent.late)
        with self._lock:
            if sent.topic.qos:
                self._puback_at = monotonic()
            # Something may wait for room.
            wake = self._backlog.more or len(self._in_flight.awaited) + 1 >= self._in_flight.limit
            if sent.verdict is not None and not code.is_failure:
                self._in_flight.accept(sent.verdict)
                self.acknowledged += 1
                wake |= self._follow_ups.due(sent.verdict)
            self._changed.notify_all()
        if wake:
            self.wake()

    def _refused(self, sent: Sent, why: str) -> None:
        """The broker would not have a message. A verdict goes on waiting, and is tried again; others are gone."""
        if sent.verdict is not None:
            self._hold_back(sent)
        self._note_refusal(sent.topic, connection.refuses(sent.topic.of(self.line), why))

    def _note_refusal(self, topic: Topic, message: str | None) -> None:
        """For the delivery thread, which raises the alarm."""
        if self._refusals.note(topic, message):
            self.wake()

    def _hold_back(self, sent: Sent) -> None:
        """A verdict is tried again later."""
        assert sent.verdict is not None
        with self._lock:
            self._in_flight.refuse(sent.verdict, monotonic())
            self._backlog.behind = True
        self.wake()

    def _left(self) -> int:
        """Verdicts in the outbox; its own count may still hold some that it was told are delivered."""
        try:
            waits = bool(self._outbox.waiting(self.line, 1))
        except Exception:  # a disk that cannot be read must not keep the service from ending
            waits = True
        return self._outbox.depth(self.line).count if waits else 0

    def _awaits_puback(self) -> bool:
        return self._client.connected and bool(self._in_flight.awaited or self._announcements.status.unsaid)

    def last_will(self) -> bytes:
        """As `edge.mqtt.client.Owner`; so are the methods below."""
        return self._announcements.status.last_will()

    def opened(self, resumed: bool, away_s: float, props: Properties | None) -> None:
        if self.subscriptions is not None:
            self.subscriptions.begin(self._client.client, resumed, away_s)
        with self._lock:
            self._in_flight.clear()
            self._in_flight.limit = min(self._settings.in_flight, getattr(props, "ReceiveMaximum", 65535))
            self._connections += 1
            self._backlog.again()
        self._limit.told(getattr(props, "MaximumPacketSize", None))
        self.wake()
        self._announcements.repeat()
        self._speak()

    def lost(self, cause: Cause) -> None:
        subscriptions, misunderstood = self.subscriptions, cause == "misunderstood"
        with self._lock:
            sent = self._in_flight.suspect if misunderstood else None
            self._in_flight.clear()
        if cause in ("hung_up", "too_large"):
            self._limit.lost(told=cause == "too_large")
        gone = TAKEN_OVER if cause == "taken_over" else None
        if misunderstood and subscriptions is not None and subscriptions.sorting:
            self._client.give_up_session()
            self._unreadable, gone = True, GIVEN_UP
        elif sent is not None:
            self._refused(sent, "it does not answer as MQTT has it; is the message larger than it takes?")
        if subscriptions is not None:
            subscriptions.end(gone)
        self.wake()

    def done(self, packet: int, code: ReasonCode) -> None:
        with self._lock:
            sent = self._in_flight.done(packet, code)
        if sent is not None:
            self._settle(sent, code)

    def granted(self, codes: Sequence[ReasonCode]) -> None:
        if self.subscriptions is not None:
            self.subscriptions.granted(codes)

    def received(self, message: MQTTMessage) -> None:
        if self.subscriptions is not None:
            self.subscriptions.take(self._client.client, message)
