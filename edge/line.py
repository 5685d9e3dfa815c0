"""One line: takes the camera's newest frame, has it scored, and issues exactly one verdict for it."""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from core.explain import describe, reasons
from core.image import Rgb, encode_png, grey
from core.regions import find_regions
from edge import topics
from edge.archive import Archive
from edge.camera.camera import Camera
from edge.camera.frame import Frame
from edge.clock import monotonic, utc_now
from edge.mqtt import Publisher
from edge.scorer import Scored, Scorer
from edge.settings import LineSettings
from edge.verdict import (
    Bank,
    Fault,
    Heatmap,
    LatencySummary,
    LineStats,
    Model,
    Reason,
    Recipe,
    Region,
    Scores,
    State,
    Timing,
    Verdict,
    uuid7,
)
from edge.verdict import Camera as CameraPart

if TYPE_CHECKING:
    from core.adaptation import TextFeatures
    from core.alfa import Inspection
    from core.memory import Index

log = logging.getLogger(__name__)

_FRAME_WAIT_S = 0.25  # how often the line looks at its camera's state while no frame comes
_LATENCIES = 4096  # verdicts that the percentiles of one stats message look back on, at most


NO_SHOTS = Bank(shots=0, revision=0)


@dataclass(frozen=True, eq=False)
class LoadedRecipe:
    """What the line judges by, ready for use."""

    text: TextFeatures
    threshold: float
    pixel_threshold: float
    wire: Recipe
    index: Index | None = None
    bank: Bank = NO_SHOTS


@dataclass(frozen=True, eq=False)
class Seen:
    """An inspected picture and what was found."""

    image: Rgb
    inspection: Inspection


class Judge(Protocol):
    """What commands know of a line."""

    @property
    def seq(self) -> int: ...

    @property
    def recipe(self) -> LoadedRecipe: ...

    def change_recipe(self, recipe: LoadedRecipe) -> None: ...

    def watch(self) -> AbstractContextManager[queue.SimpleQueue[Seen | None]]: ...

    def stats_so_far(self) -> dict[str, int]: ...


class Line(threading.Thread):
    """The thread of one line."""

    def __init__(
        self,
        name: str,
        settings: LineSettings,
        recipe: LoadedRecipe,
        model: Model,
        camera: Camera,
        scorer: Scorer,
        publisher: Publisher,
        archive: Archive,
        stats_interval_s: float,
    ) -> None:
        super().__init__(name=f"line-{name}", daemon=True)
        self.line = name
        self.counts: Counter[str] = Counter()
        self.seq = 0
        self._settings = settings
        self._recipe = recipe
        self._model = model
        self._camera = camera
        self._scorer = scorer
        self._publisher = publisher
        self._archive = archive
        self._archive_fault: str | None = None
        self._stats_interval = stats_interval_s
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._dropped = 0
        self._watchers: list[queue.SimpleQueue[Seen | None]] = []
        self._halt = threading.Event()

    def halt(self) -> None:
        """Asks the line to finish its part and end."""
        self._halt.set()
        for watcher in tuple(self._watchers):  # who waits for its parts must not hold up the end
            watcher.put(None)

    @property
    def recipe(self) -> LoadedRecipe:
        """What the next frame will be judged by."""
        return self._recipe

    @contextmanager
    def watch(self) -> Iterator[queue.SimpleQueue[Seen | None]]:
        """What the line scores from now on, as it comes; None when it has ended."""
        watcher: queue.SimpleQueue[Seen | None] = queue.SimpleQueue()
        self._watchers.append(watcher)
        if self._halt.is_set():
            watcher.put(None)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)

    def change_recipe(self, recipe: LoadedRecipe) -> None:
        """Judges by `recipe` from the next frame on; a frame in work is finished by the one it began with."""
        self._recipe = recipe

    def run(self) -> None:
        try:
            with self._camera:
                self._enter("ready", None)
                self._loop()
        except Exception as error:
            log.exception("line %s has failed", self.line)
            self._enter("fault", f"internal error: {type(error).__name__}: {error}")
            raise

    def _loop(self) -> None:
        rate = self._settings.camera.rate
        period = 1.0 / rate if rate else 0.0
        due = monotonic()
        stats_due = monotonic() + self._stats_interval
        while not self._halt.is_set():
            if monotonic() >= stats_due:
                stats_due += self._stats_interval
                self._publisher.publish_stats(self.stats())
            pause = min(due - monotonic(), _FRAME_WAIT_S)
            if pause > 0:
                self._camera.poll(pause)
                self._follow()
                continue
            if (
                self._publisher.full
            ):  # a verdict that no queue can hold would be lost: take no part before there is room
                self._enter("fault", "the broker takes no verdicts and their queue is full")
                self._camera.poll(_FRAME_WAIT_S)
                continue
            frame = self._camera.next_frame(_FRAME_WAIT_S)
            arrived = monotonic()
            self._follow()
            missing = self._camera.missing()
            if frame is not None or missing is not None:
                due = max(due + period, arrived - period)  # never hurry to catch up on missed beats
            if frame is not None:
                self._issue(frame, arrived)
            elif missing is not None:
                self._publish(self._error(None, self._recipe, Fault(code="camera_no_frame", message=missing)))
        self._publisher.publish_stats(self.stats())

    def _follow(self) -> None:
        """The line's state is its camera's, and says what else is amiss."""
        camera = self._camera.status
        if camera.state == "running":
            self._enter("running", self._archive_fault)
        elif camera.state == "ended":
            self._enter("ready", "the source has ended")
        elif camera.state == "fault":
            self._enter("fault", f"camera: {camera.reason} (attempt {camera.reconnects + 1})")

    def _enter(self, state: State, reason: str | None) -> None:
        self._publisher.set_status(state, reason)

    def _issue(self, frame: Frame, arrived: float) -> None:
        """The one answer for one frame: the verdict, then its heatmap, then its picture on disk."""
        recipe = self._recipe
        image, x, y = self._inspected(frame.image)
        self._dropped += frame.dropped
        if image is None:
            roi = self._settings.roi
            height, width = frame.image.shape[:2]
            fault = Fault(
                code="roi_outside_frame",
                message=f"the region {roi} is not inside the frame of {width} x {height}",
            )
            self._publish(self._error(frame, recipe, fault))
            return
        try:
            scored = self._scorer.submit(image, recipe.text, recipe.index).result()
        except Exception as error:  # whatever ended the pass, the part gets its answer
            log.error("line %s: frame %d was not scored: %s", self.line, frame.number, error)
            fault = Fault(code="scorer_failed", message=f"{type(error).__name__}: {error}")
            self._publish(self._error(frame, recipe, fault))
            return
        for watcher in tuple(self._watchers):
            watcher.put(Seen(image, scored.inspection))
        verdict = self._judge(frame, scored, recipe, (arrived - frame.captured) * 1000, (x, y))
        self._publish(verdict)
        text = {"id": verdict.id, "line": self.line, "seq": str(verdict.seq)}
        self._publisher.publish_heatmap(encode_png(grey(scored.inspection.heatmap), text))
        if verdict.verdict == "anomaly":
            self._keep(verdict, image, scored.inspection)

    def _inspected(self, image: Rgb) -> tuple[Rgb | None, int, int]:
        """The inspected region of a frame, or None when it does not lie inside, and its offset."""
        roi = self._settings.roi
        if roi is None:
            return image, 0, 0
        if roi.y + roi.height > image.shape[0] or roi.x + roi.width > image.shape[1]:
            return None, roi.x, roi.y
        return image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width], roi.x, roi.y

    def _judge(
        self, frame: Frame, scored: Scored, recipe: LoadedRecipe, capture_ms: float, corner: tuple[int, int]
    ) -> Verdict:
        inspection, (x, y) = scored.inspection, corner
        anomalous = inspection.score >= recipe.threshold
        found = find_regions(inspection.heatmap, recipe.pixel_threshold) if anomalous else ()
        likeness, phrases = inspection.likeness if anomalous else None, recipe.text.phrases
        identity = uuid7()
        issued = utc_now()
        day = issued.strftime("%Y-%m-%d")
        height, width = inspection.size
        return Verdict(
            id=identity,
            line=self.line,
            seq=self.seq + 1,
            mode="free",
            captured_at=frame.captured_at,
            issued_at=issued,
            verdict="anomaly" if anomalous else "normal",
            score=inspection.score,
            threshold=recipe.threshold,
            scores=Scores(
                global_=inspection.global_score, local=inspection.local_score, memory=inspection.memory_score
            ),
            regions=tuple(
                Region(
                    x=one.x + x,
                    y=one.y + y,
                    width=one.width,
                    height=one.height,
                    area=one.area,
                    score=one.score,
                    peak=(one.peak[0] + x, one.peak[1] + y),
                    position=one.position,
                    descriptor=describe(likeness, phrases, one.peak, inspection.size) if likeness else None,
                )
                for one in found
            ),
            explanation=tuple(
                Reason(text=one.text, similarity=one.similarity)
                for one in (reasons(likeness, phrases) if likeness else ())
            ),
            heatmap=Heatmap(
                topic=topics.HEATMAP.of(self.line),
                archive=self._archive.path(self.line, day, f"{self.seq + 1:08d}-{identity}") if anomalous else None,
                x=x,
                y=y,
                width=width,
                height=height,
                max=float(inspection.heatmap.max()),
            ),
            recipe=recipe.wire,
            model=self._model,
            bank=recipe.bank,
            camera=self._camera_part(frame),
            timing_ms=Timing(
                capture=capture_ms,
                queue=scored.queue_ms,
                decode=frame.decode_ms,
                score=scored.score_ms,
                total=(monotonic() - frame.captured) * 1000,
            ),
            simulated=frame.simulated,
        )

    def _error(self, frame: Frame | None, recipe: LoadedRecipe, fault: Fault) -> Verdict:
        return Verdict(
            line=self.line,
            seq=self.seq + 1,
            mode="free",
            captured_at=frame.captured_at if frame else None,
            verdict="error",
            error=fault,
            threshold=recipe.threshold,
            recipe=recipe.wire,
            model=self._model,
            bank=recipe.bank,
            camera=self._camera_part(frame) if frame else None,
            simulated=frame.simulated if frame else False,
        )

    def _camera_part(self, frame: Frame) -> CameraPart:
        height, width = frame.image.shape[:2]
        return CameraPart(frame=frame.number, dropped=frame.dropped, width=width, height=height)

    def _publish(self, verdict: Verdict) -> None:
        """Hands the verdict to the broker's client; only now does its sequence number count as used."""
        self._publisher.publish_verdict(verdict)
        self.seq = verdict.seq
        self.counts[verdict.verdict] += 1
        if verdict.timing_ms is not None:
            self._latencies.append(verdict.timing_ms.total)

    def _keep(self, verdict: Verdict, image: Rgb, inspection: Inspection) -> None:
        """A disk that takes no more stops the archive, loudly, but never the judging."""
        try:
            self._archive.keep(verdict, image, inspection.heatmap)
        except OSError as error:
            if self._archive_fault is None:
                log.error("line %s: the archive takes no pictures: %s", self.line, error)
            self._archive_fault = f"archive: {error.strerror or error}"
        else:
            self._archive_fault = None

    def stats_so_far(self) -> dict[str, int]:
        """The verdicts by their kind, since the service started."""
        return {kind: self.counts[kind] for kind in ("normal", "anomaly", "error")}

    def stats(self) -> LineStats:
        """The counters, and the latencies since the last call."""
        latencies = sorted(self._latencies)
        self._latencies.clear()
        camera = self._camera.status
        return LineStats(
            line=self.line,
            at=utc_now(),
            seq=self.seq,
            normal=self.counts["normal"],
            anomaly=self.counts["anomaly"],
            error=self.counts["error"],
            dropped=self._dropped,
            reconnects=camera.reconnects,
            restarts=camera.restarts,
            latency_ms=_summary(latencies),
        )


def _summary(latencies: list[float]) -> LatencySummary | None:
    """Nearest-rank percentiles of sorted latencies."""
    if not latencies:
        return None
    p50, p99 = (latencies[math.ceil(p * len(latencies)) - 1] for p in (0.50, 0.99))
    return LatencySummary(p50=p50, p99=p99, max=latencies[-1])
