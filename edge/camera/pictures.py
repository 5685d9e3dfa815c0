"""Sources of single pictures: a folder, and the simulated line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from core import image
from core.bit_depth import BitDepth
from core.image import Rgb
from core.picture_files import no_pictures, pictures_in
from edge.camera.errors import SourceError
from edge.camera.exposure import UNKNOWN


class Folder:
    """The pictures of a folder, by name; or one picture."""

    live = False
    lags = False
    notice: str | None = None
    simulated = False
    exposure = UNKNOWN
    ready = None

    def __init__(self, path: Path, loop: bool, bits: int | None = None) -> None:
        """`bits`: that pictures of 16 bits use; None: as their values say."""
        self.name: str | None = None
        self._depth = BitDepth(bits)
        self._path = path
        self._loop = loop
        self._pictures: Sequence[Path] = self._list()
        self._next = 0

    def grab(self) -> bool:
        if self._next >= len(self._pictures):
            if not self._loop:
                return False
            self._pictures = self._list()  # pictures may have come or gone
            self._next = 0
        self.name = self._pictures[self._next].name
        self._next += 1
        return True

    def skip(self, items: int) -> None:
        """Passes over the first pictures."""
        self._next = items % len(self._pictures) if self._loop else min(items, len(self._pictures))

    def retrieve(self) -> Rgb:
        before = self._depth.recognised
        try:
            picture = image.read(self._pictures[self._next - 1], self._depth)
        except image.ImageError as error:
            raise SourceError(str(error)) from error
        if self._depth.recognised != before:
            print(self._depth, file=sys.stderr)  # noqa: T201 - the handle logs it
        return picture

    def close(self) -> None:
        """There is nothing to let go of."""

    def _list(self) -> list[Path]:
        try:
            pictures = [self._path] if not self._path.is_dir() else pictures_in(self._path)
        except OSError as error:
            raise SourceError(f"{self._path}: {error.strerror or error}") from error
        if not pictures:
            raise SourceError(no_pictures(self._path))
        return pictures


class Simulation:
    """The simulated line: `sim:<class>?defects=0.2&seed=7&rate=2`, whose rate is the line's, see `edge.settings`."""

    live = False
    lags = False
    notice: str | None = None
    simulated = True
    exposure = UNKNOWN
    ready = None

    def __init__(self, source: str) -> None:
        # The other sources do without it, and a camera process starts sooner.
        from core import simline

        self.name: str | None = None
        part, _, query = source.removeprefix("sim:").partition("?")
        if part not in simline.CLASSES:
            raise SourceError(f"{source}: no such class; known are {', '.join(simline.CLASSES)}")
        options = {"defects": "0.2", "seed": "0", "rate": ""}
        try:
            given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
            if unknown := given.keys() - options.keys():
                raise ValueError(f"no such option: {', '.join(sorted(unknown))}; known are defects, seed and rate")
            options |= given
            self._defects, self._seed = float(options["defects"]), int(options["seed"])
            if not 0 <= self._defects <= 1:
                raise ValueError("defects is a share of the parts, 0 to 1")
            if self._seed < 0:
                raise ValueError("seed is 0 or more")
        except ValueError as error:
            raise SourceError(f"{source}: {error}") from error
        self._render = simline.render
        self._part = part
        self._index = -1

    def grab(self) -> bool:
        self._index += 1
        self.name = f"{self._part}-{self._index:06d}"
        return True

    def skip(self, items: int) -> None:
        """Passes over the first parts."""
        self._index += items

    def retrieve(self) -> Rgb:
        return self._render(self._part, self._seed, self._index, self._defects).image

    def close(self) -> None:
        """There is nothing to let go of."""
