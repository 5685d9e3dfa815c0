"""What goes wrong with a source."""

from __future__ import annotations

from edge.redact import redact


class SourceError(Exception):
    """A source that cannot be opened or read; the message holds no credentials."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))
