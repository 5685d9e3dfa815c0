"""`alfa-edge demo`: a whole service on this machine, and a live table that is an ordinary subscriber to it."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Collection, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from core.bank.shot_checks import FLAGS
from core.image import read
from core.printable import shown
from core.remedy import extra
from core.simline import render
from edge import topics
from edge.camera.source import check_source
from edge.clock import monotonic
from edge.control.dispatcher import Dispatcher
from edge.control.offline import offline_dispatcher
from edge.control.protocol import Request
from edge.inspection.health import SOURCE_ENDED
from edge.ops.redact import redact
from edge.service import Service
from edge.settings import (
    ArchiveSettings,
    CameraSettings,
    LineSettings,
    ModelSettings,
    MqttSettings,
    ServiceSettings,
    Settings,
)
from edge.storage.settings_database import LineCalibration
from edge.tools.broker import EmbeddedBroker, check_reachable
from edge.tools.demo_console import demo_console
from edge.tools.demo_console import missing as demo_console_lacks
from edge.tools.demo_score import FolderScore, SimulatedLine, SimulatedScore
from edge.tools.first_run import RATE, Guide, Learned, check_count, learn
from edge.tools.playlist import Playlist, good_pictures, make_playlist

_NORMALS = 50
_SHOTS = 4  # of them enrolled
_FALSE_ALARMS = 0.05  # about so many good parts will be called anomalous
_DEFECTS = 0.3
_FIRST_NORMAL = 1_000_000  # of the parts that the threshold comes from: the demo does not get so far
_SHOWN = 12
_CAMERA = "camera"  # the line of another source
_LAST_S = 10.0  # so long the last verdicts may take once the source has ended
_PROVISIONAL = "not calibrated: the verdicts are provisional"
_STYLES = {"normal": "green", "anomaly": "bold red", "error": "bold yellow"}
_PARTS = {"plate-1": SimulatedLine("metal_plate", 6, _DEFECTS), "wood-1": SimulatedLine("wood", 5, _DEFECTS)}


@dataclass
class Seen:
    """What the table has heard; filled by the subscriber's thread, read by the table's."""

    score: SimulatedScore | FolderScore
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_SHOWN))
    provisional: set[str] = field(default_factory=set)  # lines whose last verdict was
    reasons: dict[str, str] = field(default_factory=dict)  # of lines of this demo, what their state says
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, verdict: dict[str, Any]) -> None:
        """Notes one verdict."""
        with self.lock:
            self.score.take(verdict)
            self.counts[verdict["line"], verdict["verdict"]] += 1
            self.recent.append(verdict)
            (self.provisional.add if verdict.get("provisional") else self.provisional.discard)(verdict["line"])

    def hear(self, status: dict[str, Any]) -> str | None:
        """Notes the state of a line; returns its words where they are new."""
        line, reason = status["line"], status.get("reason") or ""
        with self.lock:
            known, self.reasons[line] = self.reasons.get(line, ""), reason
        return reason if reason and reason != known else None


def run_demo(
    console: Console,
    stop: threading.Event,
    *,
    model: ModelSettings,
    source: str | None,
    pack: str,
    rate: float | None,
    out: Path,
    broker: tuple[str, int] | None,
    seconds: float | None,
    parts: int | None,
    good: Path | None = None,
    good_parts: int = 0,
) -> Seen:
    """Runs until `stop` is set, `seconds` have passed or `parts` were judged; returns what the lines said.

    Another `source` begins with a guided start on `good_parts` good parts, 0 for none: pictures of the folder `good`,
    or those that `source` shows first. The pictures of a data set's class are judged once, as fast as it goes.

    Raises:
        BrokerError, SourceError: broker or source are not there, or no such ones.
        DatasetError, FirstRunError: the pictures are too few, not there, or not as needed.
    """
    if broker is not None:
        check_reachable(*broker)
    if source is not None:
        check_source(CameraSettings(source=source), there=True)
    if good_parts:
        check_count(good_parts, RATE, True, "good parts")
    plays = make_playlist(Path(source), good, good_parts) if source is not None and Path(source).is_dir() else None
    if plays is not None and plays.samples is not None:
        parts = min(parts or len(plays.samples), len(plays.samples))
    version: Literal["3.1.1", "5"] = "5"
    with ExitStack() as stack:
        if broker is None:
            embedded = stack.enter_context(EmbeddedBroker())
            broker, version = (embedded.host, embedded.port), "3.1.1"  # it knows no other
        state = Path(stack.enter_context(TemporaryDirectory(prefix="alfa-edge-")))
        if source is None:
            lines = _simulated(1.0 if rate is None else rate)
        else:
            lines = {_CAMERA: _camera(source, plays, pack, rate, state)}
        if (package := demo_console_lacks()) is None:
            console.print(f"console: {stack.enter_context(demo_console(state, lines))}", soft_wrap=True)
        else:
            console.print(f"no console in the browser: {package} is missing; {extra('hmi')}", soft_wrap=True)
        settings = Settings(
            service=ServiceSettings(state_dir=state),
            archive=ArchiveSettings(dir=out, min_free_gb=0.1),
            model=model,
            mqtt=MqttSettings(host=broker[0], port=broker[1], client_id="alfa-edge-demo", version=version),
            lines=lines,
        )
        if source is None:
            _set_up(console, settings)
        elif good_parts and (plays is not None or good is not None):
            teach = plays.good if plays is not None else good_pictures(good or Path(), good_parts)
            _teach_from(console, settings, teach)
        console.print(
            f"broker {broker[0]}:{broker[1]} - listen with: mosquitto_sub -h {broker[0]} -p {broker[1]} "
            f"-t '{topics.EVERY_ANOMALY}'",
            soft_wrap=True,
        )
        console.print(f"overlays of anomalies in {out}", soft_wrap=True)
        labels = plays.samples if plays is not None else None
        seen = Seen(
            SimulatedScore(_PARTS if source is None else {}) if labels is None else FolderScore(_CAMERA, labels)
        )
        subscriber = _subscribe(broker, seen, console, lines)
        stack.callback(subscriber.loop_stop)
        stack.callback(subscriber.disconnect)
        daemon = Service(settings)
        if source is not None and good_parts and plays is None and good is None:
            guide = threading.Thread(target=_guide, args=(console, daemon, stop, good_parts), name="guide", daemon=True)
            guide.start()
        _run_service(console, daemon, stop, seen, model.name, seconds, parts)
    return seen


def _camera(source: str, plays: Playlist | None, pack: str, rate: float | None, folder: Path) -> LineSettings:
    """The line of a source that is no simulated one of the demo's own."""
    if plays is None:
        return _line(source, pack, 1.0 if rate is None else rate)
    known = plays.samples is not None
    pace = (0.0 if known else 1.0) if rate is None else rate
    camera = CameraSettings(source=str(plays.write(folder / "pictures")), rate=pace, loop=not known)
    samples = plays.samples or ()
    defective = sum(sample.anomalous for sample in samples) / max(1, len(samples))
    usual = LineSettings.model_fields["expected_defects"].default
    return LineSettings(camera=camera, pack=pack, expected_defects=min(0.95, max(usual, defective)))


def _teach_from(console: Console, settings: Settings, paths: Sequence[Path]) -> None:
    """The guided start on pictures, before the line runs."""
    guide = Guide(len(paths))
    for path in paths:
        guide.show(path.name, read(path))
    check_count(len(guide.kept), RATE, True, "good parts without empty scenes")
    with offline_dispatcher(settings) as dispatcher:
        found = learn(dispatcher, dispatcher.ready(_CAMERA), guide, rate=RATE, who="first run")
    _say_learned(console, found, len(guide.kept))


def _guide(console: Console, daemon: Service, stop: threading.Event, parts: int) -> None:
    """The guided start on the parts that the running line shows; what it asks for is in the line's state."""
    while daemon.dispatcher is None:
        if stop.wait(0.05):
            return
    arguments = {"line": _CAMERA, "parts": parts, "rate": RATE, "accept": 1.0, "timeout_s": 86_400}
    request = Request(id="first-run", command="learn", arguments=arguments, who="first run")
    try:
        reply, _ = daemon.dispatcher.answer(request, ())
    except Exception as error:
        if not stop.is_set():  # else it ends with the service
            console.print(f"first run: {type(error).__name__}: {error}", style="red", soft_wrap=True)
        return
    if reply.result is not None:
        kept, notes = reply.result["calibration"], reply.result["notes"]
        _say(console, len(reply.result["pictures"]), parts, kept["threshold"], kept["source"], notes)
    elif reply.refusal is not None and not stop.is_set():
        console.print(f"first run: {reply.refusal.message}", style="red", soft_wrap=True)


def _say_learned(console: Console, found: Learned, parts: int) -> None:
    _say(console, len(found.pictures), parts, found.calibration.threshold, found.calibration.source, found.notes)


def _say(console: Console, shots: int, parts: int, threshold: float, source: str, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(note, style="yellow", soft_wrap=True)
    said = f"line {_CAMERA}: {shots} of {parts} good parts enrolled; threshold {threshold:.4f}, {source}"
    console.print(said, soft_wrap=True)


def _simulated(rate: float) -> dict[str, LineSettings]:
    """Two simulated lines."""
    return {
        name: _line(f"sim:{line.part}?defects={line.defects}&seed={line.seed}", line.part, rate)
        for name, line in _PARTS.items()
    }


def _set_up(console: Console, settings: Settings) -> None:
    """What an operator does on the first day."""
    with offline_dispatcher(settings) as dispatcher:
        for name, simulated in _PARTS.items():
            kept = _teach(dispatcher, name, simulated)
            console.print(
                f"line {name}: {_SHOTS} simulated normals enrolled; threshold {kept.threshold:.4f}, {kept.source}",
                soft_wrap=True,
            )


def _teach(dispatcher: Dispatcher, line: str, simulated: SimulatedLine) -> LineCalibration:
    """Enrols good parts that the line will not show, and sets the threshold from others."""
    good = [render(simulated.part, simulated.seed, _FIRST_NORMAL + index, 0.0).image for index in range(_NORMALS)]
    shots = [(f"simulated normal {index + 1}", image) for index, image in enumerate(good[:_SHOTS])]
    enrolment = dispatcher.enrolment
    slot = dispatcher.ready(line)
    enrolment.enrol(slot, shots, who="demo", note="", accepted=set(FLAGS))
    recipe = slot.ready
    scores = [enrolment.score(image, recipe) for image in good[_SHOTS:]]
    return enrolment.calibrate(slot, scores, _FALSE_ALARMS, "simulated normals", "demo")


def _line(source: str, pack: str, rate: float) -> LineSettings:
    return LineSettings(camera=CameraSettings(source=source, rate=rate, loop=True), pack=pack)


def _subscribe(broker: tuple[str, int], seen: Seen, console: Console, lines: Collection[str]) -> Client:
    """A client of its own, as any consumer would have."""
    client = Client(CallbackAPIVersion.VERSION2)

    def connected(
        client: Client, _userdata: Any, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            console.print(f"the broker refuses the table: {code}", style="red")
        else:
            client.subscribe([(topics.EVERY_ANOMALY, 1), *((topics.STATUS.of(line), 1) for line in lines)])

    def received(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
        verdict = json.loads(message.payload)
        if "state" in verdict:
            words = seen.hear(verdict)
            if words is not None and not console.is_terminal:
                console.print(f"{verdict['line']} {verdict['state']}: {words}", soft_wrap=True)
            return
        seen.take(verdict)
        if not console.is_terminal:
            console.print(_sentence(verdict), soft_wrap=True)

    client.on_connect = connected
    client.on_message = received
    client.connect(*broker)
    client.loop_start()
    return client


def _run_service(
    console: Console,
    daemon: Service,
    stop: threading.Event,
    seen: Seen,
    model: str,
    seconds: float | None,
    parts: int | None,
) -> None:
    """The daemon in a thread, and the table until the end."""
    failure: list[BaseException] = []

    def serve() -> None:
        try:
            daemon.run(stop)
        except BaseException as error:
            failure.append(error)
            stop.set()

    service = threading.Thread(target=serve, name="daemon")
    service.start()
    deadline = None if seconds is None else monotonic() + seconds
    with Live(
        console=console, refresh_per_second=8, get_renderable=lambda: _table(seen, model), transient=False
    ) as live:
        if not console.is_terminal:
            live.stop()
        judged, last = 0, monotonic()
        while not stop.wait(0.1):
            late = deadline is not None and monotonic() >= deadline
            if (count := sum(seen.counts.values())) != judged:
                judged, last = count, monotonic()
            ended = seen.reasons.get(_CAMERA) == SOURCE_ENDED and monotonic() - last > _LAST_S
            if late or ended or (parts is not None and judged >= parts):
                stop.set()
    service.join()
    if failure:
        raise failure[0]


def _table(seen: Seen, model: str) -> Group:
    with seen.lock:
        recent, counts, provisional = list(seen.recent), dict(seen.counts), frozenset(seen.provisional)
        reasons = dict(seen.reasons)
    title = f"alfa-edge demo - model {model}" + _warning(model) + (f" - {_PROVISIONAL}" if provisional else "")
    table = Table(title=title, expand=True)
    for name in ("line", "seq", "verdict", "score", "threshold", "regions", "latency"):
        table.add_column(name, justify="left" if name in ("line", "verdict") else "right")
    for verdict in recent:
        style = _STYLES[verdict["verdict"]]
        table.add_row(
            verdict["line"],
            str(verdict["seq"]),
            Text(shown(verdict["verdict"]), style=style),
            f"{verdict['score']:.4f}" if "score" in verdict else verdict["error"]["code"],
            f"{verdict['threshold']:.4f}",
            str(len(verdict["regions"])),
            f"{verdict['timing_ms']['total']:.0f} ms" if "timing_ms" in verdict else "",
        )
    asked = [
        Text(shown(redact(f"{line}: {words}")), style="bold yellow") for line, words in sorted(reasons.items()) if words
    ]
    return Group(table, *asked, Text(summary(Counter(counts), provisional), style="dim"))


def _sentence(verdict: dict[str, Any]) -> str:
    score = f"{verdict['score']:.4f}" if "score" in verdict else verdict["error"]["code"]
    latency = f"{verdict['timing_ms']['total']:.0f} ms" if "timing_ms" in verdict else "-"
    name = verdict["model"]["name"]
    said = f"{verdict['line']} seq {verdict['seq']} {verdict['verdict']} score {score} latency {latency} model {name}"
    return f"{said} provisional" if verdict.get("provisional") else said


def _warning(model: str) -> str:
    return " - random weights: the verdicts mean nothing" if model.startswith("untrained") else ""


def summary(counts: Counter[tuple[str, str]], provisional: Set[str] = frozenset()) -> str:
    """The counts in words, a line each; those of `provisional` say that they are."""
    parts = []
    for line in sorted({line for line, _ in counts}):
        kinds = ", ".join(f"{counts[line, kind]} {kind}" for kind in ("normal", "anomaly", "error"))
        parts.append(shown(f"{redact(line)}: {kinds}") + (f"; {_PROVISIONAL}" if line in provisional else ""))
    return "\n".join(parts) or "no verdicts"
