"""What the archive holds, and what goes when it is too much: the index of its files, read once and kept up to date."""

from __future__ import annotations

import errno
import heapq
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Literal, NamedTuple

from core.files import finished_name
from edge.clock import utc_now
from edge.settings import ArchiveSettings

OVERLAY = ".jpg"
"""Ends the name of what people look at: the picture under its heatmap."""
PICTURE = ".picture.jpg"
"""Ends the name of the picture as the camera took it."""
MAP = ".map.png"
"""Ends the name of what was found in it."""

_NORMAL = "ok"  # the folder, inside a day's, of the parts that were judged normal
_LINE = re.compile(r"[a-z0-9-]{1,64}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_STEM = r"[0-9]{8,}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FILE = re.compile(rf"({_STEM})(?:{'|'.join(map(re.escape, (PICTURE, MAP, OVERLAY)))})")
_PATH = re.compile(rf"({_LINE.pattern}/{_DAY.pattern}/(?:{_NORMAL}/)?{_STEM}){re.escape(OVERLAY)}")

_GB = 1e9
_DAY_S = 86400.0
_DISK = (errno.EIO, errno.EROFS)  # the whole disk's trouble, rather than one file's


class ArchiveError(RuntimeError):
    """The archive does not have a picture, or cannot take one; the message says why, and the remedy."""


class Part(NamedTuple):
    """A kept part; parts sort by their age, the oldest first.

    Attributes:
        stamp: When it was kept, seconds of the epoch: the later of its folder's day and its files' time.
        path: Below the root and without what ends the names of its files: `<line>/<day>/[ok/]<seq>-<id>`.
        bytes: Of its files together.
    """

    stamp: float
    path: str
    bytes: int

    @property
    def day(self) -> date:
        return date.fromisoformat(self.path.split("/")[1])

    @property
    def normal(self) -> bool:
        return self.path.split("/")[2] == _NORMAL


def overlay_path(line: str, day: str, seq: int, identity: str, *, normal: bool) -> str:
    """Where a part's overlay is, below the root: `<line>/<day>/<seq>-<id>.jpg`, of normal parts in `<day>/ok`."""
    folder = f"{line}/{day}/{_NORMAL}" if normal else f"{line}/{day}"
    return f"{folder}/{seq:08d}-{identity}{OVERLAY}"


def part_path(overlay: str) -> str:
    """The `path` of the part whose overlay is at `overlay`.

    Raises:
        ArchiveError: nothing in the archive is ever called that.
    """
    found = _PATH.fullmatch(overlay)
    if found is None:
        raise ArchiveError(f"{overlay!r} is not the path of a picture in the archive, as verdicts name it")
    return found[1]


class Quota:
    """The parts below `root`, and the limits that they are held to. For one thread at a time.

    Only files that the archive has named are counted, moved or deleted, and no link is followed.

    A file that cannot be deleted is passed over, and holds up no other; see `undeletable`.

    Attributes:
        bytes: That the parts take.
        deleted: Parts that had to go.
        undeletable: The files and folders that should be gone, and why each is not; the first that was met comes first.
    """

    def __init__(self, root: Path, settings: ArchiveSettings) -> None:
        self.root = root
        self.bytes = 0
        self.deleted = 0
        self.undeletable: dict[Path, str] = {}
        self._passed_over: list[Part] = []  # those of which something could not be deleted
        self._settings = settings
        self._days: Counter[date] = Counter()  # parts of each day that is held
        self._normal: list[Part] = []  # heaps: the oldest part comes first
        self._rest: list[Part] = []

    @property
    def oldest(self) -> date | None:
        """The first day that is held."""
        return min(self._days, default=None)

    def probe(self) -> None:
        """Makes the folder where there is none, and a file in it that is gone at once: a disk that takes nothing is
        known before the first picture.

        Raises:
            OSError: the disk cannot be written.
        """
        self.root.mkdir(mode=0o750, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.root):
            pass

    def scan(self) -> None:
        """Makes the folder where there is none, tidies up after a crash, and reads anew what is there.

        Raises:
            OSError: the disk cannot be read or written.
        """
        self.probe()
        self.undeletable.clear()
        self._passed_over.clear()
        parts = list(self._scan())
        self._days = Counter(part.day for part in parts)
        self.bytes = sum(part.bytes for part in parts)
        self._normal = [part for part in parts if part.normal]
        self._rest = [part for part in parts if not part.normal]
        heapq.heapify(self._normal)
        heapq.heapify(self._rest)

    def add(self, path: str, size: int, mtime: float) -> None:
        """Counts a part whose files, of `size` bytes, have been written."""
        part = Part(_stamp(path.split("/")[1], mtime), path, size)
        self._days[part.day] += 1
        self.bytes += size
        heapq.heappush(self._normal if part.normal else self._rest, part)

    def try_again(self) -> None:
        """Deletes what could not be deleted before, where it can be now.

        Raises:
            OSError: the disk cannot be written.
        """
        left_over, self.undeletable = self.undeletable, {}
        parts, self._passed_over = self._passed_over, []
        for part in parts:
            self._delete(part)
        files = {file for part in parts for file in self._files(part)}
        for path in left_over:
            if path not in files:
                self._remove_empty(path) if path.is_dir() else self._unlink(path)

    def make_room(self, size: int) -> None:
        """Deletes what is too old, and as much as it takes for `size` more bytes to be within the limits.

        Raises:
            OSError: the disk cannot be written, or not be asked.
            ArchiveError: there is nothing left that can be deleted, and it is still too much.
        """
        self._expire()
        settings = self._settings
        over = self.bytes + size - settings.max_gb * _GB
        short = size + settings.min_free_gb * _GB - shutil.disk_usage(self.root).free
        # Reckoned once: a disk that frees its space late must not cost the whole archive.
        if self.delete(max(over, short)) > 0:
            if self._passed_over:
                raise ArchiveError(
                    f"{len(self._passed_over)} of its parts cannot be deleted, and without them nothing is left that "
                    f"could make room; {self.why_undeletable()}"
                )
            raise ArchiveError(
                f"archive.max_gb ({settings.max_gb:g}) is less than one picture takes; raise it"
                if over > short
                else f"{self.root}: its disk is full up to archive.min_free_gb ({settings.min_free_gb:g}), and nothing "
                "of the archive is left to delete; make room on it, or lower that"
            )

    def delete(self, size: float) -> float:
        """Deletes the oldest normal parts, then the oldest of the rest, until `size` bytes are gone; what is missing.

        Raises:
            OSError: the disk cannot be written.
        """
        while size > 0 and (heap := self._normal or self._rest):
            size -= self._delete_first(heap)
        return size

    def why_undeletable(self) -> str | None:
        """Which file cannot be deleted, and what to do; None where all could be."""
        if not self.undeletable:
            return None
        file, reason = next(iter(self.undeletable.items()))
        others = "" if len(self.undeletable) == 1 else ", and others"
        return f"{file}{others}: cannot be deleted: {reason}; delete it, or check its owner, mode and attributes"

    def _expire(self) -> None:
        """Deletes what is older than it may be by the last day but one that is held, or by today if that is earlier.

        A clock that jumps ahead makes a day of its own, which is the last: it has to go on until the next day before
        anything goes by it. One that jumps back makes nothing older.
        """
        if not self._days:
            return
        day = min(utc_now().date(), heapq.nlargest(2, self._days)[-1])
        limit = _midnight(day) - self._settings.days * _DAY_S
        for heap in (self._normal, self._rest):
            while heap and heap[0].stamp < limit:
                self._delete_first(heap)

    def _delete_first(self, heap: list[Part]) -> int:
        """Deletes the oldest part of a heap, or passes it over; how many bytes that frees."""
        freed = self._delete(heap[0])
        heapq.heappop(heap)  # not before: where the disk cannot be written, the part is still there
        return freed

    def _delete(self, part: Part) -> int:
        """Deletes a part, or passes it over; how many bytes that frees."""
        deleted = [self._unlink(file) for file in self._files(part)]  # all of them: each makes room
        if not all(deleted):
            left = part._replace(bytes=sum(map(_size, self._files(part))))
            self.bytes -= part.bytes - left.bytes
            self._passed_over.append(left)
            return part.bytes - left.bytes
        self.bytes -= part.bytes
        self.deleted += 1
        self._days[part.day] -= 1
        if not self._days[part.day]:
            del self._days[part.day]
        folder = (self.root / part.path).parent
        self._remove_empty(folder)
        if part.normal:
            self._remove_empty(folder.parent)
        return part.bytes

    def _files(self, part: Part) -> tuple[Path, ...]:
        return tuple(self.root / f"{part.path}{suffix}" for suffix in (OVERLAY, MAP, PICTURE))

    def _unlink(self, file: Path) -> bool:
        """Deletes a file; whether it is gone."""
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            return self._pass_over(file, error)
        return True

    def _remove_empty(self, folder: Path) -> None:
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                self._pass_over(folder, error)

    def _pass_over(self, path: Path, error: OSError) -> Literal[False]:
        if error.errno in _DISK:
            raise error
        self.undeletable[path] = error.strerror or str(error)
        return False

    def _scan(self) -> Iterator[Part]:
        """The parts that are there; drafts that a crash has left, and days that are empty, are removed."""
        for line in _folders(self.root, _LINE):
            for day in _folders(line, _DAY):
                if not _is_date(day.name):
                    continue
                for folder in (*_folders(day, re.compile(_NORMAL)), day):
                    yield from self._parts(folder, day.name)
                    self._remove_empty(folder)

    def _parts(self, folder: Path, day: str) -> Iterator[Part]:
        found: dict[str, tuple[int, float]] = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                finished = finished_name(entry.name)
                name = _FILE.fullmatch(finished or entry.name)
                if name is None or not entry.is_file(follow_symlinks=False):
                    continue
                file = entry.stat(follow_symlinks=False)
                if finished is not None or not file.st_size:  # a power cut can leave a file without its bytes
                    self._unlink(Path(entry))
                    continue
                size, mtime = found.get(name[1], (0, 0.0))
                found[name[1]] = size + file.st_size, max(mtime, file.st_mtime)
        below = folder.relative_to(self.root).as_posix()
        for stem, (size, mtime) in found.items():
            yield Part(_stamp(day, mtime), f"{below}/{stem}", size)


def _folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry) for entry in entries if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]


def _size(file: Path) -> int:
    """Bytes of a file; 0 for one that is not there, or is none."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _is_date(name: str) -> bool:
    try:
        date.fromisoformat(name)
    except ValueError:
        return False
    return True


def _stamp(day: str, mtime: float) -> float:
    return max(_midnight(date.fromisoformat(day)), mtime)


def _midnight(day: date) -> float:
    """The day's beginning, UTC, in seconds of the epoch."""
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp()
