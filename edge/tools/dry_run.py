"""All that `alfa-edge run` does up to the first frame, by the same code; nothing of it is left but compiled packs.

The databases are read as they are; what lines judge by is made ready on a copy. A service that runs with the same state
has its port and its cameras: that they are not to be had then is said, and is no failure.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlite_utils import Migrations

from core.bank.memory_bank import BANK_TABLES
from core.database.database import read_database
from core.packs.pack import load_pack
from edge.camera.child import START_S, socket_path
from edge.camera.errors import SourceError
from edge.camera.health import region_fault
from edge.camera.supervisor import Camera
from edge.clock import monotonic
from edge.control.command_queue import CommandQueue
from edge.control.feed import Feed
from edge.control.line_loader import LoadedLines, load_lines
from edge.control.protocol import Reply, Request
from edge.control.server import ConsoleServer
from edge.inspection.acquisition import outcome_of
from edge.inspection.methods import Methods, method_of
from edge.inspection.region import RegionError, inspected
from edge.inspection.request import InspectionRequest
from edge.messages import not_calibrated
from edge.ops.alarms import Alarms
from edge.ops.folders import not_left, runtime_dir
from edge.ops.lock import CONSOLE_LOCK, STATE_LOCK, HeldError, LockError, hold_console, hold_state
from edge.ops.metrics import Metrics
from edge.ops.redact import redact
from edge.ops.worker import Workers
from edge.settings import LineSettings, MetricsSettings, Settings, console_dir, state_dir
from edge.storage.archive import archive_fault
from edge.storage.installation import compare_databases
from edge.storage.journal import FILE as JOURNAL
from edge.storage.journal import Journal
from edge.storage.settings_database import FILE as STATE
from edge.storage.settings_database import STATE_TABLES, SettingsDatabase
from edge.storage.verdict_tables import FILE as VERDICTS
from edge.storage.verdict_tables import VERDICT_TABLES
from edge.tools.camera_picture import write_picture
from edge.tools.cameras import modes
from edge.tools.check import Check, attempt
from edge.tools.mendable import mendable

_DATABASES = {VERDICTS: (VERDICT_TABLES,), STATE: (BANK_TABLES, STATE_TABLES)}
_LEAST_FREE = 1 << 30
_LOOK_S = 0.5  # between two looks at a camera that has not said anything yet


def dry_run(settings: Settings, pictures: Path | None = None) -> Iterator[Check]:
    """What comes of each step, as it is done. A `fail` means that the service would not start, or not judge.

    `pictures`: a folder for a picture of each line's camera, with what is inspected drawn in it.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="alfa-edge-")))
        packs = [attempt(f"line {name}: pack", partial(_pack, line.pack)) for name, line in settings.lines.items()]
        yield from packs
        state = _State(state_dir(settings.service.state_dir), scratch)
        with ExitStack() as lock:  # not for as long as the model takes
            yield from state.checks(lock)
            yield state.excuse(attempt("metrics", partial(_metrics, settings.metrics)))
            sockets = attempt("sockets", partial(_sockets, settings, with_console=state.held))
            yield sockets
            if sockets.result == "ok":  # what answers without the disk left lies there, too
                yield attempt("answers", partial(_answers, console_dir(settings.service)))
        for name, line in settings.lines.items():  # before they are opened: one program can have them
            yield from _modes(name, line)
        alarms = Alarms()
        cameras = {
            name: Camera(name, line.camera, scratch, line.health, alarms) for name, line in settings.lines.items()
        }
        for camera in cameras.values():  # they come up while the model is loaded
            stack.callback(camera.stop)
            camera.start()
        if settings.archive.dir is not None:
            with not_left(settings.archive.dir):
                fault = archive_fault(settings.archive.dir, settings.archive)
            well = Check("archive", "ok", _room(settings.archive.dir))
            yield well if fault is None else Check("archive", "fail", fault)
        loaded = yield from _judging(settings, scratch, stack, all(check.result == "ok" for check in packs))
        for name, line in settings.lines.items():
            yield state.excuse(_first_frame(name, line, cameras[name], alarms, loaded, pictures))


def _pack(name: str) -> str:
    pack = load_pack(name)
    return f"{pack.name} {pack.version}"


class _State:
    """The folder of the state, its lock, its disk and its databases."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        """`state.db` is copied to `scratch`."""
        self._folder = folder
        self._scratch = scratch
        self._taken = False
        self.held = False
        """Whether the lock was to be had."""

    def checks(self, lock: ExitStack) -> Iterator[Check]:
        """Looks at all of it; the state's lock is held until the end of `lock`."""
        try:
            lock.enter_context(_held(self._folder))
            self.held = True
        except HeldError:
            self._taken = True
            yield Check("state", "note", f"{self._folder}: a service, or a command, is at work with it")
        except LockError as error:
            yield Check("state", "fail", str(error))
            return
        yield self._disk()
        if self.held:
            yield attempt("state: both databases", self._compare)
        for file, tables in _DATABASES.items():
            if (self._folder / file).exists():
                yield attempt(f"state: {file}", partial(self._read, file, tables))

    def excuse(self, check: Check) -> Check:
        """What a running service has is not to be had a second time."""
        if not self._taken or check.result != "fail":
            return check
        return Check(check.name, "note", f"{check.detail} (a service is at work with this state, and may have it)")

    def _disk(self) -> Check:
        free = shutil.disk_usage(self._folder).free
        if free < _LEAST_FREE:
            return Check("state: disk", "fail", f"{_room(self._folder)}; make room, or set service.state_dir")
        return Check("state: disk", "ok", _room(self._folder))

    def _compare(self) -> str:
        """Looks whether both are there, and belong together."""
        installation = compare_databases(self._folder)
        return "a new state" if installation.id is None else f"of installation {installation.id}"

    def _read(self, file: str, tables: tuple[Migrations, ...]) -> str:
        """Reads all of a database, unless a service has done so that runs."""
        path = self._folder / file
        with read_database(path, tables, pages=not self._taken) as database:
            if file == STATE:
                database.backup(self._scratch / file)
        return f"{path}: {path.stat().st_size / 1e6:.1f} MB"


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The lock of a state's folder; neither is left where it was not before.

    Raises:
        LockError: as of `hold_state`.
    """
    lock = folder / STATE_LOCK
    with not_left(folder):
        new = not lock.exists()
        with hold_state(folder):
            try:
                yield
            finally:
                if new:
                    lock.unlink(missing_ok=True)  # while it is held, so that nobody else holds it


def _metrics(settings: MetricsSettings) -> str:
    Metrics().serve(settings).stop()
    return "none is configured" if settings.port is None else f"{settings.host}:{settings.port} is free"


def _sockets(settings: Settings, *, with_console: bool) -> str:
    """The cameras', the console's and the feed's; a running service has the last two already."""
    configured, console = settings.service.runtime_dir, console_dir(settings.service)
    with ExitStack() as stack:
        if configured is not None:
            stack.enter_context(not_left(configured))
        folder = stack.enter_context(runtime_dir(configured))
        for name in settings.lines:
            socket_path(folder, name)
        if with_console:
            stack.enter_context(not_left(console / CONSOLE_LOCK))
            stack.callback(hold_console(console).close)
            commands = CommandQueue(_no_command)
            stack.callback(commands.stop)
            server = ConsoleServer(console, commands)
            stack.callback(server.stop)
            server.start()
            feed = Feed(console, settings.hmi.rate)
            stack.callback(feed.stop)
            feed.start()
    return f"the console listens in {console}"


def _answers(folder: Path) -> str:
    """Reads what an earlier process has answered without the disk."""
    count = len(Journal(folder / JOURNAL).read().answers)
    return f"{count} that are not on disk yet" if count else "all are on disk"


def _no_command(request: Request, _pictures: Sequence[bytes]) -> tuple[Reply, Sequence[bytes]]:
    """Somebody asks while the console is tried out."""
    raise ValueError(f"{request.command}: no service is running; start it")


def _room(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{folder}: {shutil.disk_usage(there).free / 2**30:.1f} GiB free"


def _judging(
    settings: Settings, folder: Path, stack: ExitStack, packs_are_well: bool
) -> Generator[Check, None, LoadedLines | None]:
    """Loads the model, and what each line judges by, with the copy of the state in `folder`; None: that failed."""
    name = "model"
    try:
        methods = Methods(settings.model)
        for configured in settings.lines.values():
            methods.get(method_of(settings, configured))
        backbone, tower = methods.backbone, methods.tower
        yield Check(
            name,
            "ok",
            f"{backbone.name}, {backbone.device}, {backbone.dtype}, tower {'none' if tower is None else tower.name}",
        )
        if not packs_are_well:
            return None
        name = "recipes"
        database = SettingsDatabase(folder)
        stack.callback(database.stop)
        database.start()
        loaded = load_lines(settings, methods, database, Workers(), Alarms(), stack)
    except Exception as error:
        if not isinstance(error, mendable()):
            raise
        yield Check(name, "fail", redact(str(error)))
        return None
    for line, recipes in loaded.recipes.lines.items():
        recipe = recipes.loaded
        judged_by = f"{recipe.wire.name}: {recipe.inspector.name}, {recipe.wire.pack}, {recipe.bank.shots} shots"
        threshold = f"threshold {recipe.threshold:.4f} ({recipe.wire.threshold_source})"
        words = "; ".join(filter(None, (f"{judged_by}, {threshold}", recipe.inspector.remark)))
        yield Check(
            f"line {line}: recipe",
            "note" if recipe.provisional else "ok",
            f"{words}; {not_calibrated(recipe.bank.shots)}" if recipe.provisional else words,
        )
    return loaded


def _modes(name: str, line: LineSettings) -> Iterator[Check]:
    """What the camera can give; that it cannot be opened is said by what opens it for a frame."""
    try:
        found = modes(line.camera)
    except SourceError:
        return
    if found:
        words = "; ".join(f"{mode.name} {mode.now}" + (f" ({mode.choice})" if mode.choice else "") for mode in found)
        yield Check(f"line {name}: camera's modes", "ok", words)


def _first_frame(
    name: str, line: LineSettings, camera: Camera, alarms: Alarms, loaded: LoadedLines | None, pictures: Path | None
) -> Check:
    """Waits for the first frame, and judges it as the line would, if it has what that takes."""
    label, settings = f"line {name}: camera", line.camera
    patience_s = START_S + 3 * settings.open_timeout_s + settings.read_timeout_s
    until = monotonic() + patience_s
    opened = None  # since when
    frame = missing = None
    while frame is None and missing is None and monotonic() < until:
        frame, missing = camera.next_frame(_LOOK_S), camera.missing()
        if settings.trigger == "line" and frame is None and camera.status.state == "running":
            opened = opened or monotonic()
            if monotonic() - opened > settings.read_timeout_s:
                return Check(label, "note", f"it is open; no signal came to its input in {settings.read_timeout_s:g} s")
        if frame is None and camera.status.state in ("fault", "ended"):
            missing = missing or camera.status.reason
    if told := [alarm.message for alarm in alarms.of(name) if alarm.severity == "fault"]:
        return Check(label, "fail", "; ".join(told))
    if frame is None:
        return Check(label, "fail", missing or f"no frame within {patience_s:.0f} s")
    height, width = frame.image.shape[:2]
    seen = f"a frame of {width} x {height}, sharpness {frame.health.sharpness:.0f}"
    roi = line.roi if loaded is None else loaded.recipes.lines[name].loaded.settings.roi
    try:
        region = inspected(frame.image, roi)
    except RegionError as error:
        return Check(label, "fail", str(error))
    if loaded is None:
        return Check(label, "ok", seen)
    recipe = loaded.recipes.lines[name].loaded
    fault = region_fault(region, recipe.settings.health, recipe.shots, whole=roi is None)
    if fault is not None:
        return Check(label, "fail", f"{fault.code}: {fault.message}")
    size = (region.shape[0], region.shape[1])
    tiling = recipe.tiling(size)
    scoring = loaded.inference.submit(recipe.inspector, region, recipe.text, recipe.index, line=name, tiling=tiling)
    wait([scoring])
    outcome = outcome_of(InspectionRequest("free"), scoring)
    if outcome.scored is None:
        assert outcome.fault is not None
        return Check(label, "fail", outcome.fault.message)
    smallest = f"the smallest defect that is seen has about {recipe.smallest_defect(size)} pixels along each side"
    words = f"{seen}, judged in {outcome.scored.score_ms:.0f} ms; {smallest}"
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        path = pictures / f"{name}.png"
        write_picture(path, frame.image, roi, tiling, recipe.sees)
        words += f"; drawn in {path}"
    return Check(label, "ok", words)
