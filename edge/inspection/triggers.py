"""The one way in for a trigger over MQTT: checked, given to disk and line, acknowledged once it is on disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta

from edge.clock import monotonic, utc_now
from edge.incoming import read_trigger
from edge.inspection.line import Line
from edge.inspection.request import InspectionRequest
from edge.inspection.sender_clock import SenderClock, late_in_words
from edge.messages import TriggerMessage
from edge.mqtt.inbound import InboundMessage
from edge.ops.alarms import Alarms
from edge.ops.metrics import Metrics
from edge.storage.outbox import Outbox
from edge.storage.verdict_tables import Accepted


class Triggers:
    """Of all lines. Any thread may call it; nothing waits for a disk."""

    def __init__(
        self,
        lines: Mapping[str, Line],
        outbox: Outbox,
        metrics: Metrics,
        alarms: Alarms,
        *,
        compensate_sender_clock: bool = False,
    ) -> None:
        self._lines = lines
        self._outbox = outbox
        self._metrics = metrics
        self._alarms = alarms
        self._lock = threading.Lock()  # guards the clocks
        self._clocks = {name: SenderClock(compensate_sender_clock) for name in lines}

    def receive(self, message: InboundMessage) -> None:
        """Takes a trigger that came over MQTT.

        Raises:
            MessageError: it is none.
        """
        trigger = read_trigger(message.payload)
        line = self._lines[message.line]
        now = monotonic()
        received_at = utc_now() - timedelta(seconds=now - message.received)
        deadline_s = (trigger.deadline_ms or line.settings.deadline_ms) / 1000
        age_s, why = self._age(message, trigger, now, received_at)
        late = None
        if age_s >= deadline_s:
            late = why or f"the trigger is up to {age_s:.1f} s old, more than its deadline of {deadline_s:g} s"
        due = now + (deadline_s if late is not None else deadline_s - age_s)  # a late answer is in no hurry
        request = InspectionRequest("trigger", trigger.part_id, due, received=message.received, received_at=received_at)
        request.choice = trigger.recipe
        acceptance = self._outbox.accept(message.line, trigger.part_id, received_at, message.identity)
        request.acceptance, request.message = acceptance, message
        if message.identity is None or not message.identity.repeated:
            line.take(request, late=late)
            acceptance.future.add_done_callback(lambda done: _acknowledge(request, done))
            return

        def take_unless_repeated(done: Future[Accepted]) -> None:
            """In doubt a part is answered twice: only what is surely a repetition is not taken."""
            if _accepted(done) is not None and done.result().repetition:
                self._metrics.trigger(message.line, "again")
                line.choose_recipe(request, repeated=True)  # a service that was killed may not have kept it
                line.withdraw(request)
            else:
                line.take(request, late=late)
            _acknowledge(request, done)  # last: what fails in it must not cost the part

        line.expect(request)
        acceptance.future.add_done_callback(take_unless_repeated)

    def _age(
        self, message: InboundMessage, trigger: TriggerMessage, now: float, received_at: datetime
    ) -> tuple[float, str | None]:
        """Seconds since the trigger was given, at most; and in words how that is known, where there is more to say."""
        kept_s = now - message.received
        if trigger.at is not None:
            with self._lock:
                clock = self._clocks[message.line]
                if message.waited_s == 0.0:
                    clock.measure(trigger.at, received_at)
                age_s, skew = clock.age_s(trigger.at, received_at), clock.message
            self._alarms.set("clock_skew", skew, message.line)
            if age_s is not None:
                return kept_s + max(0.0, age_s), late_in_words(trigger.at, received_at)
        if message.waited_s == float("inf"):
            return message.waited_s, "the trigger waited at the broker while the service was away"
        return kept_s + message.waited_s, None


def _acknowledge(request: InspectionRequest, done: Future[Accepted]) -> None:
    """Once it is on disk, and the recipe that it names; one that the disk has refused is when it is answered."""
    accepted, message = _accepted(done), request.message
    if accepted is None or message is None:
        return
    if request.kept is None:
        message.acknowledge(accepted.trigger)
    else:
        request.kept.add_done_callback(lambda _: message.acknowledge(accepted.trigger))


def _accepted(done: Future[Accepted]) -> Accepted | None:
    return None if done.cancelled() or done.exception() is not None else done.result()
