"""What is raised when a model is not to be had as asked."""

from __future__ import annotations


class ModelError(ValueError):
    """The model cannot be loaded as configured; the message names the thing and the remedy."""


def first_line(error: Exception) -> str:
    """The beginning of an error's message, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__
