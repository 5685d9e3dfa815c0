"""How a line is: its state in words, its counters, its figures for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from edge.camera.supervisor import Camera
from edge.clock import monotonic, utc_now
from edge.inspection.counters import Counters
from edge.inspection.health import LEVELS, line_health
from edge.inspection.issuer import Issuer
from edge.inspection.line_recipes import LineRecipes
from edge.inspection.services import Services
from edge.messages import LineHealth, LineStats, StatusAlarm, not_calibrated
from edge.ops.alarms import Alarm
from edge.ops.metrics import Gauges
from edge.storage.outbox import Depth

_JUDGING = "judging"
_STEADY_S = 3.0  # so long after the last part that was answered without it the disk is well again


class Status:
    """Asks all that a line depends on. Any thread may call it."""

    def __init__(
        self,
        line: str,
        counters: Counters,
        camera: Camera,
        recipes: LineRecipes,
        issuer: Issuer,
        services: Services,
        review_queue: int,
    ) -> None:
        self._line = line
        self._review_queue = review_queue
        self._counters = counters
        self._camera = camera
        self._recipes = recipes
        self._issuer = issuer
        self._outbox = services.outbox
        self._archive = services.archive
        self._publisher = services.publisher
        self._alarms = services.alarms
        self._lock = threading.Lock()  # guards what follows
        self._halted = False
        self._paused: str | None = None
        self._asks: str | None = None
        self._faults: set[tuple[str, str]] = set()  # that there were at the last look

    @property
    def paused(self) -> str | None:
        """By whom the line is paused, in words; None: it is not."""
        with self._lock:
            return self._paused

    def pause(self, why: str | None) -> None:
        """The line judges no parts, until it is called with None."""
        with self._lock:
            self._paused = why
        self.publish()

    def ask(self, words: str | None) -> None:
        """Asks something of the people at the line, until it is called with None."""
        with self._lock:
            self._asks = words
        self.publish()

    def halt(self) -> None:
        """The line takes no more parts."""
        with self._lock:
            self._halted = True
        self.publish()

    @property
    def halted(self) -> bool:
        """Whether the line takes no more parts."""
        with self._lock:
            return self._halted

    def health(self) -> LineHealth:
        """How the line is, and why."""
        return self._health(self.alarms())

    def _health(self, alarms: Sequence[Alarm]) -> LineHealth:
        with self._lock:
            halted, paused = self._halted, self._paused
        return line_health(alarms, camera=self._camera.status.state, paused=paused, halted=halted)

    def alarms(self) -> list[Alarm]:
        """What is wrong with the line or the service."""
        self._look()
        return self._alarms.of(self._line)

    def publish(self) -> None:
        """Has the broker know how the line is; returns at once, and does nothing where nothing has changed."""
        # Whoever reads this has it from the broker.
        alarms = [alarm for alarm in self.alarms() if alarm.code != "broker"]
        told = tuple(
            StatusAlarm(code=alarm.code, message=alarm.message, since=alarm.since, severity=alarm.severity)
            for alarm in alarms
        )
        self._publisher.set_status(
            self._health(alarms),
            generation=self._issuer.generation,
            alarms=told,
            recipe=self._recipes.active.active_part,
        )

    def stats(self) -> LineStats:
        """The counters, and the latencies since the last call."""
        camera, depth, archive = self._camera.status, self._outbox.depth(self._line), self._archive.status
        loaded = self._recipes.active.loaded
        drift = loaded.drift if loaded is not None else None
        drifting, shadow = drift.state if drift is not None else None, self._issuer.shadow.counts
        return LineStats(
            line=self._line,
            at=utc_now(),
            seq=self._issuer.issued,
            generation=self._issuer.generation,
            **self._counters.by_kind(),
            review=self._counters.in_review,
            dropped=self._counters.dropped,
            reconnects=camera.reconnects,
            restarts=camera.restarts,
            damaged=camera.damaged,
            triggers=self._counters.triggers,
            open=self._issuer.open,
            waiting=depth.count,
            waiting_s=_age(depth) or 0.0,
            undelivered=depth.dropped,
            unkept=self._counters.unkept,
            rejected=sum(self._publisher.rejected.values()),
            archive_skipped=archive.skipped + archive.failed,
            shadow_judged=shadow["judged"],
            shadow_passed_over=sum(shadow.values()) - shadow["judged"],
            drift=drifting is not None and drifting.drifting,
            drift_reason=drifting.reason or None if drifting is not None else None,
            alarm_share=drifting.alarm_share if drifting is not None and drifting.parts else None,
            latency_ms=self._counters.latencies(),
            alarms=tuple(sorted({alarm.code for alarm in self._alarms.of(self._line)})),
        )

    def gauges(self) -> Gauges:
        """The figures for Prometheus."""
        camera, depth, broker = self._camera.status, self._outbox.depth(self._line), self._publisher.state
        recipe, health = self._recipes.judged_by(self._recipes.active), self.health()
        loaded = self._recipes.active.loaded
        drift = loaded.drift if loaded is not None else None
        return Gauges(
            line_state=health.state,
            component_health={name: LEVELS.index(found.level) for name, found in health.components.items()},
            queue=self._issuer.open,
            frames_dropped=self._counters.dropped,
            camera_reconnects=camera.reconnects,
            camera_frames_damaged=camera.damaged,
            camera_restarts=camera.restarts,
            outbox_verdicts=depth.count,
            outbox_dropped=depth.dropped,
            outbox_oldest_seconds=_age(depth),
            mqtt_connected=broker.connected,
            mqtt_puback_age_seconds=broker.last_puback_age_s,
            mqtt_rejected=self._publisher.rejected,
            shadow_parts=self._issuer.shadow.counts,
            bank_shots=recipe.bank.shots,
            provisional=recipe.provisional,
            drift=drift.state.drifting if drift is not None else None,
        )

    def _look(self) -> None:
        """Brings the alarms up to date that nobody else raises."""
        active = self._recipes.active
        recipe, failure = active.loaded, active.failure
        self._alarms.set("recipe", failure and f"recipe {active.stored.name}: {failure}", self._line)
        drift = recipe.drift.state if recipe is not None and recipe.drift is not None else None
        drifting = f"{drift.reason}; calibrate anew" if drift is not None and drift.drifting else None
        self._alarms.set("drift", drifting, self._line)
        self._alarms.set("shadow", self._issuer.shadow.trouble, self._line)
        self._look_at_judging()
        self._look_at_review()
        self._outbox.look()
        if not self._outbox.keeps(self._line) and monotonic() - self._issuer.unkept_at >= _STEADY_S:
            self._alarms.clear("state_disk", self._line)  # it has taken all that was given without it
        provisional = recipe if recipe is not None and recipe.provisional else None
        uncalibrated = None if provisional is None else not_calibrated(provisional.bank.shots)
        with self._lock:
            asks = self._asks
        self._alarms.set("uncalibrated", asks or uncalibrated, self._line)

    def _look_at_review(self) -> None:
        """Whether more parts wait for a person than may."""
        most = self._review_queue
        words = f"more than {most} parts wait for review (lines.{self._line}.review_queue)"
        self._alarms.set("review", words if self._counters.in_review > most else None, self._line)

    def _look_at_judging(self) -> None:
        """Whether the last parts were all errors. What they say is of the past once a fault of the line is over: with
        the camera back, a controller that waits for the line to run would wait for ever.
        """
        judging = self._counters.judging
        faults = {
            (alarm.code, alarm.about)
            for alarm in self._alarms.of(self._line)
            if alarm.severity == "fault" and alarm.code != _JUDGING
        }
        with self._lock:
            over, self._faults = self._faults - faults, faults
        if over:
            judging.begin_again()
        fault = judging.fault
        if fault is None:
            self._alarms.clear(_JUDGING, self._line)
        else:
            self._alarms.raise_(_JUDGING, fault.message, self._line, remedy=fault.remedy)


def _age(depth: Depth) -> float | None:
    """Seconds that the oldest verdict has waited; a clock that was set back makes it no younger than new."""
    return max(0.0, (utc_now() - depth.oldest).total_seconds()) if depth.oldest is not None else None
