"""A part that must be answered exactly once, from its trigger or its frame on."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from core.image import Rgb
from edge.clock import monotonic, utc_now
from edge.messages import Fault, Verdict

if TYPE_CHECKING:
    from edge.camera.frame import Frame
    from edge.inference import Scored
    from edge.inspection.line_recipes import RecipeSlot
    from edge.inspection.recipe import LoadedRecipe
    from edge.mqtt.inbound import InboundMessage
    from edge.storage.outbox import Acceptance


@dataclass(eq=False)
class InspectionRequest:
    """A part on its way. `Triggers` makes it, or in free run the acquisition; the line's issuer alone answers it."""

    mode: Literal["trigger", "free"]
    """As the verdict says it."""
    part_id: str | None = None
    due: float | None = None
    """When it must be answered, seconds of `edge.clock.monotonic`; None: there is no hurry."""
    acceptance: Acceptance | int | None = None
    """Its trigger on the way to the disk; or the trigger's number there, of the run before this one."""
    message: InboundMessage | None = None
    """What brought it, where that is still to be acknowledged once it is answered."""
    received: float = field(default_factory=monotonic)
    """When its trigger came, seconds of `edge.clock.monotonic`."""
    received_at: datetime = field(default_factory=utc_now)
    answer: Future[Verdict] = field(default_factory=Future)
    decided: bool = False
    """Whether its verdict is made; what becomes of it later is not heard."""
    choice: str | None = None
    """Name or number of the recipe that its trigger names."""
    slot: RecipeSlot | None = None
    """The recipe that it is judged by: of its line, when it came."""
    kept: Future[None] | None = None
    """Where its trigger has changed the line's recipe: done when that is on disk, or when the disk has refused it."""
    recipe: LoadedRecipe | None = None
    """What it is judged by, once it is with the inference."""
    frame: Frame | None = None
    arrived: float = 0.0
    """When its frame came, seconds of `edge.clock.monotonic`."""
    image: Rgb | None = None
    """The inspected region of its frame."""

    def acknowledge(self, trigger: int | None = None) -> None:
        """Tells the broker that its message is taken, as soon as the recipe that it names is kept, too."""
        message = self.message
        if message is None:
            return
        if self.kept is None:
            message.acknowledge(trigger)
        else:
            self.kept.add_done_callback(lambda _: message.acknowledge(trigger))

    @property
    def corner(self) -> tuple[int, int]:
        """Where in the frame its image begins: x and y, pixels."""
        frame, roi = self.frame, None if self.recipe is None else self.recipe.settings.roi
        if frame is None or roi is None or self.image is frame.image:
            return 0, 0
        return roi.x, roi.y

    def left(self) -> float:
        """Seconds until it is due."""
        return float("inf") if self.due is None else self.due - monotonic()


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a part: it was scored, or there is a reason why not; neither: it was withdrawn."""

    request: InspectionRequest
    scored: Scored | None = None
    fault: Fault | None = None


def fault_of(request: InspectionRequest, code: str, message: str) -> Outcome:
    """A part that cannot be judged."""
    return Outcome(request, fault=Fault(code=code, message=message))
