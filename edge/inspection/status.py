"""How a line is: its state in words, its counters, its figures for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from edge.camera.supervisor import Camera
from edge.clock import utc_now
from edge.inference import Inference
from edge.inspection.counters import Tally
from edge.inspection.recipe import LoadedRecipe
from edge.messages import NOT_CALIBRATED, LineStats, State
from edge.mqtt.heatmaps import Heatmaps
from edge.mqtt.publisher import Publisher
from edge.ops.metrics import Gauges, Metrics
from edge.ops.systemd import Progress
from edge.storage.archive import Archive
from edge.storage.outbox import Depth, Outbox


@dataclass(frozen=True)
class Services:
    """What a line shares with others, and its own voice."""

    scorer: Inference
    publisher: Publisher
    outbox: Outbox
    archive: Archive
    heatmaps: Heatmaps
    metrics: Metrics
    progress: Progress
    stats_interval_s: float


class Condition:
    """Asks all that a line depends on. Any thread may call it."""

    def __init__(self, line: str, tally: Tally, camera: Camera, services: Services) -> None:
        self._line = line
        self._tally = tally
        self._camera = camera
        self._outbox = services.outbox
        self._archive = services.archive
        self._publisher = services.publisher

    def state(self, recipe: LoadedRecipe, asks: str | None = None) -> tuple[State, str | None]:
        """Of a line that takes parts: how its camera is, what else is amiss, and what it `asks` of people."""
        camera, notes = self._camera.status, []
        if (fault := self._archive.status.fault) is not None:
            notes.append(f"archive: {fault}")
        if recipe.drift is not None and recipe.drift.state.drifting:
            notes.append(f"drift: {recipe.drift.state.reason}; calibrate anew")
        if (trouble := self._publisher.state.trouble) is not None:
            notes.append(f"broker: {trouble}")
        if asks or recipe.provisional:
            notes.append(asks or NOT_CALIBRATED)  # graver troubles stand before it
        if camera.state == "ended":
            return "ready", "the source has ended"
        if camera.state == "fault":
            return "fault", f"camera: {camera.reason} (attempt {camera.reconnects + 1})"
        if camera.health.fault is not None:
            return "fault", f"camera: {camera.health.fault.message}"
        return "running" if camera.state == "running" else "ready", "; ".join(notes) or None

    def stats(self, seq: int, still_open: int, recipe: LoadedRecipe) -> LineStats:
        """The counters, and the latencies since the last call."""
        camera, depth, archive = self._camera.status, self._outbox.depth(self._line), self._archive.status
        drift = recipe.drift.state if recipe.drift is not None else None
        return LineStats(
            line=self._line,
            at=utc_now(),
            seq=seq,
            **self._tally.by_kind(),
            dropped=self._tally.dropped,
            reconnects=camera.reconnects,
            restarts=camera.restarts,
            triggers=self._tally.triggers,
            open=still_open,
            waiting=depth.count,
            waiting_s=_age(depth) or 0.0,
            undelivered=depth.dropped,
            unkept=self._tally.unkept,
            rejected=sum(self._publisher.rejected.values()),
            archive_skipped=archive.skipped + archive.failed,
            drift=drift is not None and drift.drifting,
            drift_reason=drift.reason or None if drift is not None else None,
            alarm_share=drift.alarm_share if drift is not None and drift.parts else None,
            latency_ms=self._tally.latencies(),
        )

    def gauges(self, state: State, still_open: int, recipe: LoadedRecipe) -> Gauges:
        """The figures for Prometheus."""
        camera, depth, broker = self._camera.status, self._outbox.depth(self._line), self._publisher.state
        return Gauges(
            line_state=state,
            queue=still_open,
            frames_dropped=self._tally.dropped,
            camera_reconnects=camera.reconnects,
            camera_restarts=camera.restarts,
            outbox_verdicts=depth.count,
            outbox_dropped=depth.dropped,
            outbox_oldest_seconds=_age(depth),
            mqtt_connected=broker.connected,
            mqtt_puback_age_seconds=broker.last_puback_age_s,
            mqtt_rejected=self._publisher.rejected,
            bank_shots=recipe.bank.shots,
            provisional=recipe.provisional,
            drift=recipe.drift.state.drifting if recipe.drift is not None else None,
        )


def _age(depth: Depth) -> float | None:
    """Seconds that the oldest verdict has waited; a clock that was set back makes it no younger than new."""
    return max(0.0, (utc_now() - depth.oldest).total_seconds()) if depth.oldest is not None else None
