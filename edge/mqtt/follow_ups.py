"""What is to be done once the broker has a verdict."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

_MOST = 10_000  # verdicts of which somebody wants to know when the broker has them


class FollowUps:
    """Of one line. `add` and `due` are called under the publisher's lock, `run` by the delivery thread under none."""

    def __init__(self) -> None:
        self._awaited: dict[str, Callable[[], None]] = {}  # by the id of the verdict
        self._due: deque[Callable[[], None]] = deque()

    def add(self, verdict: str, action: Callable[[], None]) -> None:
        """`action` is to be done once the broker has the verdict of this id; the oldest of too many is forgotten."""
        self._awaited[verdict] = action
        if len(self._awaited) > _MOST:
            del self._awaited[next(iter(self._awaited))]

    def due(self, verdict: str) -> bool:
        """The broker has the verdict; whether there is something to do."""
        action = self._awaited.pop(verdict, None)
        if action is not None:
            self._due.append(action)
        return action is not None

    def run(self) -> None:
        """Does what is due."""
        while self._due:
            self._due.popleft()()
