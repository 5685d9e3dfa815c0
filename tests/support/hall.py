"""A line with all that it shares with others: a real camera process, scorer, disk and broker."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from core.alfa import Alfa
from core.packs.compiled import compile_pack
from core.packs.pack import load_pack
from edge.camera import Camera
from edge.control.feed import Feed
from edge.control.provisional import thresholds
from edge.inference import Inference
from edge.inspection.line import Line
from edge.inspection.methods import model_part
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.recipe_loader import recipe_part
from edge.inspection.services import Services
from edge.mqtt.delivery import Delivery
from edge.mqtt.heatmaps import Heatmaps
from edge.mqtt.publisher import Publisher
from edge.ops.alarms import Alarms
from edge.ops.metrics import Metrics
from edge.ops.worker import Workers
from edge.settings import ArchiveSettings, HistorySettings, LineSettings, MqttSettings
from edge.storage.archive import Archive
from edge.storage.outbox import Outbox
from tests.support.mosquitto import Mosquitto, Subscription, eventually
from tests.support.recipes import only_recipe

ANOMALY = "line/one/anomaly"


class Hall:
    """Line `one`, running for as long as the context is open.

    with Hall(settings, alfa, mosquitto, heard, tmp_path) as hall:
        hall.line.trigger("part-1")
    """

    def __init__(
        self, settings: LineSettings, alfa: Alfa, mosquitto: Mosquitto, heard: Subscription, folder: Path
    ) -> None:
        pack = load_pack("magnetic_tile")
        text = alfa.text(compile_pack(alfa.backbone, pack))
        self.heard = heard
        self.alarms, self.workers = Alarms(), Workers()
        self.outbox = Outbox(folder / "state", HistorySettings(), self.workers, self.alarms)
        self.outbox.start()
        self.inference = Inference(1, self.workers)
        self.archive = Archive(ArchiveSettings(dir=folder / "archive", min_free_gb=0))
        self.heatmaps = Heatmaps(Metrics())
        self.feed = Feed(folder, rate=5.0, alarms=self.alarms, workers=self.workers)
        self.delivery = Delivery(self.workers)
        mqtt = MqttSettings(host=mosquitto.host, port=mosquitto.port)
        self.publisher = Publisher(mqtt, "one", "box", "0", self.outbox, self.delivery, self.alarms)
        self.line = Line(
            "one",
            settings,
            only_recipe(
                "one",
                settings.recipe,
                LoadedRecipe(alfa, model_part(alfa), text, *thresholds(settings), recipe_part(pack, "test")),
            ),
            Camera("one", settings.camera, folder, settings.health, self.alarms),
            Services(
                self.inference,
                self.publisher,
                self.outbox,
                self.archive,
                self.heatmaps,
                self.feed,
                Metrics(),
                self.alarms,
                self.workers,
                60.0,
            ),
        )

    def __enter__(self) -> Hall:
        self.publisher.start()
        self.inference.start()
        self.archive.start()
        self.heatmaps.start()
        self.feed.start()
        self.line.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.halt()
        self.line.join(20)
        self.inference.stop()
        self.feed.stop()
        self.heatmaps.stop()
        self.archive.stop()
        self.publisher.stop()
        self.delivery.stop()
        self.outbox.stop()

    def verdicts(self, count: int = 0) -> list[dict[str, Any]]:
        """What the broker has passed on, once there are `count`."""
        eventually(lambda: len(self.heard.of(ANOMALY)) >= count, 30)
        return [json.loads(message.payload) for message in self.heard.of(ANOMALY)]

    def state(self) -> tuple[str, str | None]:
        """The line's state as the broker has it."""
        said = json.loads(self.heard.of("line/one/status")[-1].payload)
        return said["state"], said.get("reason")
