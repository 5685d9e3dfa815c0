"""Figures for Prometheus: what the lines count, and what is looked up when somebody asks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from edge import __version__
from edge.messages import Decision, Model, State, Timing
from edge.ops.alarms import Alarms
from edge.ops.device import THERMAL, memory_bytes, temperature_celsius
from edge.ops.metrics_server import MetricsServer
from edge.ops.worker import Workers
from edge.settings import MetricsSettings

if TYPE_CHECKING:
    from edge.storage.archive import ArchiveStatus

_Family: TypeAlias = CounterMetricFamily | GaugeMetricFamily

# Else each counter brings a series that says only when the service started.
disable_created_metrics()  # type: ignore[no-untyped-call]

STAGES = ("capture", "queue", "decode", "score", "total")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of `stage_seconds`, seconds."""

_CODES = 64  # different error codes that are told apart; there are fewer, and one that varies must not fill the memory


@dataclass(frozen=True)
class Metric:
    """What one figure is."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


METRICS = {
    "alfa_edge_verdicts_total": Metric("counter", ("line", "verdict"), "Verdicts issued."),
    "alfa_edge_errors_total": Metric("counter", ("line", "code"), "Verdicts `error`, by their code."),
    "alfa_edge_triggers_total": Metric("counter", ("line", "outcome"), "Triggers: `accepted`, `again`, or why not."),
    "alfa_edge_stage_seconds": Metric("histogram", ("line", "stage"), "What judging a part took, by stage."),
    "alfa_edge_heatmaps_total": Metric("counter", ("line", "outcome"), "Heatmaps, `sent` or `dropped`."),
    "alfa_edge_frames_dropped_total": Metric("counter", ("line",), "Frames passed over because a newer one had come."),
    "alfa_edge_camera_reconnects_total": Metric("counter", ("line",), "Attempts to open the camera after the first."),
    "alfa_edge_camera_frames_damaged_total": Metric(
        "counter", ("line",), "Frames that were damaged on the way, or predicted from such a one."
    ),
    "alfa_edge_camera_restarts_total": Metric("counter", ("line",), "Camera processes that were replaced."),
    "alfa_edge_line_state": Metric(
        "gauge", ("line", "state"), "1 for the state that the line is in, 0 for the others."
    ),
    "alfa_edge_component_health": Metric(
        "gauge", ("line", "component"), "0: well, 1: warning, 2: fault; of what the line depends on."
    ),
    "alfa_edge_queue": Metric("gauge", ("line",), "Triggers that wait for their verdict."),
    "alfa_edge_outbox_verdicts": Metric("gauge", ("line",), "Verdicts on disk that the broker has not acknowledged."),
    "alfa_edge_outbox_oldest_seconds": Metric("gauge", ("line",), "Age of the oldest of them; absent without any."),
    "alfa_edge_outbox_dropped_total": Metric("counter", ("line",), "Verdicts that the full outbox dropped."),
    "alfa_edge_mqtt_connected": Metric("gauge", ("line",), "Whether the line's connection to the broker is up."),
    "alfa_edge_mqtt_puback_age_seconds": Metric(
        "gauge", ("line",), "Time since the broker last acknowledged anything."
    ),
    "alfa_edge_mqtt_rejected_total": Metric("counter", ("line", "reason"), "Messages that were refused unread."),
    "alfa_edge_shadow_parts_total": Metric(
        "counter", ("line", "outcome"), "Parts for the line's shadow: `judged`, `passed_over`, `failed`, `unkept`."
    ),
    "alfa_edge_bank_shots": Metric("gauge", ("line",), "Normal shots that the line compares with."),
    "alfa_edge_provisional": Metric(
        "gauge", ("line",), "Whether the line's threshold is neither calibrated nor set by hand."
    ),
    "alfa_edge_drift": Metric("gauge", ("line",), "Whether the line has left what its calibration promised."),
    "alfa_edge_archive_bytes": Metric("gauge", (), "What the archive of pictures holds."),
    "alfa_edge_archive_pictures_total": Metric("counter", ("outcome",), "Pictures handed to the archive, or deleted."),
    "alfa_edge_disk_free_bytes": Metric("gauge", ("path_role",), "Free space where `state` or `archive` is."),
    "alfa_edge_device_memory_bytes": Metric("gauge", (), "The device's memory that torch holds; absent on a CPU."),
    "alfa_edge_device_temperature_celsius": Metric("gauge", (), "The device's temperature; absent where none is told."),
    "alfa_edge_build_info": Metric("gauge", ("version", "model", "fingerprint"), "1; the labels say what is running."),
    "alfa_edge_stalled": Metric("gauge", ("thread",), "1 for a thread that stands still or has failed; else absent."),
    "alfa_edge_alarms": Metric(
        "gauge", ("line", "code"), "1 for what is wrong now; `line` is empty for the whole service."
    ),
    "alfa_edge_scrape_errors_total": Metric("counter", (), "Sources of figures that failed when they were asked."),
}
"""Every figure by its name, as a scrape has it (a histogram's with `_bucket`, `_sum` and `_count`)."""


@dataclass(frozen=True)
class Gauges:
    """How a line is at the moment; a field is named as its figure is. None: not shown."""

    line_state: State | None = None
    component_health: Mapping[str, int] = field(default_factory=dict)
    queue: int | None = None
    frames_dropped: int | None = None
    camera_reconnects: int | None = None
    camera_frames_damaged: int | None = None
    camera_restarts: int | None = None
    outbox_verdicts: int | None = None
    outbox_oldest_seconds: float | None = None
    outbox_dropped: int | None = None
    mqtt_connected: bool | None = None
    mqtt_puback_age_seconds: float | None = None
    mqtt_rejected: Mapping[str, int] = field(default_factory=dict)
    shadow_parts: Mapping[str, int] = field(default_factory=dict)
    bank_shots: int | None = None
    provisional: bool | None = None
    drift: bool | None = None


@dataclass(frozen=True)
class _Sample:
    name: str
    value: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    what: str
    read: Callable[[], Iterable[_Sample]]


class Metrics:
    """The figures of one service. Lines may feed it from any thread; what it watches is asked only at a scrape."""

    def __init__(self, alarms: Alarms | None = None) -> None:
        """Counts nothing yet; sources that fail, and all other alarms of the service, are in `alarms`."""
        alarms = alarms or Alarms()
        self.registry = CollectorRegistry()
        self._codes: set[str] = set()
        self._watched = _Watched(self._failed, alarms)
        self._watched.add(_Source("the alarms", lambda: _of_alarms(alarms)))
        self._verdicts: Counter = self._make(Counter, "alfa_edge_verdicts_total")
        self._errors: Counter = self._make(Counter, "alfa_edge_errors_total")
        self._triggers: Counter = self._make(Counter, "alfa_edge_triggers_total")
        self._heatmaps: Counter = self._make(Counter, "alfa_edge_heatmaps_total")
        self._stages: Histogram = self._make(Histogram, "alfa_edge_stage_seconds", buckets=BUCKETS)
        self._build: Gauge = self._make(Gauge, "alfa_edge_build_info")
        self.registry.register(self._watched)
        # After what it counts, so that a scrape shows its own failures.
        self._scrape_errors: Counter = self._make(Counter, "alfa_edge_scrape_errors_total")

    def verdict(self, line: str, kind: Decision, code: str | None = None, timing_ms: Timing | None = None) -> None:
        """Counts a verdict that was issued, with an error's code, and the time that it took (some microseconds)."""
        self._verdicts.labels(line, kind).inc()
        if code is not None:
            self._errors.labels(line, self._known(code)).inc()
        if timing_ms is not None:
            for stage in STAGES:
                self._stages.labels(line, stage).observe(getattr(timing_ms, stage) / 1000)

    def trigger(self, line: str, outcome: str = "accepted") -> None:
        """Counts a trigger: `accepted`, `again` (it came before and has its answer), or an error's code."""
        self._triggers.labels(line, self._known(outcome)).inc()

    def heatmap(self, line: str, outcome: Literal["sent", "dropped"]) -> None:
        """Counts a heatmap that was sent, or not: for a newer one, or for want of a connection that takes it."""
        self._heatmaps.labels(line, outcome).inc()

    def build(self, model: Model) -> None:
        """Says what is running."""
        self._build.labels(__version__, model.name, model.fingerprint).set(1)

    def watch(self, line: str, read: Callable[[], Gauges]) -> None:
        """Asks `read` at each scrape, in the scrape's thread, so it must not wait long. A line may have several.

        The line's own counters begin at 0 here, rather than with its first part.
        """
        self._triggers.labels(line, "accepted")
        for kind in get_args(Decision):
            self._verdicts.labels(line, kind)
        for outcome in ("sent", "dropped"):
            self._heatmaps.labels(line, outcome)
        for stage in STAGES:
            self._stages.labels(line, stage)
        self._watched.add(_Source(f"line {line}", lambda: _of_line(line, read())))

    def watch_archive(self, read: Callable[[], ArchiveStatus]) -> None:
        """Asks `read` at each scrape how the archive is."""
        self._watched.add(_Source("the archive", lambda: _of_archive(read())))

    def watch_disk(self, role: Literal["state", "archive"], path: Path) -> None:
        """Looks at each scrape how much is free on the disk of `path`."""
        name = "alfa_edge_disk_free_bytes"
        self._watched.add(
            _Source(f"the disk of {path}", lambda: [_Sample(name, shutil.disk_usage(path).free, (role,))])
        )

    def watch_device(self, device: str, thermal: Path = THERMAL) -> None:
        """Looks at each scrape after the memory and temperature of `cuda` or `cuda:N`; nothing is known of `cpu`."""
        memory, temperature = "alfa_edge_device_memory_bytes", "alfa_edge_device_temperature_celsius"
        self._watched.add(_Source("the device's memory", lambda: _if_known(memory, memory_bytes(device))))
        self._watched.add(
            _Source("the device's temperature", lambda: _if_known(temperature, temperature_celsius(device, thermal)))
        )

    def watch_workers(self, workers: Workers) -> None:
        """Looks at each scrape which threads stand still."""
        name = "alfa_edge_stalled"
        self._watched.add(
            _Source("the threads", lambda: [_Sample(name, 1.0, (thread,)) for thread in workers.stalled_names()])
        )

    def serve(self, settings: MetricsSettings) -> MetricsServer:
        """Starts the endpoint, or, where no port is set, nothing; `stop` ends it.

        Raises:
            ConfigError: it cannot listen there.
        """
        return MetricsServer(self.registry, settings)

    def _make(self, kind: Any, name: str, **more: Any) -> Any:
        metric = METRICS[name]
        return kind(name, metric.help, metric.labels, registry=self.registry, **more)

    def _failed(self) -> None:
        self._scrape_errors.inc()

    def _known(self, code: str) -> str:
        if code not in self._codes:
            if len(self._codes) >= _CODES:
                return "other"
            self._codes.add(code)
        return code


class _Watched:
    """What is read at a scrape. A source that fails is left out and counted; the others are shown."""

    def __init__(self, failed: Callable[[], None], alarms: Alarms) -> None:
        self._failed = failed
        self._alarms = alarms
        self._sources: list[_Source] = []

    def add(self, source: _Source) -> None:
        self._sources.append(source)

    def collect(self) -> Iterator[_Family]:
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for source in tuple(self._sources):
            for sample in self._read(source):  # of two with the same labels one: Prometheus would refuse them all
                found.setdefault(sample.name, {})[sample.labels] = sample.value
        for name, samples in found.items():
            metric = METRICS[name]
            family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            made = family(name, metric.help, labels=metric.labels)
            for labels, value in samples.items():
                made.add_metric(labels, value)
            yield made

    def _read(self, source: _Source) -> Iterable[_Sample]:
        try:
            samples = tuple(source.read())
        except Exception as error:  # counted: whoever looks at the figures sees that one is missing
            self._failed()
            message = f"no figures of {source.what}: {type(error).__name__}: {error}"
            self._alarms.raise_("metrics", message, about=source.what)
            return ()
        self._alarms.clear("metrics", about=source.what)
        return samples


def _of_line(line: str, gauges: Gauges) -> Iterator[_Sample]:
    for gauge in fields(Gauges):
        value = getattr(gauges, gauge.name)
        name = f"alfa_edge_{gauge.name}" if f"alfa_edge_{gauge.name}" in METRICS else f"alfa_edge_{gauge.name}_total"
        if gauge.name == "line_state":
            if value is not None:
                yield from (_Sample(name, float(state == value), (line, state)) for state in get_args(State))
        elif isinstance(value, Mapping):
            yield from (_Sample(name, float(count), (line, reason)) for reason, count in tuple(value.items()))
        elif value is not None:
            yield _Sample(name, float(value), (line,))


def _of_alarms(alarms: Alarms) -> Iterator[_Sample]:
    for alarm in alarms.every():
        yield _Sample("alfa_edge_alarms", 1.0, (alarm.line or "", alarm.code))


def _of_archive(archive: ArchiveStatus) -> Iterator[_Sample]:
    yield _Sample("alfa_edge_archive_bytes", float(archive.bytes))
    for outcome in ("kept", "skipped", "failed", "deleted"):
        yield _Sample("alfa_edge_archive_pictures_total", float(getattr(archive, outcome)), (outcome,))


def _if_known(name: str, value: float | None) -> tuple[_Sample, ...]:
    return () if value is None else (_Sample(name, value),)
