"""Pictures of many parts that are needed again: on disk, so that a thousand take no more memory than one."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from core.image import Rgb, decode, encode_png
from edge.control.dispatcher import CommandError

_ON_DISK = Path("/var/tmp")  # /tmp may be in memory


class KeptPictures(Sequence[tuple[str, Rgb]]):
    """Named pictures in a temporary file, which goes with this object. For one thread at a time."""

    def __init__(self) -> None:
        """Makes the file, in the folder of TMPDIR, by default in /var/tmp.

        Raises:
            CommandError: the folder takes no file.
        """
        on_disk = _ON_DISK if "TMPDIR" not in os.environ and os.access(_ON_DISK, os.W_OK) else None
        self._folder = on_disk or Path(tempfile.gettempdir())
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - it goes with this object
        except OSError as error:
            raise self._no_room(error) from error
        weakref.finalize(self, self._file.close)
        self._names: list[str] = []
        self._ends = [0]

    def append(self, name: str, image: Rgb) -> None:
        """Keeps one more picture, losslessly.

        Raises:
            CommandError: the disk does not take it.
        """
        try:
            self._file.seek(self._ends[-1])
            self._file.write(encode_png(image))
            self._file.flush()
        except OSError as error:
            raise self._no_room(error) from error
        self._names.append(name)
        self._ends.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> tuple[str, Rgb]: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[tuple[str, Rgb]]: ...

    def __getitem__(self, place: int | slice) -> tuple[str, Rgb] | Sequence[tuple[str, Rgb]]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        start, end = self._ends[place : place + 2]
        self._file.seek(start)
        return self._names[place], decode(self._file.read(end - start), self._names[place])

    def images(self, places: Sequence[int] | None = None) -> Images:
        """The pictures at some places, by default all, without their names."""
        return Images(self, range(len(self)) if places is None else places)

    def _no_room(self, error: OSError) -> CommandError:
        return CommandError(
            f"{self._folder} does not take the pictures of the parts ({error.strerror}); make room there, or ask for "
            "fewer parts"
        )


class Images(Sequence[Rgb]):
    """Some of the kept pictures; each is read when it is used."""

    def __init__(self, kept: KeptPictures, places: Sequence[int]) -> None:
        self._kept = kept
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Rgb: ...

    @overload
    def __getitem__(self, place: slice) -> Images: ...

    def __getitem__(self, place: int | slice) -> Rgb | Images:
        if isinstance(place, slice):
            return Images(self._kept, self._places[place])
        return self._kept[self._places[place]][1]
