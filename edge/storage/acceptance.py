"""A trigger on its way to the disk."""

from __future__ import annotations

from concurrent.futures import Future

from edge.storage.verdict_tables import Accepted


class Acceptance:
    """A trigger on its way to the disk."""

    def __init__(self) -> None:
        self.future: Future[Accepted]
        """Done when it is on disk; or a WriterError."""
        self.written: Accepted | None = None
        """What the writer's thread has written, perhaps in a transaction that is not at its end yet."""

    @property
    def accepted(self) -> Accepted | None:
        """As the writer's thread sees it: of the transaction under way, or of one that the disk took."""
        if self.future.done() and (self.future.cancelled() or self.future.exception() is not None):
            return None
        return self.written


def trigger_of(accepted: Acceptance | int | None) -> tuple[int | None, bool]:
    """The trigger's number, and whether the line had such a part; of one that the disk refused, nothing."""
    if not isinstance(accepted, Acceptance):
        return accepted, False
    found = accepted.accepted
    return (None, False) if found is None else (found.trigger, found.known)
