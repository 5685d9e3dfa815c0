"""What goes wrong under a service process: its disk is slow, full or failed, its clock jumps, its scores are NaN.

A small library (`faults.c`) is preloaded into the process; it stands between SQLite and the kernel, so that no disk has
to be mounted. All of it is switched while the process runs, and over its restarts.

faults = Faults(folder)
subprocess.Popen(..., env=os.environ | faults.environment)
with faults.slow_disk(4.0):
    ...
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")
_CONTROL, _STRUCK = "TRIAL_FAULTS", "TRIAL_FAULTS_PATH"
_FIELDS = ("sync_ms", "write_errno", "sync_errno", "clock_ms", "synced", "no_number", "pass_ms")  # as in `faults.c`
_FORMAT = "=q"
_WIDTH = struct.calcsize(_FORMAT)


class Faults:
    """The faults of the processes that are started with `environment`; none to begin with."""

    def __init__(self, folder: Path, path: str = "/verdicts.db") -> None:
        """Compiles the library.

        Args:
            folder: Where the control block lies.
            path: Files whose path has this in it are on the disk that fails.

        Raises:
            RuntimeError: there is no compiler.
        """
        control = folder / "faults"
        control.write_bytes(bytes(_WIDTH * len(_FIELDS)))
        with control.open("r+b") as file:
            self._block = mmap.mmap(file.fileno(), 0)
        self.environment = {"LD_PRELOAD": str(_library()), _CONTROL: str(control), _STRUCK: path}

    def slow_disk(self, seconds: float) -> AbstractContextManager[None]:
        """A sync of the disk, of which each transaction does one, takes so long."""
        return self._while(sync_ms=round(seconds * 1000))

    def full_disk(self) -> AbstractContextManager[None]:
        """The disk has no room; not even for what would be written over."""
        return self._while(write_errno=errno.ENOSPC)

    def failed_disk(self) -> AbstractContextManager[None]:
        """The disk answers writes and syncs with an error."""
        return self._while(write_errno=errno.EIO, sync_errno=errno.EIO)

    def clock(self, ahead_s: float) -> AbstractContextManager[None]:
        """The wall clock is set ahead, or with a negative number back; and right again."""
        return self._while(clock_ms=round(ahead_s * 1000))

    def no_number(self) -> AbstractContextManager[None]:
        """What the scorer of `paced.py` finds is NaN."""
        return self._while(no_number=1)

    def slow_pass(self, seconds: float) -> AbstractContextManager[None]:
        """A pass of the scorer of `paced.py` takes so much longer."""
        return self._while(pass_ms=round(seconds * 1000))

    @property
    def synced(self) -> int:
        """How many syncs were slow, or failed."""
        return self._get("synced")

    @contextmanager
    def _while(self, **values: int) -> Iterator[None]:
        """These values, for as long as the context is open."""
        try:
            for field, value in values.items():
                self._set(field, value)
            yield
        finally:
            for field in values:
                self._set(field, 0)

    def _set(self, field: str, value: int) -> None:
        struct.pack_into(_FORMAT, self._block, _FIELDS.index(field) * _WIDTH, value)

    def _get(self, field: str) -> int:
        (value,) = struct.unpack_from(_FORMAT, self._block, _FIELDS.index(field) * _WIDTH)
        return int(value)


def of_this_process(field: str) -> int:
    """A value of the control block that this process was started with; 0 without one."""
    name = os.environ.get(_CONTROL)
    if name is None:
        return 0
    with Path(name).open("rb") as file:
        file.seek(_FIELDS.index(field) * _WIDTH)
        (value,) = struct.unpack(_FORMAT, file.read(_WIDTH))
    return int(value)


@functools.cache
def _library() -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        raise RuntimeError("faults of the disk need Linux and a C compiler: install the package `gcc`")
    target = Path(tempfile.mkdtemp(prefix="faults-")) / "faults.so"
    options = ("-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    command = [compiler, *options, "-o", str(target), str(_SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{compiler} cannot build {_SOURCE.name}: {done.stderr}")
    return target
