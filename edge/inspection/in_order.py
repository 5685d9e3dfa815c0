"""Answers in the order of their parts, for who counts parts and knows no other name of them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge.inspection.request import InspectionRequest, Outcome


class InOrder:
    """Holds what became of a part until all parts before it have their answers. Any thread may call it.

    The parts are due in the same order, so that none waits beyond its own deadline. What was not expected is not held.
    """

    def __init__(self, put: Callable[[Outcome], None]) -> None:
        """`put`: takes the outcomes, in order, and waits for nothing."""
        self._put = put
        self._lock = threading.Lock()
        self._parts: dict[InspectionRequest, Outcome | None] = {}  # that have no answer yet, in their order

    def expect(self, request: InspectionRequest) -> None:
        """The next part."""
        with self._lock:
            self._parts[request] = None

    def put(self, outcome: Outcome) -> None:
        """What became of a part; of several only the first counts."""
        with self._lock:
            if outcome.request not in self._parts:
                self._put(outcome)
            elif self._parts[outcome.request] is None:
                self._parts[outcome.request] = outcome
                self._release()

    def answered(self) -> None:
        """Some part has its answer, be it that it was due."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        while self._parts:
            request, outcome = next(iter(self._parts.items()))
            if outcome is None and not request.decided:
                return
            del self._parts[request]
            if outcome is not None:
                self._put(outcome)
