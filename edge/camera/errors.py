"""What goes wrong with a source."""

from __future__ import annotations

from edge.ops.redact import redact


class SourceError(Exception):
    """A source that cannot be opened or read; the message holds no credentials."""

    def __init__(self, message: str, *, absent: bool = False, final: bool = False) -> None:
        """`absent`: there is nothing at its address, see `edge.camera.source.is_there`; `final`: trying again is
        of no use before the settings, or what is installed, have changed."""
        super().__init__(redact(message))
        self.absent = absent
        self.final = final
