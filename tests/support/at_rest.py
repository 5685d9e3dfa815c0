"""A line that does not run, with all commands: on its own state, with a model that is quick to load."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Full, Queue
from typing import Any, cast

import numpy as np

from core.image import Rgb
from core.inspection import Inspection
from edge.control.dispatcher import Dispatcher
from edge.control.line_control import LineControl
from edge.control.offline import LineAtRest, offline_dispatcher
from edge.control.protocol import Reply, Request
from edge.inspection.recipe import Seen
from edge.messages import LineHealth
from edge.settings import Settings

LINES = ("one", "two")


def settings_at_rest(folder: Path, **line: Any) -> Settings:
    return Settings(
        service={"state_dir": folder / "state"},
        model={"name": "untrained", "weights": None, "device": "cpu", "dtype": "fp32", "store": folder / "models"},
        method={"scales": [3], "stride": 3},
        lines={name: {"pack": "bottle", "camera": {"source": "sim:bottle"}} | line for name in LINES},
    )


def written_settings(folder: Path, *more: str) -> Path:
    """A file that says the same, and `more` of it."""
    path = folder / "edge.toml"
    path.write_text(
        "\n".join(more) + f"\n[service]\nruntime_dir = '{folder}'\nstate_dir = '{folder}/state'\n"
        f"[model]\nname = 'untrained'\ndevice = 'cpu'\ndtype = 'fp32'\nstore = '{folder}/models'\n"
        "[method]\nscales = [3]\nstride = 3\n"
        + "".join(f"[lines.{name}]\npack = 'bottle'\n[lines.{name}.camera]\nsource = 'sim:bottle'\n" for name in LINES)
    )
    return path


@contextmanager
def at_rest(folder: Path, **line: Any) -> Iterator[Dispatcher]:
    """Lines `one` and `two` at rest, with what `folder` holds of them."""
    with offline_dispatcher(settings_at_rest(folder, **line)) as dispatcher:
        yield dispatcher


def asked(dispatcher: Dispatcher, command: str, *blobs: bytes, **arguments: Any) -> Reply:
    """The reply to a command."""
    return dispatcher.answer(Request(id="1", command=command, arguments=arguments, who="eva"), blobs)[0]


def score_of(number: int) -> float:
    """The score of a part: another one for each, which says nothing of its neighbours'."""
    return number * 379 % 1009 / 1009


class LineOnFilm(LineAtRest):
    """Line `one`, which shows pictures one after the other to who watches it, and can be paused; it scores nothing."""

    def __init__(self, dispatcher: Dispatcher, picture: Callable[[int], Rgb]) -> None:
        """Takes the place of the line at rest."""
        lines = cast("dict[str, LineControl]", dispatcher.lines)
        super().__init__(lines["one"].recipes, lines["one"].seq)
        self.paused: str | None = None
        self._picture = picture
        lines["one"] = self

    @contextmanager
    def watch(self) -> Iterator[Queue[Seen | None]]:
        seen: Queue[Seen | None] = Queue(4)
        over = threading.Event()

        def show() -> None:
            for number in itertools.count(1):
                part = self._part(number)
                while not over.is_set():
                    try:
                        seen.put(part, timeout=0.1)
                        break
                    except Full:
                        continue
                if over.is_set():
                    return

        shows = threading.Thread(target=show)
        shows.start()
        try:
            yield seen
        finally:
            over.set()
            shows.join()

    def _part(self, number: int) -> Seen:
        score, nothing = score_of(number), np.zeros(0, bool)
        image, patch_map = self._picture(number), np.full((2, 2), score, np.float32)
        inspection = Inspection(score, score, score, patch_map, image.shape[:2], nothing, nothing)
        return Seen(image, inspection, self.recipe, number, image)

    def pause(self, who: str) -> None:
        self.paused = who

    def resume(self) -> None:
        self.paused = None

    def health(self) -> LineHealth:
        if self.paused is None:
            return LineHealth(state="running")
        return LineHealth(state="paused", level="warning", reason=self.paused)
