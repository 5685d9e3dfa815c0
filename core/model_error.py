"""What is raised when a model is not to be had as asked, or says nothing that can be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.inspection import Inspection


class ModelError(ValueError):
    """The model cannot be loaded as configured; the message names the thing and the remedy."""


class NotFiniteError(ArithmeticError):
    """What the model says of a frame is no number, which is neither normal nor anomalous.

    Attributes:
        inspections: Of all frames of the pass, as far as there are any; those whose `fault` is None are good.
    """

    def __init__(self, message: str, inspections: Sequence[Inspection] = ()) -> None:
        self.inspections = tuple(inspections)
        super().__init__(message)


def first_line(error: Exception) -> str:
    """The beginning of an error's message, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__
