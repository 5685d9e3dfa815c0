"""One line: what may be asked of it."""

from __future__ import annotations

import queue
from contextlib import AbstractContextManager

from edge.camera.supervisor import Camera
from edge.clock import monotonic
from edge.inspection.acquisition import ANSWER_S, Acquisition
from edge.inspection.counters import Counters
from edge.inspection.issuer import Issuer
from edge.inspection.line_recipes import LineRecipes, UnknownRecipeError
from edge.inspection.recipe import LoadedRecipe, Seen, Watchers
from edge.inspection.request import InspectionRequest, fault_of
from edge.inspection.services import Services
from edge.inspection.status import Status
from edge.messages import Fault, LineHealth, LineStats
from edge.ops.alarms import Alarm
from edge.ops.metrics import Gauges
from edge.ops.worker import STOP_S
from edge.settings import LineSettings

_LOOK_S = 0.25  # between two looks at what the state depends on


class Line:
    """Two threads: the acquisition has parts scored, the issuer answers them. Any thread may call the methods."""

    def __init__(
        self,
        name: str,
        settings: LineSettings,
        recipes: LineRecipes,
        camera: Camera,
        services: Services,
    ) -> None:
        self.line = name
        self.settings = settings
        self.counters = Counters()
        self.recipes = recipes
        self._watchers = Watchers()
        self._services = services
        self._issuer = Issuer(name, settings, recipes, self.counters, self._watchers, services)
        self._status = Status(name, self.counters, camera, recipes, self._issuer, services, settings.review_queue)
        self._acquisition = Acquisition(
            name, settings, camera, services.inference, recipes, self._issuer, services.workers
        )
        self._issuer.routine = self
        self._looked_at = 0.0
        self._stats_at = monotonic()

    def start(self) -> None:
        """Answers what the run before left without an answer, then takes parts."""
        for left in self._services.outbox.unanswered(self.line):
            request = InspectionRequest("trigger", left.part_id, acceptance=left.trigger, received_at=left.received_at)
            message = f"the service was restarted; the trigger had come at {left.received_at.isoformat()}"
            self._issuer.put(fault_of(request, "restart", message))
        self._issuer.start()
        self._acquisition.start()

    def halt(self) -> None:
        """Takes no more parts, and ends when those under way are answered."""
        self._status.halt()
        self._acquisition.halt()
        self._issuer.halt()
        self._watchers.close()  # who waits for its parts must not hold up the end

    def join(self, timeout_s: float = STOP_S) -> None:
        """Waits for the end: of the camera first, as no part needs a frame any more."""
        end = monotonic() + timeout_s
        self._acquisition.join(timeout_s)
        self._issuer.join(end - monotonic())
        self._services.publisher.publish_stats(self.stats())

    def trigger(self, part_id: str, deadline_ms: int | None = None, recipe: str | None = None) -> InspectionRequest:
        """Asks for the answer to one part, as a console does; returns at once.

        Raises:
            ValueError: `part_id` is no text that can be written as UTF-8; or the line is stopping.
        """
        part_id.encode()
        if self._status.halted:
            raise ValueError("the service is stopping; trigger the part again when it runs")
        now = monotonic()
        due = now + (deadline_ms or self.settings.deadline_ms) / 1000
        request = InspectionRequest("trigger", part_id, due, received=now, choice=recipe)
        request.acceptance = self._services.outbox.accept(self.line, part_id, request.received_at)
        self.take(request)
        return request

    def take(self, request: InspectionRequest, *, late: str | None = None) -> None:
        """Judges a part, or answers at once why not.

        Args:
            request: The part. Where its trigger names a recipe, that is the line's from now on, whatever becomes of
                the part.
            late: Why the part is not to be judged any more.
        """
        self.counters.triggers += 1
        unknown = self.choose_recipe(request)
        fault = self._refusal(request, late) or unknown
        self._services.metrics.trigger(self.line, fault.code if fault is not None else "accepted")
        if fault is not None:
            self._issuer.put(fault_of(request, fault.code, fault.message))
            return
        if self._issuer.add(request):
            self._acquisition.take(request)

    def choose_recipe(self, request: InspectionRequest, *, repeated: bool = False) -> Fault | None:
        """Gives the part its recipe: the one that its trigger names, which is then the line's; else the line's.

        `repeated`: whether its message came before. Returns why it can have none.
        """
        request.slot = self.recipes.active
        if request.choice is not None:
            try:
                request.slot, request.kept = self.recipes.choose(request.choice, repeated=repeated)
            except UnknownRecipeError as error:
                return Fault(code="recipe_unknown", message=str(error))
        return None

    def expect(self, request: InspectionRequest) -> None:
        """A part that is to be judged, unless its message is a repetition: `take` or `withdraw` follows, as soon as the
        disk says so. Until then nothing is done but that it is answered when it is due.
        """
        self._issuer.add(request)

    def withdraw(self, request: InspectionRequest) -> None:
        """A part that was expected, and that another message has brought already."""
        self._issuer.withdraw(request)

    def pause(self, who: str) -> None:
        """Judges no parts until `resume`; triggers are answered `error` `paused`."""
        self._acquisition.pause(True)
        self._status.pause(f"by {who}")

    def resume(self) -> None:
        """Judges parts again."""
        self._acquisition.pause(False)
        self._status.pause(None)

    @property
    def paused(self) -> str | None:
        """By whom the line is paused, in words; None: it is not."""
        return self._status.paused

    @property
    def seq(self) -> int:
        """The number of the last verdict."""
        return self._issuer.issued

    def number_on(self, seq: int, generation: int) -> None:
        """The numbers go on above `seq`, and in a generation after `generation`, where the broker knows them though the
        disk does not. For the issuer's thread, or before the start.
        """
        outbox = self._services.outbox
        if seq > self._issuer.seq or outbox.is_behind(self.line, generation):
            self._issuer.generation = outbox.number_on(self.line, seq, generation)
            self._issuer.seq = self._issuer.issued = max(seq, self._issuer.seq)

    @property
    def shadow_counts(self) -> dict[str, int]:
        """What became of the parts that the line's shadow was handed, since the service started."""
        return self._issuer.shadow.counts

    @property
    def recipe(self) -> LoadedRecipe:
        """What the next part will be judged by. Raises RecipeNotReadyError: it is not ready."""
        return self.recipes.loaded

    def watch(self) -> AbstractContextManager[queue.Queue[Seen | None]]:
        """What the line scores from now on, as it comes; None when it has ended. Who is slow misses pictures."""
        return self._watchers.watch()

    @property
    def in_review(self) -> int:
        """Parts that wait for a person's review."""
        return self.counters.in_review

    def note_review(self, waiting: int) -> None:
        """So many parts wait for a person's review, as the history and the answers have it."""
        self.counters.in_review = waiting

    def say(self, words: str | None) -> None:
        """Asks something of the people at the line, in its state, until it is called with None."""
        self._status.ask(words)

    def health(self) -> LineHealth:
        """How the line is, and why."""
        return self._status.health()

    def alarms(self) -> list[Alarm]:
        """What is wrong with the line or the service."""
        return self._status.alarms()

    def stats_so_far(self) -> dict[str, int]:
        """The verdicts by their kind, since the service started."""
        return self.counters.by_kind()

    def stats(self) -> LineStats:
        """The counters, and the latencies since the last call."""
        return self._status.stats()

    def gauges(self) -> Gauges:
        """What Prometheus asks for."""
        return self._status.gauges()

    def look(self) -> float:
        """Says state and counters when it is time, in the issuer's thread; the seconds until it is again."""
        now = monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            subscriptions = self._services.publisher.subscriptions
            if subscriptions is not None:  # a broker that was away at the start may tell it late
                self.number_on(subscriptions.last_seq, subscriptions.last_generation)
            self._status.publish()
        if now >= self._stats_at:
            self._stats_at = now + self._services.stats_interval_s
            self._services.publisher.publish_stats(self.stats())
        return max(0.0, min(self._looked_at + _LOOK_S, self._stats_at) - monotonic())

    def _refusal(self, request: InspectionRequest, late: str | None) -> Fault | None:
        """Why a trigger is answered at once."""
        paused = self._status.paused
        if late is not None:
            return Fault(code="late", message=late)
        if self._status.halted:
            return Fault(code="stopping", message="the service is stopping")
        if paused is not None:
            return Fault(code="paused", message=f"the line is paused {paused}")
        if self.settings.mode == "free":
            return Fault(code="free_run", message=f"the line takes no triggers; set lines.{self.line}.mode = 'trigger'")
        if (waiting := self._issuer.open_besides(request)) >= self.settings.queue:
            return Fault(code="queue_full", message=f"{waiting} parts wait already")
        due = float("inf") if request.due is None else request.due - ANSWER_S
        recipe = None if request.slot is None else request.slot.loaded
        if recipe is None:  # it waits for its recipe first
            return None
        behind_s = self._services.inference.ready_at(recipe.inspector, self.line) - due
        if behind_s > 0:
            message = f"with the parts of all lines before it, it would be judged {behind_s:.1f} s after its deadline"
            return Fault(code="queue_full", message=message)
        return None
