"""The half of a line that takes parts in: a frame for each trigger, or frame after frame, on to the scorer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from core.image import Rgb
from edge.camera.frame import Frame
from edge.camera.supervisor import Camera
from edge.clock import monotonic
from edge.inference import Inference, Scored, TooLateError
from edge.inspection.recipe import LoadedRecipe
from edge.inspection.request import Outcome, Ticket
from edge.messages import Fault
from edge.ops.systemd import Beat
from edge.settings import LineSettings

LOOK_S = 0.25
"""How often the camera is looked after while nothing comes, seconds."""
_GRAB_S = 0.1  # how often a part that waits for its frame is looked at


class Taker(threading.Thread):
    """Owns the camera. Tells `done` of each part what became of it, once; never decides whether it is too late."""

    def __init__(
        self,
        name: str,
        settings: LineSettings,
        camera: Camera,
        scorer: Inference,
        recipe: Callable[[], LoadedRecipe],
        done: Callable[[Outcome], None],
        look: Callable[[], None],
        beat: Beat,
    ) -> None:
        """`recipe` is what the next part is judged by; `look` is called about every `LOOK_S`, in this thread."""
        super().__init__(name=f"taker-{name}", daemon=True)
        self._settings = settings
        self._camera = camera
        self._scorer = scorer
        self._recipe = recipe
        self._done = done
        self._look_after = look
        self._beat = beat
        self._changed = threading.Condition()
        self._tickets: deque[Ticket] = deque()
        self._paused = False
        self._halt = False
        self._open: Ticket | None = None  # of free run: the next frame waits for its answer

    def take(self, ticket: Ticket) -> None:
        """Has a frame taken for a triggered part."""
        with self._changed:
            self._tickets.append(ticket)
            self._changed.notify()

    def pause(self, paused: bool) -> None:
        """In free run, takes no parts until it is called with False."""
        with self._changed:
            self._paused = paused
            self._changed.notify()

    def answered(self, ticket: Ticket) -> None:
        """In free run, the next part may come."""
        with self._changed:
            if self._open is ticket:
                self._open = None
            self._changed.notify()

    def halt(self) -> None:
        """Takes no more parts; those with the scorer go on."""
        with self._changed:
            self._halt = True
            self._changed.notify()

    def run(self) -> None:
        with self._camera:
            self._look()
            if self._settings.mode == "trigger":
                self._by_trigger()
            else:
                self._by_rate()
        self._beat.done()  # of one that has failed the watchdog is to notice that it has ended

    def _look(self) -> None:
        self._beat.touch()
        self._look_after()

    def _by_trigger(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._halt or self._tickets, LOOK_S)
                if self._halt:
                    return
                ticket = self._tickets.popleft() if self._tickets else None
            if ticket is None:
                self._camera.poll()
                self._look()
            else:
                self._fetch(ticket)

    def _fetch(self, ticket: Ticket) -> None:
        """A frame taken after the trigger; none where the camera is in fault, or the part is too late anyway."""
        while not self._halt and not ticket.answer.done():
            frame = self._camera.next_frame(max(0.0, min(_GRAB_S, ticket.left())), not_before=ticket.received)
            arrived = monotonic()
            self._look()
            missing = self._camera.missing()
            camera = self._camera.status
            if frame is not None:
                self._score(ticket, frame, arrived)
                return
            if missing is not None or camera.state in ("fault", "ended"):
                reason = missing or camera.reason or "there is no frame"
                self._done(Outcome(ticket, fault=Fault(code="camera_no_frame", message=reason)))
                return

    def _by_rate(self) -> None:
        rate = self._settings.camera.rate
        period = 1.0 / rate if rate else 0.0
        due = monotonic()
        while not self._halt:
            self._look()
            with self._changed:
                held = self._paused or self._open is not None
                if held:
                    self._changed.wait(LOOK_S)
            if held:
                self._camera.poll()
                continue
            pause = min(due - monotonic(), LOOK_S)
            if pause > 0:
                self._camera.poll(pause)
                continue
            frame = self._camera.next_frame(LOOK_S)
            arrived = monotonic()
            missing = self._camera.missing()
            if frame is None and missing is None:
                continue
            due = max(due + period, arrived - period)  # never hurry to catch up on missed beats
            ticket = Ticket()
            self._open = ticket
            if frame is not None:
                self._score(ticket, frame, arrived)
            elif missing is not None:
                self._done(Outcome(ticket, fault=Fault(code="camera_no_frame", message=missing)))

    def _score(self, ticket: Ticket, frame: Frame, arrived: float) -> None:
        ticket.frame, ticket.arrived, ticket.recipe = frame, arrived, self._recipe()
        if frame.health.fault is not None:
            fault = frame.health.fault
            ticket.image = frame.image
            self._done(Outcome(ticket, fault=Fault(code=fault.code, message=fault.message)))
            return
        ticket.image = self._inspected(frame.image)
        if ticket.image is None:
            height, width = frame.image.shape[:2]
            message = f"the region {self._settings.roi} is not inside the frame of {width} x {height}"
            self._done(Outcome(ticket, fault=Fault(code="roi_outside_frame", message=message)))
            return

        def scored(result: Future[Scored]) -> None:
            error = result.exception()
            if error is None:
                self._done(Outcome(ticket, scored=result.result()))
            else:
                code = "deadline" if isinstance(error, TooLateError) else "scorer_failed"
                fault = Fault(code=code, message=f"{type(error).__name__}: {error}")
                self._done(Outcome(ticket, fault=fault))

        self._scorer.submit(
            ticket.image, ticket.recipe.text, ticket.recipe.index, line=self.name, due=ticket.due
        ).add_done_callback(scored)

    def _inspected(self, image: Rgb) -> Rgb | None:
        """The inspected region of a frame, or None when it does not lie inside."""
        roi = self._settings.roi
        if roi is None:
            return image
        if roi.y + roi.height > image.shape[0] or roi.x + roi.width > image.shape[1]:
            return None
        return image[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
