"""What a model brings to the method by its nature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """What suits a model where a `Method` leaves it open. The defaults suit a CLIP trained on whole photographs.

    Attributes:
        adaptation: As in `core.alfa.Method`.
        aligner: The same; a key of `core.aligner.ALIGNERS`.
        memory_gain: The same.
    """

    adaptation: bool = True
    aligner: str = "minimal"
    memory_gain: float = 1.0


CLIP_TRAITS = Traits()
