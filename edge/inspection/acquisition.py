"""Takes parts in: a frame for each trigger, frame after frame, or each exposure of a camera, on to the inference."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import replace

from edge.camera.frame import Frame
from edge.camera.health import frame_fault, region_fault
from edge.camera.supervisor import Camera
from edge.clock import monotonic
from edge.inference import Inference, InferenceStoppedError, NotFiniteError, Scored, TooLateError
from edge.inspection.issuer import Issuer
from edge.inspection.line_recipes import LineRecipes, RecipeSlot
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.region import RegionError, inspected
from edge.inspection.request import InspectionRequest, Outcome, fault_of
from edge.ops.worker import STOP_S, Worker, Workers
from edge.settings import LineSettings

PATIENCE_S = 30.0
"""One turn of a line's thread that takes longer counts as a standstill, seconds."""
ANSWER_S = 0.02
"""The verdict and its way to the disk take up to so many seconds after the inference."""
CAMERA_STOP_S = 2.0
"""A camera is asked to end; after so many seconds it is made to."""
_LOOK_S = 0.25  # how often the camera is looked after while nothing comes
_GRAB_S = 0.1  # how often a part that waits for its frame is looked at
_LEAST_WITHIN_S = 0.25  # a busy machine may hold up a frame for so long, however fast the camera is


class Acquisition:
    """Owns the camera. Tells the issuer of each part what became of it; never decides whether it is too late."""

    def __init__(
        self,
        line: str,
        settings: LineSettings,
        camera: Camera,
        inference: Inference,
        recipes: LineRecipes,
        issuer: Issuer,
        workers: Workers,
    ) -> None:
        """`recipes` are the line's."""
        self._line = line
        self._settings = settings
        self._camera = camera
        self._inference = inference
        self._recipes = recipes
        self._issuer = issuer
        issuer.listener = self
        self._lock = threading.Lock()
        self._requests: deque[InspectionRequest] = deque()
        self._fetching: InspectionRequest | None = None
        self._paused = False
        self._halted = False
        self._open: InspectionRequest | None = None  # of free run: the next frame waits for its answer
        self._free_due = monotonic()
        if settings.mode == "trigger":
            work = self._serve_trigger
        else:
            work = self._serve_exposure if settings.camera.trigger == "line" else self._serve_rate
        self._worker = Worker(workers, f"acquisition-{line}", work, patience_s=PATIENCE_S)

    def start(self) -> None:
        """Starts the camera, unless that was done before, and takes parts."""
        self._camera.__enter__()
        self._free_due = monotonic()
        self._worker.start()

    def take(self, request: InspectionRequest) -> None:
        """Has a frame taken for a triggered part."""
        with self._lock:
            self._requests.append(request)
        self._worker.wake()

    def pause(self, paused: bool) -> None:
        """In free run, takes no parts until it is called with False; those that a camera exposes are answered so."""
        self._paused = paused
        self._worker.wake()

    def answered(self, request: InspectionRequest) -> None:
        """In free run, the next part may come."""
        if self._open is request:
            self._open = None
            self._worker.wake()

    def halt(self) -> None:
        """Takes no more parts; those with the inference go on."""
        self._halted = True
        self._worker.halt()

    def join(self, timeout_s: float = STOP_S) -> None:
        """Waits for the end of the thread, then ends the camera."""
        self._worker.stop(timeout_s)
        self._camera.stop(min(timeout_s, CAMERA_STOP_S))

    def _serve_trigger(self) -> float | None:
        self._limit_camera()
        if self._fetching is None or self._fetching.decided:
            with self._lock:
                self._fetching = self._requests.popleft() if self._requests and not self._halted else None
        if self._fetching is not None and not self._halted:
            if self._fetch(self._fetching):
                self._fetching = None
            return 0.0
        if self._halted:
            return None
        self._camera.poll()
        return _LOOK_S

    def _fetch(self, request: InspectionRequest) -> bool:
        """Asks for a frame exposed after the trigger; whether the part needs no other one."""
        if request.decided:
            return True
        frame = self._camera.next_frame(max(0.0, min(_GRAB_S, request.left())), not_before=request.received)
        arrived = monotonic()
        missing, camera = self._camera.missing(), self._camera.status
        if frame is not None:
            self._judge(request, frame, arrived)
            if self._camera.live:
                self._share(frame, arrived)
            return True
        if missing is not None or camera.state in ("fault", "ended"):
            reason = missing or camera.reason or "there is no frame"
            self._issuer.put(fault_of(request, "camera_no_frame", reason))
            return True
        return request.decided  # at its deadline the issuer answers it

    def _share(self, frame: Frame, arrived: float) -> None:
        """Judges by it all parts whose trigger came before it was exposed: no later frame shows them better."""
        while True:
            with self._lock:
                if not self._requests or self._requests[0].received > frame.captured:
                    return
                request = self._requests.popleft()
            if not request.decided:
                self._judge(request, replace(frame, dropped=0), arrived)

    def _limit_camera(self) -> None:
        """The camera's alarm goes by the recipe of the parts to come."""
        if (recipe := self._recipes.active.loaded) is not None:
            self._camera.limit(recipe.settings.health)

    def _serve_rate(self) -> float | None:
        self._limit_camera()
        if self._halted:
            return None
        rate = self._settings.camera.rate
        period = 1.0 / rate if rate else 0.0
        if self._paused or self._open is not None:
            self._camera.poll()
            return _LOOK_S
        pause = min(self._free_due - monotonic(), _LOOK_S)
        if pause > 0:
            self._camera.poll(pause)
            return 0.0
        frame = self._camera.next_frame(_LOOK_S)
        arrived = monotonic()
        missing = self._camera.missing()
        if self._halted:
            return None  # nobody answers it any more
        if frame is None and missing is None:
            return 0.0
        self._free_due = max(self._free_due + period, arrived - period)  # never hurry to catch up on missed beats
        request = InspectionRequest("free", slot=self._recipes.active)
        self._open = request
        if not self._issuer.add(request):
            return None
        if frame is not None:
            self._judge(request, frame, arrived)
        elif missing is not None:
            self._issuer.put(fault_of(request, "camera_no_frame", missing))
        return 0.0

    def _serve_exposure(self) -> float | None:
        """Takes the next exposure of a camera that a signal triggers: each is a part, also one that does not come."""
        self._limit_camera()
        if self._halted:
            return None
        frame = self._camera.next_frame(_LOOK_S)
        arrived = monotonic()
        if frame is None or self._halted:
            return 0.0
        for place in range(frame.number - frame.dropped, frame.number):
            message = f"exposure {place} since the camera was opened brought no frame; check cable, network and load"
            if (missed := self._exposed(frame.captured)) is None:
                return None
            self._issuer.put(fault_of(missed, "camera_missed", message))
        if (request := self._exposed(frame.captured)) is None:
            return None
        request.frame, request.arrived = replace(frame, dropped=0), arrived
        if self._paused:
            self._issuer.put(fault_of(request, "paused", "the line is paused"))
        elif (waiting := self._issuer.open_besides(request)) >= self._settings.queue:
            self._issuer.put(fault_of(request, "queue_full", f"{waiting} parts wait already"))
        else:
            self._judge(request, frame, arrived)
        return 0.0

    def _exposed(self, when: float) -> InspectionRequest | None:
        """The next part of a camera, which took it at `when`; None: nobody answers it any more."""
        due = when + self._settings.deadline_ms / 1000
        request = InspectionRequest("free", due=due, received=when, slot=self._recipes.active)
        return request if self._issuer.add(request) else None

    def _judge(self, request: InspectionRequest, frame: Frame, arrived: float) -> None:
        """Has a frame judged by the part's recipe, as soon as that is ready."""
        request.frame, request.arrived = frame, arrived
        slot = request.slot or self._recipes.active
        self._recipes.when_ready(slot, lambda: self._judge_by(request, frame, slot))

    def _judge_by(self, request: InspectionRequest, frame: Frame, slot: RecipeSlot) -> None:
        """Hands a frame to the inference, unless it is not to be judged; in any thread."""
        if request.decided:
            return
        recipe, failure = slot.loaded, slot.failure
        if recipe is None and failure is None:  # it was let go of for others at this very moment
            self._recipes.when_ready(slot, lambda: self._judge_by(request, frame, slot))
            return
        if recipe is None:
            self._issuer.put(fault_of(request, "recipe_not_ready", f"recipe {slot.stored.name}: {failure}"))
            return
        request.recipe = recipe
        fault = self._fault_of(request, frame, recipe)
        if fault is not None:
            request.image = frame.image
            self._issuer.put(fault_of(request, *fault))
            return
        roi = recipe.settings.roi
        try:
            request.image = inspected(frame.image, roi)
        except RegionError as error:
            self._issuer.put(fault_of(request, "roi_outside_frame", str(error)))
            return
        nothing = region_fault(request.image, recipe.settings.health, recipe.shots, whole=roi is None)
        if nothing is not None:
            self._issuer.put(fault_of(request, nothing.code, nothing.message))
            return

        def scored(result: Future[Scored]) -> None:
            self._issuer.put(outcome_of(request, result))

        due = None if request.due is None else request.due - ANSWER_S
        tiling = recipe.tiling((request.image.shape[0], request.image.shape[1]))
        try:
            judging = self._inference.submit(
                recipe.inspector,
                request.image,
                recipe.text,
                recipe.index,
                line=self._line,
                due=due,
                tiling=tiling,
                threshold=recipe.threshold,
            )
        except InferenceStoppedError:
            self._issuer.put(fault_of(request, "stopping", "the service is stopping"))
            return
        judging.add_done_callback(scored)

    def _fault_of(self, request: InspectionRequest, frame: Frame, recipe: LoadedRecipe) -> tuple[str, str] | None:
        """Why a frame is not judged: what it shows, or when it was exposed."""
        height, width = frame.image.shape[:2]
        fault = frame_fault(frame.health, recipe.settings.health, (width, height), self._camera.live)
        if fault is not None:
            return fault.code, fault.message
        late = frame.captured - request.received
        if request.mode == "trigger" and self._camera.live and late > (within := self._within_s()):
            message = (
                f"the picture was taken {late * 1000:.0f} ms after the trigger, when another part may have been there"
            )
            return "camera_late", f"{message}; lines.{self._line}.frame_within_ms allows {within * 1000:.0f}"
        return None

    def _within_s(self) -> float:
        """How long after its trigger a part's frame may be exposed, seconds."""
        settings = self._settings
        if settings.frame_within_ms is not None:
            return settings.frame_within_ms / 1000
        half = settings.deadline_ms / 2000
        interval = 0.0 if settings.camera.trigger == "software" else self._camera.status.interval_s
        return half if interval is None else min(half, max(2 * interval, _LEAST_WITHIN_S))


def outcome_of(request: InspectionRequest, result: Future[Scored]) -> Outcome:
    """What the inference made of a part."""
    error = result.exception()
    if error is None:
        return Outcome(request, scored=result.result())
    if isinstance(error, TooLateError):
        return fault_of(request, "deadline", str(error))
    code = "internal" if isinstance(error, NotFiniteError) else "scorer_failed"
    return fault_of(request, code, f"{type(error).__name__}: {error}")
