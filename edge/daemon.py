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

from core.packs import load_pack
from edge import __version__
from edge.archive import Archive
from edge.camera.camera import Camera
from edge.console.server import ConsoleServer
from edge.line import Line
from edge.mqtt import Publisher
from edge.scorer import Scorer
from edge.settings import Settings, console_dir, state_dir

log = logging.getLogger(__name__)


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
            PackError, ModelError, ConfigError, BatchTooLargeError, ValueError: what is configured cannot run.
            BankError, DatabaseError, LockError, ConsoleError: the state cannot be used. No line was started.
        """
        settings = self.settings
        packs = {name: load_pack(line.pack) for name, line in settings.lines.items()}
        with ExitStack() as stack:
            publishers = self._publishers(stack)
            runtime = stack.enter_context(_runtime_dir(settings.service.runtime_dir))
            cameras = {name: Camera(name, line.camera, runtime) for name, line in settings.lines.items()}
            for camera in cameras.values():  # they come up while the model is loaded
                stack.callback(camera.stop)
                camera.start()
            with _no_collection():  # torch takes seconds: not before the cameras
                from edge.commands import Desk
                from edge.enrolment import Enrolment
                from edge.recipes import Recipes, make_alfa, model_part
                from edge.state import StateThread

            state = StateThread(state_dir(settings.service.state_dir))
            stack.callback(state.stop)
            state.start()
            alfa = make_alfa(settings.model, settings.method)
            self._recipes = Recipes(alfa, settings.model)
            recipes = {name: self._recipes.load(line, packs[name]) for name, line in settings.lines.items()}
            self._recipes.release()
            batch = min(settings.model.batch, len(settings.lines))  # a line has one frame in work at most
            alfa.warm_up(batch)
            scorer = Scorer(alfa, batch)
            scorer.start()
            stack.callback(scorer.stop)
            enrolment = Enrolment(alfa, scorer, self.lines, settings.lines)
            self._state, self._enrolment = state, enrolment
            model = model_part(alfa.backbone, alfa.method)
            archive = Archive(settings.service.archive_dir)
            for name, line in settings.lines.items():
                self.lines[name] = Line(
                    name,
                    line,
                    state.run(partial(enrolment.recipe, line=name, recipe=recipes[name])),
                    model,
                    cameras[name],
                    scorer,
                    publishers[name],
                    archive,
                    settings.service.stats_interval_s,
                )
            console = ConsoleServer(console_dir(settings.service), Desk(self.lines, state, enrolment).answer)
            stack.callback(console.stop)
            console.start()
            for one in self.lines.values():
                one.start()
            log.info("%d lines on %s (%s, %s)", len(self.lines), model.name, model.device, model.dtype)
            stop.wait()
            log.info("stopping")
            for one in self.lines.values():
                one.halt()
            for one in self.lines.values():
                one.join()

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
