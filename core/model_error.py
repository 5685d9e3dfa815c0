"""What is raised when a model is not to be had as asked."""

from __future__ import annotations


class ModelError(ValueError):
    """The model cannot be loaded as configured; the message names the thing and the remedy."""
