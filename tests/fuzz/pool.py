"""The processes that read hostile inputs: one that hangs is killed, one that dies is replaced, and both are counted."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.fuzz.canaries import leaked
from tests.fuzz.tally import HANG_S, Progress, Record, Tally, total

WORKERS = {"state": 4, "broker": 4}
"""Processes of a target that waits more than it works; others have 2."""
_PART = 250  # inputs after which is noted what is done
_READY_S = 180.0
_ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """One process, replaced when it is gone."""

    def __init__(self, target: str, seed: int, folder: Path) -> None:
        self._target = target
        self._seed = seed
        self._folder = folder
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""

    def records(self, first: int, end: int) -> Iterator[Record]:
        """What comes of the inputs from `first` to before `end`."""
        while first < end:
            self._order(first, end)
            while first < end:
                if self._line(HANG_S) is None:  # the beginning of an input is at once, but for a machine that is busy
                    yield self._failed(first)
                    first += 1
                    break
                found = self._line(HANG_S)
                if found is None:
                    yield self._failed(first)
                    first += 1
                    break
                yield Record(**json.loads(found))
                first += 1

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def said(self) -> int:
        """Bytes of secrets in all that it has printed."""
        return sum(leaked(log.read_bytes()) for log in self._folder.glob("log-*"))

    def _order(self, first: int, end: int) -> None:
        if self._process is None:
            self._starts += 1
            scratch = self._folder / f"scratch-{self._starts}"
            scratch.mkdir()
            log = self._folder / f"log-{self._starts}"
            command = [sys.executable, "-m", "tests.fuzz.worker", self._target, str(self._seed), str(scratch), str(log)]
            self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._read = b""
            if self._line(_READY_S) != b"ready":
                raise RuntimeError(f"the target {self._target} does not start:\n{log.read_text()[-3000:]}")
        assert self._process.stdin is not None
        self._process.stdin.write(f"{first} {end}\n".encode())
        self._process.stdin.flush()

    def _line(self, timeout_s: float) -> bytes | None:
        """The next line; None: there is none in time, or the process is gone."""
        assert self._process is not None
        assert self._process.stdout is not None
        end = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                return None
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                return None
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line

    def _failed(self, index: int) -> Record:
        assert self._process is not None
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self.stop()
            return Record(index, "hang", HANG_S * 1000, f"no end within {HANG_S:g} s")
        log = self._folder / f"log-{self._starts}"
        self.stop()
        return Record(
            index, "crash", 0.0, f"the process has ended with {code}:\n{log.read_text('utf-8', 'replace')[-2000:]}"
        )


def run_target(name: str, seed: int, count: int, progress: Progress) -> Tally:
    """All inputs of a target that are not done yet; the figures of all of them."""
    done = progress.done(name)
    parts = [first for first in range(0, count, _PART) if f"{first}" not in done]
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_memory()) as folder:
        workers = []
        for number in range(min(WORKERS.get(name, 2), len(parts))):
            own = Path(folder) / str(number)
            own.mkdir()
            workers.append(WorkerProcess(name, seed, own))

        def work(worker: WorkerProcess) -> None:
            while parts:
                try:
                    first = parts.pop(0)
                except IndexError:
                    return
                tally, begun = Tally(), time.monotonic()
                for record in worker.records(first, min(count, first + _PART)):
                    tally.add(record)
                tally.seconds = (time.monotonic() - begun) / len(workers)
                progress.keep(name, f"{first}", tally)

        try:
            with ThreadPoolExecutor(max(1, len(workers))) as pool:
                for job in as_completed([pool.submit(work, worker) for worker in workers]):
                    job.result()
        finally:
            for worker in workers:
                worker.stop()
        printed = Tally(leaked=sum(worker.said() for worker in workers))
    if printed.leaked:
        progress.keep(name, f"printed {time.time():.0f}", printed)
    return total(progress.done(name))


def _memory() -> str | None:
    """A folder in memory: syncs of ten thousand databases would be all that is measured."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
