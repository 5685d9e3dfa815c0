"""One line: exactly one verdict for every part, in sequence, on disk before it counts as issued."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from edge.camera.supervisor import Camera
from edge.clock import monotonic, utc_now
from edge.inference import Scored
from edge.inspection.acquisition import LOOK_S, Taker
from edge.inspection.counters import Tally
from edge.inspection.recipe import LoadedRecipe, Seen
from edge.inspection.request import Outcome, Ticket
from edge.inspection.status import Condition, Services
from edge.inspection.verdict import failed, is_anomalous, judged
from edge.messages import Decision, Fault, LineStats, Model, State, Verdict, uuid7
from edge.ops.metrics import Gauges
from edge.settings import LineSettings
from edge.storage.outbox import OutboxError

log = logging.getLogger(__name__)

_EARLY_S = 0.01  # how long before a part is due its error is issued, so that it is there in time
_PATIENCE_S = 30.0  # for a turn of either thread
_END_S = 5.0  # how long parts under way may take when the line ends


class Line:
    """Two threads: the taker has parts scored, the issuer answers them. A slow part never holds up another's error."""

    def __init__(
        self,
        name: str,
        settings: LineSettings,
        recipe: LoadedRecipe,
        model: Model,
        camera: Camera,
        services: Services,
    ) -> None:
        self.line = name
        self.tally = Tally()
        self.seq = services.outbox.last_seq(name)
        self._settings = settings
        self._recipe = recipe
        self._model = model
        self._camera = camera
        self._publisher = services.publisher
        self._outbox = services.outbox
        self._archive = services.archive
        self._heatmaps = services.heatmaps
        self._metrics = services.metrics
        self._stats_interval = services.stats_interval_s
        self._condition = Condition(name, self.tally, camera, services)
        self._watchers: list[queue.SimpleQueue[Seen | None]] = []
        self._lock = threading.Lock()  # guards what follows
        self._open: set[Ticket] = set()
        self._paused: str | None = None
        self._asks: str | None = None
        self._halted = False
        self._trouble: str | None = None  # of the state's disk
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        beats = [services.progress.beat(f"line {name}: {half}", _PATIENCE_S) for half in ("taker", "issuer")]
        self._beat = beats[1]
        self._taker = Taker(
            name,
            settings,
            camera,
            services.scorer,
            lambda: self._recipe,
            self._outcomes.put,
            self._show_state,
            beats[0],
        )
        self._issuer = threading.Thread(target=self._run, name=f"line-{name}", daemon=True)

    def start(self) -> None:
        """Answers what the run before left without an answer, then takes parts."""
        for left in self._outbox.unanswered(self.line):
            ticket = Ticket(part_id=left.part_id, trigger=left.trigger, received_at=left.received_at)
            message = f"the service was restarted; the trigger had come at {left.received_at.isoformat()}"
            self._outcomes.put(Outcome(ticket, fault=Fault(code="restart", message=message)))
        self._issuer.start()
        self._taker.start()

    def halt(self) -> None:
        """Takes no more parts, and ends when those under way are answered."""
        with self._lock:
            self._halted = True
        self._taker.halt()
        self._outcomes.put(None)
        for watcher in tuple(self._watchers):  # who waits for its parts must not hold up the end
            watcher.put(None)

    def join(self, timeout_s: float | None = None) -> None:
        """Waits for the end."""
        for thread in (self._taker, self._issuer):
            if thread.is_alive():
                thread.join(timeout_s)

    def trigger(
        self, part_id: str, deadline_ms: int | None = None, *, again: bool = False, stale: bool = False
    ) -> Ticket | None:
        """Asks for the answer to one part; returns at once, any thread may call it.

        Args:
            part_id: What the answer will name.
            deadline_ms: Until the answer, milliseconds from now; the line's own without it.
            again: The same trigger may have come before; if it did, it has its answer, and None is returned.
            stale: It is older than can be told: the part is answered, but not judged.

        Raises:
            ValueError: `part_id` is no text that can be written as UTF-8.
        """
        part_id.encode()
        now = monotonic()
        wait_ms = self._settings.deadline_ms if deadline_ms is None else deadline_ms
        ticket = Ticket(part_id, now + wait_ms / 1000, self._outbox.accept(self.line, part_id, utc_now()), received=now)
        if again:
            row, known = self._accepted(ticket)  # where the disk cannot tell, two answers are better than none
            if row is not None and known:
                self._outbox.forget(row)
                self._metrics.trigger(self.line, "again")
                return None
        self.tally.triggers += 1
        with self._lock:
            fault = self._refusal(stale)
            if fault is None:
                self._open.add(ticket)
        self._metrics.trigger(self.line, fault.code if fault is not None else "accepted")
        if fault is None:
            self._taker.take(ticket)
            self._outcomes.put(None)  # the issuer looks when it is due
        else:
            self._outcomes.put(Outcome(ticket, fault=fault))
        return ticket

    def pause(self, who: str) -> None:
        """Judges no parts until `resume`; triggers are answered `error` `paused`."""
        self._hold(f"by {who}")

    def resume(self) -> None:
        """Judges parts again."""
        self._hold(None)

    @property
    def recipe(self) -> LoadedRecipe:
        """What the next frame will be judged by."""
        return self._recipe

    def change_recipe(self, recipe: LoadedRecipe) -> None:
        """Judges by `recipe` from the next frame on; a frame in work is finished by the one it began with."""
        self._recipe = recipe

    @contextmanager
    def watch(self) -> Iterator[queue.SimpleQueue[Seen | None]]:
        """What the line scores from now on, as it comes; None when it has ended."""
        watcher: queue.SimpleQueue[Seen | None] = queue.SimpleQueue()
        self._watchers.append(watcher)
        if self._halted:
            watcher.put(None)
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)

    def say(self, words: str | None) -> None:
        """Asks something of the people at the line, in its state, until it is called with None."""
        with self._lock:
            self._asks = words
        self._show_state()

    def state(self) -> tuple[State, str | None]:
        """How the line is, and why; and what else is amiss."""
        with self._lock:
            halted, paused, trouble, asks = self._halted, self._paused, self._trouble, self._asks
        if halted:
            return "stopping", None
        if trouble is not None:
            return "fault", trouble
        if paused is not None:
            return "paused", paused
        return self._condition.state(self._recipe, asks)

    def stats_so_far(self) -> dict[str, int]:
        """The verdicts by their kind, since the service started."""
        return self.tally.by_kind()

    def stats(self) -> LineStats:
        """The counters, and the latencies since the last call."""
        return self._condition.stats(self.seq, len(self._open), self._recipe)

    def gauges(self) -> Gauges:
        """What Prometheus asks for."""
        return self._condition.gauges(self.state()[0], len(self._open), self._recipe)

    def _refusal(self, stale: bool) -> Fault | None:
        """Why a trigger is answered at once; `_lock` is held."""
        if stale:
            return Fault(code="late", message="the trigger waited at the broker while the service was away")
        if self._halted:
            return Fault(code="stopping", message="the service is stopping")
        if self._paused is not None:
            return Fault(code="paused", message=f"the line is paused {self._paused}")
        if self._settings.mode == "free":
            return Fault(code="free_run", message=f"the line takes no triggers; set lines.{self.line}.mode = 'trigger'")
        if len(self._open) >= self._settings.queue:
            return Fault(code="queue_full", message=f"{len(self._open)} parts wait already")
        return None

    def _hold(self, why: str | None) -> None:
        with self._lock:
            self._paused = why
        self._taker.pause(why is not None)
        self._show_state()

    def _show_state(self) -> None:
        self._publisher.set_status(*self.state())

    def _run(self) -> None:
        """The issuer."""
        try:
            self._issue_all()
        except Exception as error:
            log.exception("line %s has failed", self.line)
            self._trouble = f"internal error: {type(error).__name__}: {error}"
            self._show_state()
            raise
        self._beat.done()  # of one that has failed the watchdog is to notice that it has ended

    def _issue_all(self) -> None:
        stats_due, end = monotonic() + self._stats_interval, float("inf")
        while not self._halted or (self._under_way() and monotonic() < end):
            if self._halted and end == float("inf"):
                end = monotonic() + _END_S
            self._beat.touch()
            outcome = self._next(min(stats_due, end, monotonic() + LOOK_S))
            self._expire()
            if outcome is not None:
                self._answer(outcome)
            if monotonic() >= stats_due:
                stats_due += self._stats_interval
                self._publisher.publish_stats(self.stats())
        for ticket in tuple(self._open):
            self._answer(Outcome(ticket, fault=Fault(code="stopping", message="the service is stopping")))
        while (outcome := self._next(0.0)) is not None:
            self._answer(outcome)
        self._publisher.publish_stats(self.stats())

    def _under_way(self) -> bool:
        """Whether parts are with the scorer."""
        return any(ticket.recipe is not None for ticket in tuple(self._open))

    def _next(self, until: float) -> Outcome | None:
        with self._lock:
            dues = [ticket.due for ticket in self._open if ticket.due is not None]
        until = min([until, *(due - _EARLY_S for due in dues)])
        try:
            return self._outcomes.get(timeout=max(0.0, until - monotonic()))
        except queue.Empty:
            return None

    def _expire(self) -> None:
        """Answers the parts that are due."""
        with self._lock:
            late = [ticket for ticket in self._open if ticket.left() <= _EARLY_S]
        for ticket in sorted(late, key=lambda ticket: ticket.received):
            where = "for the scorer" if ticket.recipe is not None else "for its frame"
            after = (monotonic() - ticket.received) * 1000
            message = f"after {after:.0f} ms the part still waited {where}"
            self._answer(Outcome(ticket, fault=Fault(code="deadline", message=message)))

    def _answer(self, outcome: Outcome) -> None:
        """Issues the one verdict of a part; a second outcome of the same part is too late and says nothing."""
        ticket, scored = outcome.ticket, outcome.scored
        if ticket.answer.done():
            return
        recipe = ticket.recipe or self._recipe
        trigger, duplicate = self._accepted(ticket)
        identity, seq, issued = uuid7(), self.seq + 1, utc_now()
        if scored is not None:
            anomalous = is_anomalous(scored.inspection, recipe)
            verdict = judged(
                self.line,
                seq,
                identity,
                ticket,
                scored,
                self._model,
                self._settings.roi,
                issued=issued,
                now=monotonic(),
                archive=self._plan(issued, seq, identity, "anomaly" if anomalous else "normal"),
                duplicate=duplicate,
            )
        else:
            assert outcome.fault is not None
            fault = outcome.fault
            verdict = failed(
                self.line, seq, identity, ticket, fault, recipe, self._model, issued=issued, duplicate=duplicate
            )
            log.warning("line %s: part %s: %s: %s", self.line, ticket.part_id or seq, fault.code, fault.message)
        verdict = self._issue(verdict, trigger)
        with self._lock:
            self._open.discard(ticket)
        if ticket.frame is not None:
            self.tally.dropped += ticket.frame.dropped
        ticket.answer.set_result(verdict)
        self._taker.answered(ticket)
        if scored is not None:
            self._after(ticket, scored, verdict)
        elif ticket.image is not None:
            self._archive.keep(verdict, ticket.image, None)

    def _accepted(self, ticket: Ticket) -> tuple[int | None, bool]:
        """The trigger's row, and whether the line had such a part before."""
        if ticket.accepted is None:
            return ticket.trigger, False
        try:
            accepted = ticket.accepted.result()
        except OutboxError:  # the verdict will find the disk no better
            return None, False
        return accepted.trigger, accepted.known

    def _plan(self, issued: datetime, seq: int, identity: str, kind: Decision) -> str | None:
        return self._archive.plan(self.line, issued.strftime("%Y-%m-%d"), seq, identity, kind)

    def _issue(self, verdict: Verdict, trigger: int | None) -> Verdict:
        """On disk, then on its way. Where the disk takes nothing, the part is answered `error` all the same."""
        try:
            self._outbox.issue(verdict, trigger)
            self._trouble = None
        except OutboxError as error:
            if self._trouble is None:
                log.error("line %s: %s", self.line, error)
            self._trouble = str(error)
            self.tally.unkept += 1
            if trigger is not None:
                self._outbox.forget(trigger)  # this is its answer: the next run must not give it another
            fault = Fault(code="state_failed", message=str(error))
            verdict = verdict.model_copy(
                update={
                    "verdict": "error",
                    "error": fault,
                    "score": None,
                    "scores": None,
                    "regions": (),
                    "explanation": (),
                    "heatmap": None,
                }
            )
        self.seq = verdict.seq
        self.tally.issued(verdict)
        code = verdict.error.code if verdict.error is not None else None
        self._metrics.verdict(self.line, verdict.verdict, code, verdict.timing_ms)
        if not self._publisher.publish_verdict(verdict) and self._trouble is not None:
            log.error("line %s: verdict %d is lost: neither the disk nor the broker takes it", self.line, verdict.seq)
        return verdict

    def _after(self, ticket: Ticket, scored: Scored, verdict: Verdict) -> None:
        """What may come after the verdict: heatmap, picture, those who watch, drift."""
        assert ticket.image is not None
        recipe = ticket.recipe
        if verdict.heatmap is not None:
            self._heatmaps.send(self._publisher, verdict, scored.inspection)
        shown = scored.inspection.heatmap if verdict.verdict == "anomaly" else None
        self._archive.keep(verdict, ticket.image, shown)
        assert recipe is not None
        for watcher in tuple(self._watchers):
            watcher.put(Seen(ticket.image, scored.inspection, recipe, verdict.seq))
        if recipe.drift is not None:
            recipe.drift.update(scored.inspection.score)
