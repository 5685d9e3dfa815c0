"""Where what comes in for a line waits until the line is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.inspection.triggers import LineInbox

log = logging.getLogger(__name__)


class Porch:
    """Where messages wait until their line is there: what came while the service started is old by then.

    Its methods are those of an inbox; any thread may call them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inbox: LineInbox | None = None
        self._waiting: list[Callable[[LineInbox], None]] = []

    def open(self, inbox: LineInbox) -> None:
        """Passes on what waits, as stale, and from now on what comes, as it comes."""
        with self._lock:
            waiting, self._waiting, self._inbox = self._waiting, [], inbox
        for one in waiting:
            one(inbox)

    def close(self) -> None:
        """Does no more commands."""
        if self._inbox is not None:
            self._inbox.close()

    def trigger(self, payload: bytes, *, again: bool, stale: bool) -> Future[Any] | None:
        """As `LineInbox.trigger`; what waits is done when the line has it on disk."""
        done: Future[Any] = Future()

        def pass_on(inbox: LineInbox) -> None:
            try:
                accepted = inbox.trigger(payload, again=again, stale=True)
            except ValueError as error:
                log.warning("a trigger that came at start: %s", error)
                accepted = None
            if accepted is None:
                done.set_result(None)
            else:
                accepted.add_done_callback(lambda _: done.set_result(None))

        inbox = self._or_wait(pass_on)
        return done if inbox is None else inbox.trigger(payload, again=again, stale=stale)

    def command(self, payload: bytes, *, stale: bool) -> None:
        """As `LineInbox.command`."""
        inbox = self._or_wait(lambda inbox: inbox.command(payload, stale=True))
        if inbox is not None:
            inbox.command(payload, stale=stale)

    def _or_wait(self, later: Callable[[LineInbox], None]) -> LineInbox | None:
        with self._lock:
            if self._inbox is None:
                self._waiting.append(later)
            return self._inbox
