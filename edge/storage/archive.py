"""Pictures on disk: of each kept part what people look at, and the picture itself; one folder a line and day.

<line>/<day>/<seq>-<id>.jpg             an anomaly under its heatmap, or the picture of an error; a caption below
<line>/<day>/<seq>-<id>.picture.jpg     the inspected region as the camera took it
<line>/<day>/<seq>-<id>.map.png         what was found in it: a grey value for each patch, whose cells tile the region
<line>/<day>/ok/...                     the same of normal parts
"""

from __future__ import annotations

import errno
import io
import logging
import os
import threading
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from PIL import Image

from core.files import replacing
from core.image import MOST_BYTES, ImageError, Map, Rgb, decode, encode_heatmap, encode_jpeg
from core.overlay import Caption, overlay
from core.regular_file import READ_S, SMALL, read_regular
from edge.clock import monotonic
from edge.messages import Decision, Verdict
from edge.ops.alarms import Alarms
from edge.ops.worker import Worker, Workers
from edge.settings import ArchiveSettings
from edge.storage.retention import MAP, OVERLAY, PICTURE, ArchiveError, Quota, overlay_path, part_path

__all__ = ["Archive", "ArchiveError", "ArchiveStatus"]

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OWNER = "give the folder to this user: check its owner and mode"
_REMEDIES = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "this user's disk quota is used up; make room, or raise it",
    errno.EROFS: "its disk is mounted read-only: check it (dmesg names a faulty one) and mount it anew",
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.ENOTDIR: "a file stands where a folder should be; move it away",
    errno.EEXIST: "a file stands where a folder should be; move it away",
    errno.EIO: "check the disk (dmesg names the faulty one)",
}


@dataclass(frozen=True)
class ArchiveStatus:
    """How the archive is. The counts of pictures are since the service started.

    Attributes:
        fault: Why it takes no pictures, and what to do about it; None while it does.
        kept: Parts whose pictures are on disk.
        skipped: Parts not kept as too many waited for the disk.
        failed: Parts not kept since the archive had a fault, or their picture could not be encoded.
        deleted: Parts that had to go, by age or for room.
        undeletable: Files and folders that had to go, and could not be deleted.
        bytes: On disk.
        oldest: The first day that is held.
        waiting: Parts on their way to the disk, the one in work included.
    """

    fault: str | None = None
    kept: int = 0
    skipped: int = 0
    failed: int = 0
    deleted: int = 0
    undeletable: int = 0
    bytes: int = 0
    oldest: date | None = None
    waiting: int = 0


@dataclass(frozen=True, eq=False)
class _Kept:
    """A part on its way to the disk."""

    path: str
    image: Rgb
    heatmap: Map | None
    pixel_threshold: float
    caption: Caption
    patch_map: Map | None

    def encode(self) -> dict[str, bytes]:
        """The files by what ends their names; the overlay last, whose being there says that all are."""
        overlaid = overlay(self.image, self.heatmap, self.pixel_threshold, self.caption)
        found = {} if self.patch_map is None else {MAP: encode_heatmap(self.patch_map)}
        return {PICTURE: _encode_picture(self.image), **found, OVERLAY: encode_jpeg(overlaid)}


class Archive:
    """Keeps pictures below `settings.dir`, or nothing where there is none. Any thread may call it.

    A thread encodes, writes and deletes. A disk that takes no more is a fault in `status`, and the alarm `archive`: no
    verdict names a picture then, and the archive tries again until it can. Files that cannot be deleted are passed
    over, and are the alarm `archive_files`. Nobody else ever waits for the disk.
    """

    def __init__(
        self,
        settings: ArchiveSettings,
        workers: Workers | None = None,
        alarms: Alarms | None = None,
        *,
        retry_s: float = 30.0,
    ) -> None:
        """Starts nothing yet.

        Args:
            settings: Where, and how much.
            workers: Who watches the thread. It is not vital: a disk that hangs costs pictures, and no verdict.
            alarms: Where it says what is wrong.
            retry_s: The limits are looked after, and what failed is tried again, every so many seconds.
        """
        self._settings = settings
        self._retry_s = retry_s
        self._alarms = alarms or Alarms()
        self._lock = threading.Lock()  # guards what follows; never held while the disk works
        self._waiting: deque[_Kept] = deque()
        self._status = ArchiveStatus()
        self._unkept: Counter[str] = Counter()  # normal parts of each line since the last that was kept
        self._open = False
        self._worker: Worker | None = None
        if settings.dir is not None:
            self._quota = Quota(settings.dir, settings)
            self._worker = Worker(workers, "archive", self._work, low_priority=True, vital=False)
        self._scanned = False  # the thread's
        self._due = 0.0  # when what failed is tried again, seconds of `edge.clock.monotonic`; the thread's

    def start(self) -> None:
        """Begins, with a look at all that is there; pictures may come at once. To be called once."""
        if self._worker is not None:
            self._open = True
            self._worker.start()

    def stop(self, timeout_s: float = 5.0) -> int:
        """Takes no more, and finishes what waits within `timeout_s` seconds; how many pictures it gave up."""
        if self._worker is None:
            return 0
        with self._lock:
            self._open = False
        self._worker.stop(timeout_s)
        with self._lock:
            left = len(self._waiting)
            self._waiting.clear()
        if left:
            log.error("the archive gave up %d of the pictures that waited", left)
        return left

    def plan(self, line: str, day: str, seq: int, identity: str, verdict: Decision) -> str | None:
        """Where the part's overlay will be, below the root, for the verdict to name; None if it will not be kept.

        Anomalies and errors are kept, and of a line's normal parts one in `ok_every`. To be asked once for each part.
        """
        normal = verdict == "normal"
        with self._lock:
            if not self._open or self._status.fault is not None:
                return None
            if normal:
                if not self._settings.ok_every:
                    return None
                self._unkept[line] += 1
                if self._unkept[line] < self._settings.ok_every:
                    return None
                self._unkept[line] = 0
        return overlay_path(line, day, seq, identity, normal=normal)

    def keep(
        self,
        verdict: Verdict,
        image: Rgb,
        heatmap: Map | None = None,
        pixel_threshold: float = 1.0,
        patch_map: Map | None = None,
    ) -> bool:
        """Takes the pictures of a part whose verdict names a place for them, or is an error; False if not.

        Args:
            verdict: As issued. An error without a heatmap names no place: its own follows from its line, day, seq, id.
            image: The inspected region. It is not copied, and must stay as it is.
            heatmap: Of its size; drawn over anomalies.
            pixel_threshold: That of the heatmap's regions.
            patch_map: What the heatmap was made of, float32 [rows, cols] in [0, 1].
        """
        path = verdict.heatmap.archive if verdict.heatmap is not None else None
        if path is None and verdict.verdict == "error":
            day = f"{verdict.issued_at:%Y-%m-%d}"
            path = overlay_path(verdict.line, day, verdict.seq, verdict.id, normal=False)
        with self._lock:
            if not self._open or (path is None and verdict.verdict == "normal"):
                return False
            if path is None or self._status.fault is not None:
                self._count(failed=1)
                return False
            if len(self._waiting) >= self._settings.queue:
                self._count(skipped=1)
                return False
            shown = None if verdict.verdict == "normal" else heatmap
            self._waiting.append(_Kept(part_path(path), image, shown, pixel_threshold, _caption(verdict), patch_map))
        if self._worker is not None:
            self._worker.wake()
        return True

    @property
    def status(self) -> ArchiveStatus:
        """How it is now."""
        with self._lock:
            return replace(self._status, waiting=len(self._waiting))

    @property
    def root(self) -> Path | None:
        """The folder for pictures; None: there is none."""
        return self._settings.dir

    @property
    def keeps(self) -> bool:
        """Whether there is one."""
        return self.root is not None

    def picture(self, path: str) -> Rgb:
        """The inspected region of a part, as the camera took it, by the path that its verdict names. Reads the disk.

        Raises:
            ArchiveError: nothing is kept; it is gone, or was never written; or `path` is none of the archive's.
        """
        try:
            return decode(self.picture_file(path), f"{self._settings.dir}/{part_path(path)}{PICTURE}")
        except ImageError as error:
            raise ArchiveError(f"the picture of {path} cannot be read: {error}") from error

    def picture_file(self, path: str, timeout_s: float = READ_S) -> bytes:
        """The file of the same, JPEG, within `timeout_s` seconds. Raises ArchiveError as `picture`."""
        return self._read(path, PICTURE, "picture", MOST_BYTES, timeout_s)

    def map_file(self, path: str, timeout_s: float = READ_S) -> bytes:
        """What was found in the part: PNG, 8-bit grey, 0..255 for 0..1. Raises ArchiveError as `picture`."""
        return self._read(path, MAP, "map", SMALL, timeout_s)

    def _read(self, path: str, suffix: str, what: str, most: int, timeout_s: float) -> bytes:
        root = self._settings.dir
        if root is None:
            raise ArchiveError("no pictures are kept; set archive.dir")
        name = f"{part_path(path)}{suffix}"
        file = root / name
        if os.path.realpath(file) != f"{os.path.realpath(root)}/{name}":
            raise ArchiveError(f"{path!r} leads through a link; the archive follows none")
        try:
            return read_regular(file, most, timeout_s)
        except FileNotFoundError as error:
            raise ArchiveError(f"the {what} of {path} is gone, or was never written; choose a newer one") from error
        except OSError as error:
            raise ArchiveError(f"the {what} of {path} cannot be read: {file}: {error.strerror or error}") from error

    def _work(self) -> float | None:
        """What there is to do; the seconds until the limits are looked after again."""
        quota, now = self._quota, monotonic()
        if now < self._due and self._status.fault is not None and self._open:
            return self._due - now  # woken by a picture that came before the fault was known
        try:
            if not self._scanned:
                quota.scan()
                log.info("archive %s: %.1f GB, read in %.1f s", quota.root, quota.bytes / 1e9, monotonic() - now)
                self._scanned = True
            elif now >= self._due:
                quota.try_again()
            quota.make_room(0)
            self._finish()
            self._tell(None)
        except (OSError, ArchiveError) as error:
            # Another disk may be there the next time; a full one is still the same.
            self._scanned &= isinstance(error, ArchiveError) or error.errno in _FULL
            self._tell(_in_words(error, quota.root))
        except Exception as error:
            self._tell(f"internal error: {type(error).__name__}: {error}; restart the service")
            raise
        if now >= self._due:
            self._due = monotonic() + self._retry_s
        return self._due - monotonic() if self._open else None

    def _finish(self) -> None:
        """Writes what waits. A part that the disk does not take goes on waiting."""
        quota = self._quota
        while True:
            with self._lock:
                if not self._waiting:
                    return
                kept = self._waiting[0]
            try:
                files = kept.encode()
            except Exception as error:  # one that has no picture in it must not hold up the rest
                message = f"a picture of {kept.path} could not be encoded: {type(error).__name__}: {error}"
                self._alarms.count("archive", message, about="encoding")
                self._done(kept, failed=1)
                continue
            size = sum(map(len, files.values()))
            quota.make_room(size)
            try:
                mtime = _write(quota.root, kept.path, files)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                quota.delete(2 * size)  # which is no quota's fault: another program's files, or the disk's inodes
                mtime = _write(quota.root, kept.path, files)
            quota.add(kept.path, size, mtime)
            self._done(kept, kept=1)

    def _done(self, part: _Kept, *, kept: int = 0, failed: int = 0) -> None:
        with self._lock:
            if self._waiting and self._waiting[0] is part:  # not given up by `stop`
                self._waiting.popleft()
            self._count(kept=kept, failed=failed)
            self._measure()

    def _tell(self, fault: str | None) -> None:
        """Says in the status and the alarms how it went."""
        with self._lock:
            self._status = replace(self._status, fault=fault)
            self._measure()
        message = _takes_none(fault) if fault is not None else None
        self._alarms.set("archive", message, about="disk")
        self._alarms.set("archive_files", self._quota.why_undeletable())

    def _count(self, *, kept: int = 0, skipped: int = 0, failed: int = 0) -> None:
        """With the lock held; so is `_measure`."""
        now = self._status
        self._status = replace(now, kept=now.kept + kept, skipped=now.skipped + skipped, failed=now.failed + failed)

    def _measure(self) -> None:
        quota = self._quota
        self._status = replace(
            self._status,
            deleted=quota.deleted,
            undeletable=len(quota.undeletable),
            bytes=quota.bytes,
            oldest=quota.oldest,
        )


def archive_fault(root: Path, settings: ArchiveSettings) -> str | None:
    """Why an archive at `root` would take no pictures, as its alarm says it; None: it would. No picture is touched."""
    try:
        Quota(root, settings).probe()
    except OSError as error:
        return _takes_none(_in_words(error, root))
    return None


def _takes_none(fault: str) -> str:
    return f"the archive takes no pictures: {fault}"


def _caption(verdict: Verdict) -> Caption:
    """What people read below the picture; the time is that of this machine's zone."""
    return Caption(
        verdict=verdict.verdict,
        score=verdict.score,
        threshold=None if verdict.error is not None else verdict.threshold,
        provisional=verdict.provisional,
        reason="" if verdict.error is None else verdict.error.code,
        line=verdict.line,
        time=(verdict.captured_at or verdict.issued_at).astimezone(),
    )


def _encode_picture(image: Rgb) -> bytes:
    """JPEG that a model can be shown again: quality 95, colour at full resolution (4:4:4)."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _write(root: Path, path: str, files: dict[str, bytes]) -> float:
    """Writes a part's files, whole or not at all, and returns their time, seconds of the epoch.

    They are not synced: after a power cut the last ones may be missing, which costs a picture and no verdict; syncing
    would make the verdicts' own database, which is synced, wait for the pictures.

    Raises:
        OSError: the disk does not take them.
        ArchiveError: a link stands where a folder should be.
    """
    folder = root
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    *levels, stem = path.split("/")
    for level in levels:
        folder = folder / level
        folder.mkdir(mode=0o750, exist_ok=True)
        if folder.is_symlink():
            raise ArchiveError(f"{folder} is a link, and the archive follows none; mount the other disk there instead")
    with ExitStack() as stack:
        for suffix in reversed(files):  # the last to be made takes its place first
            draft = stack.enter_context(replacing(folder / f"{stem}{suffix}"))
            draft.write_bytes(files[suffix])
        return draft.stat().st_mtime


def _in_words(error: OSError | ArchiveError, root: Path) -> str:
    if isinstance(error, ArchiveError):
        return str(error)
    remedy = _REMEDIES.get(error.errno or 0, "check the folder, its owner and its disk")
    return f"{error.filename or root}: {error.strerror or error}; {remedy}"
