"""How many frames that were visibly destroyed on the way are judged, and how many good ones are not.

Each film is sent once for each way, rate of losses and reader, and each frame held against the same one without losses.
The reader `opencv` is what it was before, and what it is without the extra `av`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import cv2
import pytest
from rich.console import Console
from rich.table import Table

from core.image import Rgb
from edge.camera import opencv, pyav
from edge.camera.errors import SourceError
from edge.settings import CameraSettings
from tests.support.lossy import Codec, Film, HttpCamera, Losses, RtspCamera, film, lose, worst_block

WAYS = ("file", "http", "rtsp-tcp", "rtsp-udp")
RATES = (0.0, 0.001, 0.005, 0.01, 0.05)
READERS: tuple[Literal["av", "opencv"], ...] = ("av", "opencv")
FRAMES = int(os.environ.get("ALFA_EDGE_FRAMES", "300"))
WHOLE = 80  # frames at the begin, of which nothing is lost: a reader passes over some of them
SENT_PER_S = 50.0
DESTROYED = 10.0  # mean difference of a block of 16 x 16 pixels, of 255, from which on anybody sees it
SIZE = (320, 240)


@dataclass
class Count:
    """What came of one film."""

    way: str
    codec: str
    rate: float
    reader: str
    frames: int = 0
    destroyed: int = 0
    destroyed_judged: int = 0
    good: int = 0
    """Of groups without any difference, of which nothing was lost."""
    good_refused: int = 0

    def add(self, difference: float, refused: bool, in_whole_group: bool) -> None:
        self.frames += 1
        if difference > DESTROYED:
            self.destroyed += 1
            self.destroyed_judged += not refused
        if in_whole_group:
            self.good += 1
            self.good_refused += refused


@pytest.fixture(scope="module")
def films() -> Callable[[Codec], Film]:
    made: dict[Codec, Film] = {}

    def get(codec: Codec) -> Film:
        if codec not in made:
            made[codec] = film(codec, FRAMES, size=SIZE)
        return made[codec]

    return get


@pytest.fixture(scope="module")
def counts() -> Iterator[list[Count]]:
    found: list[Count] = []
    yield found
    table = Table("way", "codec", "lost", "reader", "frames", "destroyed", "of them judged", "good", "of them refused")
    for one in found:
        figures = (one.frames, one.destroyed, one.destroyed_judged, one.good, one.good_refused)
        table.add_row(one.way, one.codec, f"{one.rate:.1%}", one.reader, *(str(figure) for figure in figures))
    Console(width=120).print(table)


@contextlib.contextmanager
def sent(way: str, film: Film, losses: Losses, folder: Path) -> Iterator[CameraSettings]:
    """The film on its way."""
    if way == "file":
        path = folder / "film.ts"
        path.write_bytes(b"".join(lose(film, losses)))
        yield CameraSettings(source=str(path))
        return
    server: AbstractContextManager[HttpCamera | RtspCamera]
    server = HttpCamera(lose(film, losses), SENT_PER_S) if way == "http" else RtspCamera(film, losses, SENT_PER_S)
    with server as camera:
        yield CameraSettings(source=camera.url, transport="udp" if way == "rtsp-udp" else "tcp", read_timeout_s=2)


def shown_at_s(source: pyav.Stream | pyav.Video | opencv.Stream | opencv.Video) -> float | None:
    """When the frame grabbed last is shown, seconds from some begin; None: that was lost."""
    if isinstance(source, pyav.Stream | pyav.Video):
        frame = source._picture if isinstance(source, pyav.Stream) else source._frame
        assert isinstance(frame, av.VideoFrame)
        return frame.time
    return float(source._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def seen(settings: CameraSettings, reader: str, film: Film) -> Iterator[tuple[int, Rgb, bool]]:
    """Each frame that a reader gives out: its place in the film, its picture, and whether it is refused."""
    live = "://" in settings.source
    source: pyav.Stream | pyav.Video | opencv.Stream | opencv.Video
    if reader == "av":
        source = pyav.Stream(settings) if live else pyav.Video(Path(settings.source), False)
    else:
        source = opencv.Stream(settings) if live else opencv.Video(Path(settings.source), False)
    first = None
    with contextlib.closing(source):
        while True:
            try:
                if not source.grab():
                    return
                picture = source.retrieve()
            except SourceError:
                return  # the film is over
            time_s = shown_at_s(source)
            if time_s is None:
                assert source.exposure.damage is not None, "judged, though nobody knows which frame it is"
                continue
            if first is None:
                place = next(index for index, whole in enumerate(film.frames) if worst_block(picture, whole) == 0)
                first = place / film.fps - time_s
            yield round((time_s + first) * film.fps), picture, source.exposure.damage is not None


@pytest.mark.timeout(600)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_destroyed_is_refused_and_what_is_whole_is_not(
    way: str,
    codec: Codec,
    rate: float,
    reader: str,
    films: Callable[[Codec], Film],
    counts: list[Count],
    tmp_path: Path,
) -> None:
    shown = films(codec)
    losses = Losses(rate, range(WHOLE, FRAMES - shown.group), seed=1)  # at its end a stream is cut off besides
    count = Count(way, codec, rate, reader)
    counts.append(count)
    with sent(way, shown, losses, tmp_path) as settings:
        frames = list(seen(settings, reader, shown))
    differences = [worst_block(picture, shown.frames[place]) for place, picture, _ in frames]
    broken = {frame // shown.group for frame in losses.lost}
    broken |= {place // shown.group for (place, _, _), found in zip(frames, differences, strict=True) if found}
    for (place, _, refused), difference in zip(frames, differences, strict=True):
        count.add(difference, refused, place // shown.group not in broken)
    if reader == "av":
        assert count.frames > 0.4 * (FRAMES - WHOLE)
        assert count.destroyed_judged <= 0.01 * count.destroyed
        assert count.good_refused <= 0.02 * count.good
