"""The service: reads packs and model once, then runs scorer and lines until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.backbone import Backbone, load_backbone
from core.packs import PromptPack, load_pack
from core.store import Store
from edge import __version__
from edge.archive import Archive
from edge.camera.camera import Camera
from edge.line import Line, LoadedRecipe
from edge.mqtt import Publisher
from edge.scorer import Scorer
from edge.settings import LineSettings, MethodSettings, ModelSettings, Settings, store_dir
from edge.verdict import Model, Recipe

log = logging.getLogger(__name__)


def make_alfa(model: ModelSettings, method: MethodSettings) -> Alfa:
    """The configured method on the configured model.

    Raises:
        ModelError: model, weights, device or dtype cannot be had.
        ValueError: the method's parts do not fit the model, for instance a window larger than its grid.
    """
    chosen = Method(
        scales=method.scales,
        stride=method.stride,
        adaptation=method.adaptation,
        llm_prompts=method.llm_prompts,
        aligner=method.aligner,
    )
    store = Store(store_dir(model.store))
    return Alfa(load_backbone(model.name, model.weights, model.device, model.dtype, store), chosen)


def model_part(backbone: Backbone, method: Method) -> Model:
    """The model as every verdict names it."""
    return Model(
        name=backbone.name,
        fingerprint=backbone.fingerprint,
        device=str(backbone.device),
        dtype=backbone.dtype,
        scales=method.scales,
    )


def recipe_part(pack: PromptPack, threshold_source: str) -> Recipe:
    """The recipe as every verdict names it."""
    return Recipe(pack=pack.name, pack_version=pack.version, pack_sha256=pack.sha256, threshold_source=threshold_source)


class Daemon:
    """All lines of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lines: dict[str, Line] = {}
        self.unacknowledged = 0
        """Verdicts that the broker had not acknowledged when the service stopped."""

    def run(self, stop: threading.Event) -> None:
        """Runs until `stop` is set.

        Raises:
            PackError, ModelError, ConfigError, BatchTooLargeError, ValueError: what is configured cannot run; no line
                was started.
        """
        settings = self.settings
        packs = {name: load_pack(line.pack) for name, line in settings.lines.items()}
        with ExitStack() as stack:
            publishers = self._publishers(stack)
            runtime = stack.enter_context(_runtime_dir(settings.service.runtime_dir))
            alfa = make_alfa(settings.model, settings.method)
            texts = _texts(alfa, packs)
            batch = min(settings.model.batch, len(settings.lines))  # a line has one frame in work at most
            alfa.warm_up(batch)
            scorer = Scorer(alfa, batch)
            scorer.start()
            stack.callback(scorer.stop)
            model = model_part(alfa.backbone, alfa.method)
            archive = Archive(settings.service.archive_dir)
            for name, line in settings.lines.items():
                self.lines[name] = Line(
                    name,
                    line,
                    _recipe(line, packs[name], texts[packs[name].sha256]),
                    model,
                    Camera(name, line.camera, runtime),
                    scorer,
                    publishers[name],
                    archive,
                    settings.service.stats_interval_s,
                )
            for one in self.lines.values():
                one.start()
            log.info("%d lines on %s (%s, %s)", len(self.lines), model.name, model.device, model.dtype)
            stop.wait()
            log.info("stopping")
            for one in self.lines.values():
                one.halt()
            for one in self.lines.values():
                one.join()

    def _publishers(self, stack: ExitStack) -> dict[str, Publisher]:
        """One connected publisher a line; each says `stopped` at the end."""
        service = self.settings.service
        publishers = {
            name: Publisher(self.settings.mqtt, name, service.node, __version__) for name in self.settings.lines
        }
        stack.callback(self._stop, publishers)
        for publisher in publishers.values():
            publisher.start()
        return publishers

    def _stop(self, publishers: dict[str, Publisher]) -> None:
        """Stops them side by side: each may have to wait for its broker."""
        with ThreadPoolExecutor(len(publishers)) as pool:
            for line, left in zip(publishers, pool.map(Publisher.stop, publishers.values()), strict=True):
                if left:
                    self.unacknowledged += left
                    log.error("line %s: %d verdicts were not acknowledged by the broker", line, left)


def _recipe(line: LineSettings, pack: PromptPack, text: TextFeatures) -> LoadedRecipe:
    pixel = line.threshold if line.pixel_threshold is None else line.pixel_threshold
    return LoadedRecipe(text, line.threshold, pixel, recipe_part(pack, line.threshold_source))


def _texts(alfa: Alfa, packs: dict[str, PromptPack]) -> dict[str, TextFeatures]:
    """The text features of each pack, by the pack's hash: lines of one class share them."""
    texts: dict[str, TextFeatures] = {}
    for pack in packs.values():
        if pack.sha256 not in texts:
            texts[pack.sha256] = alfa.embed(pack.prompts(alfa.method.llm_prompts), pack.descriptors)
    return texts


@contextlib.contextmanager
def _runtime_dir(configured: Path | None) -> Iterator[Path]:
    """The directory of the service's sockets: as configured, else systemd's, else a private temporary one."""
    given = configured or (Path(os.environ["RUNTIME_DIRECTORY"]) if "RUNTIME_DIRECTORY" in os.environ else None)
    if given is not None:
        given.mkdir(mode=0o750, parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="alfa-edge-") as private:
        yield Path(private)
