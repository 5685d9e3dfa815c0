"""Answers the parts of one line: exactly one verdict each, in sequence, on disk before it counts as issued."""

from __future__ import annotations

import math
import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from edge.clock import monotonic, utc_now
from edge.inference import Scored
from edge.inspection.counters import Counters
from edge.inspection.in_order import InOrder
from edge.inspection.line_recipes import LineRecipes, judged_by
from edge.inspection.recipe import Seen, Watchers
from edge.inspection.request import InspectionRequest, Outcome, fault_of
from edge.inspection.services import Services
from edge.inspection.shadow import Shadow
from edge.inspection.verdict import is_anomalous, make_error, make_verdict
from edge.inspection.viewers import ShownPart
from edge.messages import Decision, Fault, Verdict, uuid7
from edge.ops.logs import line_log
from edge.ops.worker import STOP_S, Worker
from edge.settings import LineSettings
from edge.storage.verdict_tables import RECENT_PARTS
from edge.storage.writer import WriterError

_EARLY_S = 0.01  # how long before a part is due its error is issued, so that it is there in time
_LATE_S = 0.02  # a verdict that waited for the disk until so long after the deadline is an error
_GRACE_S = 0.05  # for the disk, where a part is due anyway
_PATIENCE_S = 30.0  # for a turn of the thread
_END_S = 5.0  # how long parts under way may take when the line ends


class Listener(Protocol):
    """Who wants to know that a part has its answer."""

    def answered(self, request: InspectionRequest) -> None:
        """It has."""


class Routine(Protocol):
    """What is done now and then in the issuer's thread."""

    def look(self) -> float:
        """Does it; the seconds until it wants to be called again."""


@dataclass(eq=False)
class _Answer:
    """A verdict on its way to the disk."""

    request: InspectionRequest
    verdict: Verdict
    scored: Scored | None
    written: Future[Verdict]
    give_up_at: float
    """When it is given without the disk, seconds of `edge.clock.monotonic`."""


class Issuer:
    """One thread. A slow part never holds up another's answer, nor does a slow disk."""

    def __init__(
        self,
        line: str,
        settings: LineSettings,
        recipes: LineRecipes,
        counters: Counters,
        watchers: Watchers,
        services: Services,
    ) -> None:
        self.seq = services.outbox.last_seq(line)
        """The number of the last verdict that was made."""
        self.issued = self.seq
        """The highest number that was issued: it is on disk, or in the journal."""
        self.generation = services.outbox.generation(line)
        """Of the numbers."""
        self.shadow = Shadow(line, recipes, services.inference, services.outbox.shadows)
        """Judges parts a second time."""
        self.listener: Listener | None = None
        self.routine: Routine | None = None
        self._line = line
        self._log = line_log(__name__, line)
        self._settings = settings
        self._recipes = recipes
        self._counters = counters
        self._watchers = watchers
        self._services = services
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        # Exposures of a camera have no name but their place.
        self._in_order = InOrder(self._take) if settings.camera.trigger == "line" else None
        self._answers: deque[_Answer] = deque()
        self._lock = threading.Lock()
        self._open: set[InspectionRequest] = set()
        self._looks_at = float("-inf")  # when the thread looks again by itself; before everything while it works
        self._end: float | None = None
        self._ended = False  # whether the thread takes no more parts
        self.unkept_at = -math.inf
        """When a part was last answered without the disk, seconds of `edge.clock.monotonic`."""
        self._recent: OrderedDict[str, None] = OrderedDict()  # parts that were answered last
        for part_id in services.outbox.answered_parts(line):
            self._remember(part_id)
        self._worker = Worker(services.workers, f"issuer-{line}", self._work, patience_s=_PATIENCE_S)

    def start(self) -> None:
        """Starts the thread."""
        self._worker.start()

    def halt(self) -> None:
        """Ends when all parts under way are answered."""
        self._worker.halt()

    def join(self, timeout_s: float = STOP_S) -> None:
        """Waits for the end."""
        self._worker.stop(timeout_s)

    def add(self, request: InspectionRequest) -> bool:
        """One more part that must be answered, at its deadline at the latest; False: it is, or nobody does any more."""
        with self._lock:
            if request.decided or self._ended:
                return False
            self._open.add(request)
            if self._in_order is not None:
                self._in_order.expect(request)
            sooner = request.due is not None and request.due - _EARLY_S < self._looks_at
        if sooner:
            self._worker.wake()
        return True

    def withdraw(self, request: InspectionRequest) -> None:
        """A part that gets no answer of its own, unless it has one by now."""
        self.put(Outcome(request))

    def put(self, outcome: Outcome) -> None:
        """What became of a part; of several only the first counts. Any thread may call it."""
        if self._in_order is None:
            self._take(outcome)
        else:
            self._in_order.put(outcome)

    def _take(self, outcome: Outcome) -> None:
        self._outcomes.put(outcome)
        self._worker.wake()

    @property
    def open(self) -> int:
        """Parts that have no answer yet."""
        with self._lock:
            return len(self._open)

    def open_besides(self, request: InspectionRequest) -> int:
        """Other parts that have no answer yet."""
        with self._lock:
            return len(self._open) - (request in self._open)

    def _work(self) -> float | None:
        with self._lock:
            self._looks_at = float("-inf")
        while True:
            try:
                self._decide(self._outcomes.get_nowait())
            except queue.Empty:
                break
        self._expire()
        if self._worker.stopping:
            self._finish()
        self._settle()
        pause = 3600.0 if self.routine is None else self.routine.look()
        with self._lock:
            if self._worker.stopping and not self._answers and not self._open and self._outcomes.empty():
                self._ended = True
                return None
        return max(0.0, self._plan(monotonic() + pause) - monotonic())

    def _plan(self, latest: float) -> float:
        """When to look again: a part is due, or a verdict is given without the disk; `latest` at the latest."""
        with self._lock:
            dues = [request.due - _EARLY_S for request in self._open if request.due is not None]
            give_up = [answer.give_up_at for answer in self._answers]
            self._looks_at = min([latest, *dues, *give_up, self._end or float("inf")])
            return self._looks_at

    def _expire(self) -> None:
        """Answers the parts that are due."""
        with self._lock:
            late = [request for request in self._open if request.left() <= _EARLY_S]
        for request in sorted(late, key=lambda request: request.received):
            self._decide(_overdue(request))

    def _finish(self) -> None:
        """At the end: parts with the inference have a while, the others are answered now."""
        if self._end is None:
            self._end = monotonic() + _END_S
        with self._lock:
            left = [request for request in self._open if request.recipe is None or monotonic() >= self._end]
        for request in sorted(left, key=lambda request: request.received):
            self._decide(fault_of(request, "stopping", "the service is stopping"))

    def _decide(self, outcome: Outcome) -> None:
        """Makes the one verdict of a part, and gives it to the disk; a second outcome of the part says nothing."""
        request = outcome.request
        with self._lock:
            if request.decided:
                return
            request.decided = True
            self._open.discard(request)
        if self._in_order is not None:
            self._in_order.answered()
        scored = outcome.scored
        if scored is None and outcome.fault is None:
            return  # it was withdrawn
        again = request.part_id in self._recent
        self._remember(request.part_id)
        try:
            verdict = self._verdict(outcome).model_copy(update={"duplicate": again})
            written = self._services.outbox.issue(verdict, request.acceptance)
        except Exception as error:  # whatever it was, it costs this part only
            self._log.exception("part %s: no verdict could be made", request.part_id, extra={"seq": self.seq + 1})
            message = f"{type(error).__name__}: {error}; please report it with the log"
            self._services.alarms.count("internal", f"a part was answered `internal`: {message}", self._line)
            scored = None
            verdict = self._verdict(fault_of(request, "internal", message)).model_copy(update={"duplicate": again})
            written = self._services.outbox.issue(verdict, request.acceptance)
        now = monotonic()
        if verdict.error is not None:
            fault = verdict.error
            self._log.debug("part %s: %s: %s", request.part_id, fault.code, fault.message, extra={"seq": verdict.seq})
            self._services.alarms.count("errors", f"parts: {fault.code}: {fault.message}", self._line, about=fault.code)
        due = request.due if request.due is not None else now + self._settings.deadline_ms / 1000
        give_up_at = due if scored is not None and due > now else max(due, now) + _GRACE_S
        self._answers.append(_Answer(request, verdict, scored, written, give_up_at))
        self.seq = verdict.seq
        written.add_done_callback(lambda _: self._worker.wake())

    def _verdict(self, outcome: Outcome) -> Verdict:
        request, scored = outcome.request, outcome.scored
        recipe = request.recipe
        identity, seq, issued = uuid7(), self.seq + 1, utc_now()
        if scored is None or recipe is None:
            assert outcome.fault is not None
            slot = request.slot or self._recipes.active
            return make_error(
                self._line,
                seq,
                identity,
                request,
                outcome.fault,
                judged_by(recipe) if recipe is not None else self._recipes.judged_by(slot),
                issued=issued,
                generation=self.generation,
            )
        anomalous = is_anomalous(scored.inspection, recipe)
        return make_verdict(
            self._line,
            seq,
            identity,
            request,
            scored,
            issued=issued,
            now=monotonic(),
            archive=self._place(issued, seq, identity, "anomaly" if anomalous else "normal"),
            generation=self.generation,
        )

    def _place(self, issued: datetime, seq: int, identity: str, kind: Decision) -> str | None:
        """Where in the archive the part's picture will be."""
        return self._services.archive.plan(self._line, issued.strftime("%Y-%m-%d"), seq, identity, kind)

    def _settle(self) -> None:
        """Issues what the disk has taken, or has not taken in time, in the order of the numbers.

        Where one cannot wait any more, none before it can: a process that was killed then would leave a gap.
        """
        now = monotonic()
        end = self._end if self._end is not None else math.inf
        late = [place for place, answer in enumerate(self._answers) if now >= min(answer.give_up_at, end)]
        count = late[-1] + 1 if late else 0
        while self._answers and (count > 0 or self._answers[0].written.done()):
            answer = self._answers.popleft()
            count -= 1
            if answer.written.done():
                self._settle_written(answer, now)
            else:
                message = f"the disk has not taken the verdict in time; {self._remedy}"
                self._issue_without_disk(answer, message, slow=True)

    def _settle_written(self, answer: _Answer, now: float) -> None:
        try:
            verdict = answer.written.result()
        except WriterError as error:
            self._issue_without_disk(answer, str(error))
            return
        except Exception as error:
            self._log.exception("verdict %d was not written", answer.verdict.seq, extra={"seq": answer.verdict.seq})
            self._issue_without_disk(answer, f"internal error: {type(error).__name__}: {error}; please report it")
            return
        due = answer.request.due
        if answer.scored is not None and due is not None and now > due + _LATE_S:
            message = f"the disk took the verdict {(now - due) * 1000:.0f} ms after the deadline; {self._remedy}"
            self._issue_without_disk(answer, message, slow=True)
            return
        answer.request.acknowledge()  # of a trigger that the disk had refused; else it is long done
        self._issue(answer, verdict)

    @property
    def _remedy(self) -> str:
        return f"check the disk of {self._services.outbox.path}"

    def _issue_without_disk(self, answer: _Answer, message: str, *, slow: bool = False) -> None:
        """Answers a part `error` although the disk does not take it; it takes the answer when it can. `slow`: or not in
        time, of which the alarm says the same for every part.
        """
        request, services = answer.request, self._services
        services.outbox.pass_over(self._line, answer.verdict.seq)  # before: the next may be written at once
        answer.written.cancel()
        acceptance = request.acceptance
        if acceptance is not None and not isinstance(acceptance, int):
            acceptance.future.cancel()
        known = acceptance.accepted if acceptance is not None and not isinstance(acceptance, int) else None
        duplicate = answer.verdict.duplicate or (known is not None and known.known)
        verdict = answer.verdict.model_copy(
            update={
                "duplicate": duplicate,
                "verdict": "error",
                "error": Fault(code="state_failed", message=message),
                "score": None,
                "review": False,
                "scores": None,
                "regions": (),
                "explanation": (),
                "heatmap": None,
            }
        )
        self._counters.unkept += 1
        identity = None if request.message is None else request.message.identity
        kept = services.outbox.keep(verdict, acceptance, identity)
        self.unkept_at = monotonic()
        alarm = f"the disk is too slow for the deadline; {self._remedy}" if slow else message
        services.alarms.raise_("state_disk", alarm, self._line)
        services.publisher.note_number(verdict.seq, verdict.generation)  # a killed process would give it again
        then = None if request.message is None else request.acknowledge
        if not self._issue(answer, verdict, then) and not kept:
            self._log.error("a verdict is lost: neither disk nor broker takes it", extra={"seq": verdict.seq})

    def _issue(self, answer: _Answer, verdict: Verdict, then: Callable[[], None] | None = None) -> bool:
        """Sends a verdict on its way; whether the broker was given it at once. `then` is called when it has it."""
        request, services = answer.request, self._services
        self._counters.issued(verdict, kept=request.message is not None and request.message.waited_s > 0)
        self.issued = max(self.issued, verdict.seq)
        code = verdict.error.code if verdict.error is not None else None
        services.metrics.verdict(self._line, verdict.verdict, code, verdict.timing_ms)
        sent = services.publisher.publish_verdict(verdict, then)
        if request.frame is not None:
            self._counters.dropped += request.frame.dropped
        request.answer.set_result(verdict)
        if self.listener is not None:
            self.listener.answered(request)
        try:
            self._follow(request, answer.scored, verdict)
        except Exception as error:  # the part has its answer, and the next one is to have its own
            self._log.exception("what follows a verdict has failed", extra={"seq": verdict.seq})
            message = f"what follows a verdict has failed: {type(error).__name__}: {error}; please report it"
            services.alarms.count("internal", message, self._line)
        return sent

    def _remember(self, part_id: str | None) -> None:
        """So that a second answer of a part is marked also where the disk cannot tell."""
        if part_id is not None:
            self._recent[part_id] = None
            self._recent.move_to_end(part_id)
            if len(self._recent) > RECENT_PARTS:
                self._recent.popitem(last=False)

    def _follow(self, request: InspectionRequest, scored: Scored | None, verdict: Verdict) -> None:
        """What may come after the verdict: heatmap, picture, those who look on, the shadow, drift."""
        recipe, image, services = request.recipe, request.image, self._services
        if scored is None:
            services.viewers.show(ShownPart(verdict, image, request.corner))
            if image is not None:
                services.archive.keep(verdict, image)
            return
        assert image is not None
        assert recipe is not None
        assert request.frame is not None
        if verdict.heatmap is not None:
            services.heatmaps.send(services.publisher, verdict, scored.inspection, image)
        heatmap = scored.inspection.heatmap if verdict.verdict == "anomaly" else None
        patch_map, pixel_threshold = scored.inspection.patch_map, recipe.pixel_threshold
        services.archive.keep(verdict, image, heatmap, pixel_threshold, patch_map)
        services.viewers.show(ShownPart(verdict, image, request.corner, patch_map, pixel_threshold))
        self._watchers.show(Seen(image, scored.inspection, recipe, verdict.seq, request.frame.image, request.corner))
        if verdict.error is None:
            self.shadow.judge(verdict, image, recipe)
        if recipe.drift is not None:
            recipe.drift.update(scored.inspection.score)


def _overdue(request: InspectionRequest) -> Outcome:
    """A part that is due and was not judged, and what it waited for."""
    after_ms = (monotonic() - request.received) * 1000
    slot = request.slot
    if request.recipe is None and slot is not None and slot.loaded is None:
        message = f"after {after_ms:.0f} ms recipe {slot.stored.name} was still being made ready"
        return fault_of(request, "recipe_not_ready", f"{message}; `alfa-edge recipe prepare` does that ahead")
    where = "for the inference" if request.recipe is not None else "for its frame"
    return fault_of(request, "deadline", f"after {after_ms:.0f} ms the part still waited {where}")
