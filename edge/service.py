"""The service: reads packs and model once, then runs scorer and lines until it is told to stop."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.packs import PromptPack, load_pack
from edge import __version__
from edge.camera.supervisor import Camera
from edge.control.server import ConsoleServer
from edge.inference import Scorer
from edge.inspection.line import Line
from edge.inspection.porch import Porch
from edge.inspection.status import Services
from edge.mqtt.heatmaps import Heatmaps
from edge.mqtt.publisher import Publisher
from edge.ops.alarms import Alarms
from edge.ops.lock import hold_state
from edge.ops.metrics import Metrics
from edge.ops.systemd import Notifier, Progress, Watchdog, loading
from edge.ops.threads import Loading, end_after, share_memory
from edge.ops.worker import ServiceFailedError, Workers
from edge.settings import Settings, console_dir, state_dir
from edge.storage.archive import Archive
from edge.storage.history import History
from edge.storage.outbox import Outbox

if TYPE_CHECKING:
    from edge.control.dispatcher import Desk

log = logging.getLogger(__name__)

_STOP_S = 15.0  # for an orderly end after a failure, of which whoever waits for the failed thread might make none


class Daemon:
    """All lines of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lines: dict[str, Line] = {}
        self._cameras: dict[str, Camera] = {}
        self._processes = ExitStack()  # the cameras, and the folder of their sockets
        self.desk: Desk | None = None
        """Where commands are done; None until parts are taken."""
        self.loaded = threading.Event()
        """Set when the lines take parts. A run that was stopped before that leaves a thread in work, which only the end
        of the process ends."""
        self.unacknowledged = 0
        """Verdicts that the broker had not acknowledged when the service stopped; the next run sends them."""

    def run(self, stop: threading.Event) -> None:
        """Runs until `stop` is set, which the service does itself where it cannot go on.

        Raises:
            ServiceFailedError: a thread that it cannot do without has failed.
            PackError, ModelError, ConfigError, BatchTooLargeError, ValueError: what is configured cannot run.
            BankError, DatabaseError, LockError, ConsoleError: the state cannot be used. No line was started.
        """
        share_memory()
        settings = self.settings
        self._alarms = alarms = Alarms()
        self._workers = workers = Workers(alarms, stop.set)
        notifier, progress, metrics = Notifier(alarms=alarms), Progress(workers), Metrics(alarms)
        metrics.watch_workers(workers)
        packs = {name: load_pack(line.pack) for name, line in settings.lines.items()}
        with ExitStack() as stack:
            stack.enter_context(self._processes)
            stack.callback(metrics.serve(settings.metrics).stop)
            with loading(notifier):
                load = Loading(lambda: self._start(stack, packs, progress, metrics), stack.close)
                if not load.wait(stop):
                    log.info("stopping before all was loaded")
                    self._begin_to_stop(stack, notifier, workers)
                    for camera in self._cameras.values():
                        camera.stop(0.0)  # one that is starting takes a second to hear of it
                    self._processes.close()  # before what may take longer than there is time
                    if workers.failure is not None:
                        raise ServiceFailedError(workers.failure)
                    return
            self.loaded.set()
            watchdog = Watchdog(notifier, workers.stalled, workers.hopeless)
            stack.callback(watchdog.stop)
            notifier.ready()
            notifier.status(f"{len(self.lines)} lines")
            watchdog.start()
            stop.wait()
            log.info("stopping")
            self._begin_to_stop(stack, notifier, workers)
            watchdog.stop()
            for one in self.lines.values():
                one.halt()
            for one in self.lines.values():
                one.join()
        if workers.failure is not None:
            raise ServiceFailedError(workers.failure)

    def _begin_to_stop(self, stack: ExitStack, notifier: Notifier, workers: Workers) -> None:
        notifier.stopping()
        if workers.failed.is_set():
            end = end_after(_STOP_S, os.EX_SOFTWARE, "the service did not stop in order after a failure")
            stack.callback(end.cancel)

    def _start(self, stack: ExitStack, packs: dict[str, PromptPack], progress: Progress, metrics: Metrics) -> None:
        """Everything, until the lines take parts; `stack` ends it in turn."""
        settings = self.settings
        folder = state_dir(settings.service.state_dir)
        runtime = self._processes.enter_context(_runtime_dir(settings.service.runtime_dir))
        cameras = {
            name: Camera(name, line.camera, runtime, line.health, self._alarms) for name, line in settings.lines.items()
        }
        self._cameras = cameras
        for camera in cameras.values():  # they come up while the model is loaded
            self._processes.callback(camera.stop)
            camera.start()
        stack.callback(hold_state(folder).close)
        outbox = Outbox(folder, settings.history)
        stack.callback(outbox.stop)
        outbox.start()
        archive = Archive(settings.archive, self._workers, self._alarms)
        stack.callback(archive.stop)
        archive.start()
        porches = {name: Porch() for name in settings.lines}
        publishers = self._publishers(stack, outbox, porches)
        heatmaps = Heatmaps(metrics, self._workers, self._alarms)
        stack.callback(heatmaps.stop)
        heatmaps.start()
        with _no_collection():  # torch takes seconds: not before the cameras
            from edge.control.commands import COMMANDS
            from edge.control.dispatcher import Desk
            from edge.control.enrolment import Enrolment
            from edge.inspection.recipes import Recipes, make_alfa, model_part
            from edge.storage.settings_database import StateThread

        self._state = StateThread(folder)
        stack.callback(self._state.stop)
        opening = self._state.begin()
        alfa = make_alfa(settings.model, settings.method)
        self._recipes = Recipes(alfa, settings.model)
        recipes = {name: self._recipes.load(line, packs[name]) for name, line in settings.lines.items()}
        self._recipes.release()
        batch = min(settings.model.batch, len(settings.lines))
        alfa.warm_up(batch)
        scorer = Scorer(alfa, batch, progress.beat("scorer"))
        scorer.start()
        stack.callback(scorer.stop)
        opening.result()
        self._enrolment = Enrolment(alfa, scorer, self.lines, settings.lines)
        model = model_part(alfa.backbone, alfa.method, alfa.tower)
        for name, line in settings.lines.items():
            services = Services(
                scorer,
                publishers[name],
                outbox,
                archive,
                heatmaps,
                metrics,
                progress,
                settings.service.stats_interval_s,
            )
            recipe = self._state.run(partial(self._enrolment.recipe, line=name, recipe=recipes[name]))
            one = self.lines[name] = Line(name, line, recipe, model, cameras[name], services)
            metrics.watch(name, one.gauges)
        metrics.build(model)
        metrics.watch_device(model.device)
        metrics.watch_archive(lambda: archive.status)
        metrics.watch_disk("state", folder)
        if settings.archive.dir is not None:
            metrics.watch_disk("archive", settings.archive.dir)
        desk = Desk(COMMANDS, self.lines, self._state, self._enrolment, History(folder), archive, self.change_pack)
        self._open(stack, desk, porches, publishers)
        self.desk = desk
        log.info("%d lines on %s (%s, %s)", len(self.lines), model.name, model.device, model.dtype)

    def _open(self, stack: ExitStack, desk: Desk, porches: dict[str, Porch], publishers: dict[str, Publisher]) -> None:
        """Begins to take parts, triggers and commands."""
        from edge.inspection.triggers import LineInbox

        console = ConsoleServer(console_dir(self.settings.service), desk.answer)
        stack.callback(console.stop)
        console.start()
        for name, line in self.lines.items():
            line.start()
            inbox = LineInbox(line, self.settings.lines[name].deadline_ms, desk, publishers[name].publish_reply)
            stack.callback(inbox.close)
            porches[name].open(inbox)

    def change_pack(self, line: str, name: str) -> None:
        """The line judges by another pack from its next frame on, with its shots, and by the configured threshold
        unless its last calibration was with that pack.

        Raises:
            PackError, ModelError: it cannot; the line goes on with the pack that it has.
        """
        pack = load_pack(name)
        recipe = self._recipes.load(self.settings.lines[line], pack)
        self._recipes.release()
        self._state.run(partial(self._enrolment.change, line=line, recipe=recipe))
        log.info("line %s: pack %s %s", line, pack.name, pack.version)

    def _publishers(self, stack: ExitStack, outbox: Outbox, porches: dict[str, Porch]) -> dict[str, Publisher]:
        """One connected publisher a line; each says `stopped` at the end."""
        service, mqtt = self.settings.service, self.settings.mqtt
        publishers = {
            name: Publisher(mqtt, name, service.node, __version__, outbox, porch) for name, porch in porches.items()
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
                    log.warning("line %s: %d verdicts wait on disk for the broker; the next run sends them", line, left)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Imports make objects by the million, none of them garbage; looking through them is a fifth of the start-up."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # else libraries complain of leaks as they are unloaded


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
