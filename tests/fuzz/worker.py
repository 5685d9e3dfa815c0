"""Reads hostile inputs in a process of its own, with a limit to its memory. `pool.py` starts it, and watches it.

    python -m tests.fuzz.worker TARGET SEED FOLDER LOG

Orders come on stdin, `FIRST END` a line. On stdout go `begin INDEX` before each input, and a record behind it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.canaries import leaked
from tests.fuzz.tally import Record, Target, chance_of
from tests.fuzz.targets import make_target

_ROOM = 1536 << 20  # bytes of address space beyond what the process has when it is ready
_GROWTH_KB = 640 << 10  # of resident memory by one input: a picture of 88 million pixels, and a copy of it


def attempt(target: Target, index: int, chance: random.Random) -> Record:
    """Has an input read."""
    _reset_peak()
    before, begun = _peak_kb(), time.monotonic()
    try:
        outcome = target.run(chance)
    except BaseException:
        return Record(index, "crash", (time.monotonic() - begun) * 1000, traceback.format_exc()[-3000:])
    ms = (time.monotonic() - begun) * 1000
    if leaked(outcome.said):
        return Record(index, "leak", ms, outcome.said[:3000])
    if (grown := _peak_kb() - before) > _GROWTH_KB:
        return Record(index, "memory", ms, f"{grown >> 10} MiB more")
    return Record(index, "refused" if outcome.refused else "fine", ms)


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # then the peak is that of the process so far, and grows with the first large input only
        return


def _peak_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def _limit_memory() -> None:
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + _ROOM, size + _ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(name: str, seed: int, folder: Path, log: Path) -> None:
    """Obeys until stdin ends."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    target = make_target(name, folder)
    _limit_memory()
    print("ready", file=channel)
    for order in sys.stdin:
        first, end = map(int, order.split())
        for index in range(first, end):
            print(f"begin {index}", file=channel)
            print(json.dumps(asdict(attempt(target, index, chance_of(name, seed, index)))), file=channel)
    os._exit(0)  # what an input has left running is not waited for


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
