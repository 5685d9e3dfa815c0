"""A line that does not run, with all commands: on its own state, with a model that is quick to load."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import torch

from core.alfa import Inspection
from core.image import Rgb
from edge.control.dispatcher import Dispatcher
from edge.control.offline import LineAtRest, offline_dispatcher
from edge.control.protocol import Reply, Request
from edge.inspection.recipe import Seen
from edge.messages import State
from edge.settings import Settings


def settings_at_rest(folder: Path, **line: Any) -> Settings:
    return Settings(
        service={"state_dir": folder / "state"},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32", "store": folder / "models"},
        method={"scales": [3], "stride": 3},
        lines={name: {"pack": "bottle", "camera": {"source": "sim:bottle"}} | line for name in ("one", "two")},
    )


@contextmanager
def at_rest(folder: Path, **line: Any) -> Iterator[Dispatcher]:
    """Lines `one` and `two` at rest, with what `folder` holds of them."""
    with offline_dispatcher(settings_at_rest(folder, **line)) as dispatcher:
        yield dispatcher


def asked(dispatcher: Dispatcher, command: str, *blobs: bytes, **arguments: Any) -> Reply:
    """The reply to a command."""
    return dispatcher.answer(Request(id="1", command=command, arguments=arguments, who="eva"), blobs)[0]


class LineOnFilm(LineAtRest):
    """A line that shows pictures one after the other to who watches it, and can be paused; it scores nothing."""

    def __init__(self, line: LineAtRest, picture: Callable[[int], Rgb]) -> None:
        super().__init__("one", line.recipe, line.seq)
        self.paused: str | None = None
        self._picture = picture

    @contextmanager
    def watch(self) -> Iterator[Queue[Seen | None]]:
        seen: Queue[Seen | None] = Queue(4)
        ended = threading.Event()

        def show() -> None:
            number = 0
            while not ended.is_set():
                number += 1
                inspection = Inspection.__new__(Inspection)
                object.__setattr__(inspection, "score", number / 1000)
                object.__setattr__(inspection, "patch_map", torch.full((2, 2), number / 1000))
                seen.put(Seen(self._picture(number), inspection, self.recipe, number))

        shows = threading.Thread(target=show, daemon=True)
        shows.start()
        try:
            yield seen
        finally:
            ended.set()
            while shows.is_alive():
                while not seen.empty():
                    seen.get()
                shows.join(0.01)

    def pause(self, who: str) -> None:
        self.paused = who

    def resume(self) -> None:
        self.paused = None

    def state(self) -> tuple[State, str | None]:
        return ("running", None) if self.paused is None else ("paused", self.paused)
