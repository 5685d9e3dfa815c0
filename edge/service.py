"""The service: reads packs and model once, then runs inference and lines until it is told to stop."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import math
import os
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from core.packs.pack import load_pack
from edge import __version__
from edge.camera.supervisor import Camera
from edge.clock import monotonic
from edge.control.feed import Feed
from edge.control.server import ConsoleServer
from edge.inspection.line import Line
from edge.inspection.services import Services
from edge.messages import LineHealth
from edge.mqtt.delivery import Delivery
from edge.mqtt.heatmaps import Heatmaps
from edge.mqtt.inbound import Router
from edge.mqtt.publisher import Publisher
from edge.ops.alarms import Alarms
from edge.ops.descriptors import look_at_descriptors, raise_limit
from edge.ops.folders import runtime_dir
from edge.ops.lock import hold_console, hold_state
from edge.ops.logs import line_log
from edge.ops.metrics import Metrics
from edge.ops.systemd import Notifier, Watchdog, loading
from edge.ops.threads import Loading, end_after, share_memory
from edge.ops.worker import ServiceFailedError, Workers
from edge.settings import Settings, console_dir, state_dir
from edge.storage.archive import Archive
from edge.storage.history import History
from edge.storage.installation import check_installation, join_databases
from edge.storage.outbox import Outbox

if TYPE_CHECKING:
    from edge.control.dispatcher import Dispatcher

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_TOLD_S = 0.5  # that a broker may take to tell the lines' last numbers
_HEAR_S = 0.5  # between two looks for a signal
_FAILED_S = 15.0  # for an orderly end after a failure, of which whoever waits for the failed thread might make none
_STOP_S = 8.0  # for all that is stopped in turn: what comes late has less of it
_PUBLISHER_S = 4.0  # of that for a broker's last answers


class Service:
    """All lines of one configuration."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lines: dict[str, Line] = {}
        self.alarms = Alarms()
        self._processes = ExitStack()  # the cameras, and the folder of their sockets
        self.dispatcher: Dispatcher | None = None
        """Where commands are done; None until parts are taken."""
        self.loaded = threading.Event()
        """Set when the lines take parts. A run that was stopped before that leaves a thread in work, which only the end
        of the process ends."""
        self.unacknowledged = 0
        """Verdicts that the broker had not acknowledged when the service stopped; the next run sends them."""
        self._stop_by = math.inf
        self._cameras: dict[str, Camera] = {}
        self._publishers: dict[str, Publisher] = {}
        self._router = Router(settings.lines, self.alarms)
        self._starting = threading.Lock()  # while the lines start
        self._given_up = False  # whether the start is, before that

    def run(self, stop: threading.Event) -> None:
        """Runs until `stop` is set, which the service does itself where it cannot go on.

        Raises:
            PackError, ModelError, ConfigError, BatchTooLargeError, ValueError: what is configured cannot run.
            BankError, DatabaseError, LockError, ConsoleError: the state cannot be used. No line was started.
            ServiceFailedError: a thread has failed that the service cannot do without.
        """
        share_memory()
        raise_limit()
        notifier, metrics = Notifier(alarms=self.alarms), Metrics(self.alarms)
        workers = Workers(self.alarms, on_failure=stop.set)
        for line in self.settings.lines.values():
            load_pack(line.pack)  # what is wrong with it is said before anything is started
        with ExitStack() as stack:
            stack.enter_context(self._processes)
            with loading(notifier):
                load = Loading(lambda: self._start(stack, workers, metrics), stack.close)
                if not load.wait(stop):
                    log.info("stopping before all was loaded")
                    for publisher in tuple(self._publishers.values()):
                        publisher.set_status(LineHealth(state="stopping", level="warning"))
                    self._begin_to_stop(stack, notifier, workers)
                    self._router.close()
                    with self._starting:
                        self._given_up = True
                    for running in tuple(self.lines.values()):  # before their cameras, of which they would miss theirs
                        running.halt()
                    for camera in self._cameras.values():
                        camera.stop(0.0)  # one that is starting takes a second to hear of it
                    self._processes.close()  # before what may take longer than there is time
                    if workers.failure is not None:
                        raise ServiceFailedError(workers.failure)
                    return
            self.loaded.set()
            watchdog = Watchdog(
                notifier, workers.stalled, workers.hopeless, besides=lambda: look_at_descriptors(self.alarms)
            )
            stack.callback(watchdog.stop)
            notifier.ready()
            notifier.status(f"{len(self.lines)} lines")
            watchdog.start()
            # The kernel may give a signal to a thread in native code: it is seen only when this one wakes.
            while not stop.wait(_HEAR_S):
                pass
            log.info("stopping")
            for stopping in self.lines.values():  # first: the broker has to know
                stopping.halt()
            self._begin_to_stop(stack, notifier, workers)
            watchdog.stop()
            self._router.close()
            self._side_by_side(Line.join, self.lines.values())
        if workers.failure is not None:
            raise ServiceFailedError(workers.failure)

    def _begin_to_stop(self, stack: ExitStack, notifier: Notifier, workers: Workers) -> None:
        self._stop_by = monotonic() + _STOP_S
        notifier.stopping()
        if workers.failed.is_set():
            end = end_after(_FAILED_S, os.EX_SOFTWARE, "the service did not stop in order after a failure")
            stack.callback(end.cancel)

    def _start(self, stack: ExitStack, workers: Workers, metrics: Metrics) -> None:
        """Everything, until the lines take parts; `stack` ends it in turn."""
        settings, alarms = self.settings, self.alarms
        folder = state_dir(settings.service.state_dir)
        # First: a second service must find the locks before it takes a camera, or the first one's place at the broker.
        stack.callback(hold_state(folder).close)
        runtime = self._processes.enter_context(runtime_dir(settings.service.runtime_dir))
        stack.callback(hold_console(console_dir(settings.service)).close)
        stack.callback(metrics.serve(settings.metrics).stop)
        cameras = self._cameras = {
            name: Camera(name, line.camera, runtime, line.health, alarms) for name, line in settings.lines.items()
        }
        for camera in cameras.values():  # they come up while the model is loaded
            self._processes.callback(camera.stop)
            camera.start()
        installation = check_installation(folder)
        outbox = Outbox(folder, settings.history, workers, alarms, console_dir(settings.service), installation.numbers)
        stack.callback(outbox.stop)
        outbox.start()
        archive = Archive(settings.archive, workers, alarms)
        stack.callback(archive.stop)
        archive.start()
        self._connect(stack, outbox, workers)
        heatmaps = Heatmaps(metrics, workers, alarms, settings.heatmap, settings.picture)
        stack.callback(heatmaps.stop)
        heatmaps.start()
        with _no_collection():  # torch takes seconds: not before the cameras
            from edge.control.command_queue import CommandQueue
            from edge.control.commands import COMMANDS
            from edge.control.dispatcher import Dispatcher
            from edge.control.line_loader import load_lines
            from edge.control.machine_commands import MachineCommands
            from edge.control.review_queue import count_waiting
            from edge.inspection.methods import Methods
            from edge.inspection.triggers import Triggers
            from edge.storage.settings_database import SettingsDatabase

        database = SettingsDatabase(folder, workers, alarms)
        stack.callback(database.stop)
        stack.callback(outbox.tell_numbers)
        opening = database.begin()
        methods = Methods(settings.model)
        opening.result()
        join_databases(installation, database, outbox)
        outbox.keep_numbers(database)
        loaded = load_lines(settings, methods, database, workers, alarms, stack)
        model = next(iter(loaded.recipes.lines.values())).loaded.model
        feed = Feed(console_dir(settings.service), settings.hmi.rate, alarms, workers)
        stack.callback(feed.stop)
        for name, line in settings.lines.items():
            services = Services(
                loaded.inference,
                self._publishers[name],
                outbox,
                archive,
                heatmaps,
                feed,
                metrics,
                alarms,
                workers,
                settings.service.stats_interval_s,
            )
            self.lines[name] = Line(name, line, loaded.recipes.lines[name], cameras[name], services)
            metrics.watch(name, self.lines[name].gauges)
            if name in loaded.paused:
                self.lines[name].pause(loaded.paused[name])
        metrics.build(model)
        metrics.watch_device(model.device)
        metrics.watch_archive(lambda: archive.status)
        metrics.watch_workers(workers)
        metrics.watch_disk("state", folder)
        if settings.archive.dir is not None:
            metrics.watch_disk("archive", settings.archive.dir)
        triggers = Triggers(
            self.lines,
            outbox,
            metrics,
            alarms,
            compensate_sender_clock=settings.mqtt.compensate_sender_clock,
        )
        dispatcher = Dispatcher(
            COMMANDS,
            self.lines,
            database,
            loaded.enrolment,
            History(folder),
            archive,
            alarms,
            recipes=loaded.recipes,
            service=settings.service,
            forget=self.forget,
        )
        for name in self.lines:
            count_waiting(dispatcher, name)
        self._number_on()
        commands = CommandQueue(dispatcher.answer, dispatcher.is_quick, dispatcher.limit_s, alarms, workers)
        console = ConsoleServer(console_dir(settings.service), commands, alarms)
        stack.callback(console.stop)
        stack.callback(commands.stop)  # before the console, which sends the last replies
        console.start()
        feed.start()
        with self._starting:
            if self._given_up:
                return
            for started_line in self.lines.values():
                started_line.start()
        self._router.open(triggers, MachineCommands(commands, self._publishers), self._publishers)
        self.dispatcher = dispatcher
        log.info("judging %s on %s (%s, %s)", ", ".join(self.lines), model.name, model.device, model.dtype)

    def forget(self, line: str) -> None:
        """Clears what the broker keeps of a line that is not configured.

        Raises:
            ValueError: there is no connection to the broker.
        """
        if not any(publisher.forget(line) for publisher in self._publishers.values()):
            raise ValueError("there is no connection to the broker; try again when there is one")

    def _connect(self, stack: ExitStack, outbox: Outbox, workers: Workers) -> None:
        """One connection a line; each says `stopped` at the end."""
        service, mqtt = self.settings.service, self.settings.mqtt
        delivery = Delivery(workers)
        self._publishers = {
            name: Publisher(mqtt, name, service.node, __version__, outbox, delivery, self.alarms, self._router)
            for name in self.settings.lines
        }
        stack.callback(delivery.stop)
        stack.callback(self._disconnect)
        for publisher in self._publishers.values():
            publisher.start()

    def _disconnect(self) -> None:
        """Stops the publishers side by side: each may have to wait for its broker."""
        timeout_s = max(1.0, min(_PUBLISHER_S, self._stop_by - monotonic()))

        def stop(publisher: Publisher) -> int:
            return publisher.stop(timeout_s=timeout_s)

        for line, left in zip(self._publishers, self._side_by_side(stop, self._publishers.values()), strict=True):
            if left:
                self.unacknowledged += left
                line_log(__name__, line).warning(
                    "%d verdicts wait on disk for the broker; the next run sends them", left
                )

    @staticmethod
    def _side_by_side(work: Callable[[T], R], things: Collection[T]) -> list[R]:
        """What `work` makes of each thing, in a thread for each."""
        with ThreadPoolExecutor(max(1, len(things))) as pool:
            return list(pool.map(work, things))

    def _number_on(self) -> None:
        """Numbers that the broker knows and the disk does not, as of a restored state, are not given again."""
        until = monotonic() + _TOLD_S
        for name, publisher in self._publishers.items():
            subscriptions = publisher.subscriptions
            assert subscriptions is not None
            if publisher.connected:
                subscriptions.told.wait(max(0.0, until - monotonic()))
            self.lines[name].number_on(subscriptions.last_seq, subscriptions.last_generation)


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
