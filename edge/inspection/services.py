"""What a line shares with others, and its own voice."""

from __future__ import annotations

from dataclasses import dataclass

from edge.inference import Inference
from edge.inspection.viewers import Viewers
from edge.mqtt.heatmaps import Heatmaps
from edge.mqtt.publisher import Publisher
from edge.ops.alarms import Alarms
from edge.ops.metrics import Metrics
from edge.ops.worker import Workers
from edge.storage.archive import Archive
from edge.storage.outbox import Outbox


@dataclass(frozen=True)
class Services:
    """What a line shares with others, and its own publisher."""

    inference: Inference
    publisher: Publisher
    outbox: Outbox
    archive: Archive
    heatmaps: Heatmaps
    viewers: Viewers
    metrics: Metrics
    alarms: Alarms
    workers: Workers
    stats_interval_s: float
