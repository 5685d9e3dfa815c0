"""A small disk of its own, for what happens when it takes no more. Making one takes root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from types import TracebackType

TMPFS_MB = 4
EXT4_MB = 32
_LOOP = 7  # the kernel's number for devices that are files


class NoDiskError(RuntimeError):
    """This machine lets us mount nothing; the message says why."""


class SmallDisk:
    """A tmpfs of `TMPFS_MB` at a folder, for as long as the context is open. Raises NoDiskError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={TMPFS_MB}m", "tmpfs", str(self.folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", "-l", str(self.folder))

    def fill(self) -> None:
        """Somebody else's file takes all the room that there is."""
        with (self.folder / "else").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def protect(self) -> None:
        """From now on it can only be read, as a medium with a backup on it."""
        _run("mount", "-o", "remount,ro", str(self.folder))

    def clear(self) -> None:
        """And it is gone."""
        (self.folder / "else").unlink()


class FailingDisk:
    """An ext4 file system in a file, at a folder. `fail` makes the kernel find an error in it, so that it can only be
    read from then on, as a worn memory card does to a box. Raises NoDiskError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._image = folder.with_suffix(".img")

    def __enter__(self) -> FailingDisk:
        self.folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(EXT4_MB << 20)
        _run("mkfs.ext4", "-q", str(self._image))
        self._mount()
        if not self._trigger().exists():
            _run("umount", "-l", str(self.folder))
            raise NoDiskError("this kernel fails no file systems on demand")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", "-l", str(self.folder))

    def fail(self) -> None:
        """From now on it can only be read."""
        self._trigger().write_text("1")

    def repair(self) -> None:
        """Checks it and mounts it again; nobody may use it."""
        _run("umount", str(self.folder))
        subprocess.run(["e2fsck", "-p", str(self._image)], capture_output=True, check=False)  # 1: it was repaired
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def _trigger(self) -> Path:
        device = self.folder.stat().st_dev
        assert os.major(device) == _LOOP, "that is not the disk of its own"
        return Path(f"/sys/fs/ext4/loop{os.minor(device)}/trigger_fs_error")


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NoDiskError(str(error)) from error
    except subprocess.CalledProcessError as error:
        raise NoDiskError(f"a disk of its own takes root: {error.stderr.strip()}") from error
