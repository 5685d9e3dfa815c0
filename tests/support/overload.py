"""More frames than the device can inspect, and how many of them are inspected in time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.alfa import Inspection
from edge.clock import monotonic

IMAGE = np.zeros((4, 4, 3), np.uint8)


class PacedMethod:
    """In place of an `Alfa`: a pass of n frames takes `pass_s(n)` seconds and finds nothing."""

    def __init__(self, pass_s: Callable[[int], float]) -> None:
        self.pass_s = pass_s
        self.passes: list[tuple[int, float]] = []
        """Frames and measured seconds of each pass."""

    @property
    def mean_s(self) -> float:
        """What a pass took."""
        return sum(seconds for _, seconds in self.passes) / len(self.passes)

    def inspect(
        self, frames: Sequence[Any], texts: Sequence[Any], indexes: Sequence[Any], *_: object, **__: object
    ) -> list[Inspection]:
        begun = monotonic()
        time.sleep(self.pass_s(len(frames)))
        self.passes.append((len(frames), monotonic() - begun))
        return [inspection() for _ in frames]


def inspection(score: float = 0.25) -> Inspection:
    """Of a part in which nothing is found."""
    return Inspection(
        score=score,
        global_score=0.25,
        local_score=0.25,
        patch_map=np.full((2, 2), 0.25, np.float32),
        size=(4, 4),
        kept_normal=np.ones(1, bool),
        kept_abnormal=np.ones(1, bool),
    )


@dataclass
class Outcome:
    """What became of one frame. Times in seconds of the monotonic clock."""

    due: float
    answered: float
    error: BaseException | None

    @property
    def judged(self) -> bool:
        return self.error is None and self.answered <= self.due


@dataclass
class Trial:
    """What became of the frames of each line.

    Attributes:
        seconds: That frames came for.
        outcomes: By line.
    """

    seconds: float
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    def judged(self, line: str | None = None) -> int:
        """Frames inspected in time."""
        lines = self.outcomes if line is None else [line]
        return sum(outcome.judged for name in lines for outcome in self.outcomes[name])

    def share(self, capacity: float) -> float:
        """Frames inspected in time, of what a device of `capacity` frames a second can."""
        return self.judged() / (capacity * self.seconds)


def overload(
    inference: Any, method: Any, rates: Mapping[str, float], deadline_s: float, seconds: float, seed: int = 0
) -> Trial:
    """Has each line submit so many frames a second, at moments that vary by a fifth, until all are answered."""
    trial = Trial(seconds, {line: [] for line in rates})
    futures: list[Future[Any]] = []

    def feed(line: str, rate: float) -> None:
        chance = random.Random(f"{seed} {line}")
        begun = monotonic() + chance.random() / rate
        for number in range(round(rate * seconds)):
            at = begun + (number + chance.uniform(-0.2, 0.2)) / rate
            time.sleep(max(0.0, at - monotonic()))
            due = max(at, monotonic()) + deadline_s
            future = inference.submit(method, IMAGE, None, line=line, due=due)
            futures.append(future)
            future.add_done_callback(
                lambda done, due=due: trial.outcomes[line].append(Outcome(due, monotonic(), done.exception()))
            )

    feeders = [threading.Thread(target=feed, args=item) for item in rates.items()]
    for feeder in feeders:
        feeder.start()
    for feeder in feeders:
        feeder.join()
    for future in futures:
        future.exception(60)
    return trial
