"""A part that must be answered exactly once, from its trigger or its frame on."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from core.image import Rgb
from edge.clock import monotonic, utc_now
from edge.messages import Fault, Verdict

if TYPE_CHECKING:
    from edge.camera.frame import Frame
    from edge.inference import Scored
    from edge.inspection.recipe import LoadedRecipe
    from edge.storage.outbox import Accepted


@dataclass(eq=False)
class Ticket:
    """A part on its way. Made by who triggers it, or by the line in free run; answered by the line's issuer alone."""

    part_id: str | None = None
    due: float | None = None
    """When it must be answered, seconds of `edge.clock.monotonic`; None: there is no hurry."""
    accepted: Future[Accepted] | None = None
    """Its row among the unanswered triggers; None in free run."""
    trigger: int | None = None
    """That row, where it is known already: of a trigger of the run before this one."""
    received: float = field(default_factory=monotonic)
    received_at: datetime = field(default_factory=utc_now)
    answer: Future[Verdict] = field(default_factory=Future)
    recipe: LoadedRecipe | None = None
    """What it is judged by, once it is with the scorer."""
    frame: Frame | None = None
    arrived: float = 0.0
    """When its frame came, seconds of `edge.clock.monotonic`."""
    image: Rgb | None = None
    """The inspected region of its frame."""

    @property
    def mode(self) -> str:
        """As the verdict says it."""
        return "free" if self.accepted is None and self.trigger is None else "trigger"

    def left(self) -> float:
        """Seconds until it is due."""
        return float("inf") if self.due is None else self.due - monotonic()


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a part: it was scored, or there is a reason why not."""

    ticket: Ticket
    scored: Scored | None = None
    fault: Fault | None = None
