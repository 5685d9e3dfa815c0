"""Browsers that look at a console, in a process of their own: each reads its WebSocket, and comes back when it is lost.

    python -m tests.support.viewers ADDRESS COUNT SILENT

SILENT of them read nothing. For each line on stdin they say on stdout what they have seen, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO, cast

_ROOT = Path(__file__).parents[2]
_AGAIN_S = 0.5
_NICE = 15  # browsers are on other machines


class LookingOn:
    """So many browsers, for as long as the context is open."""

    def __init__(self, port: int, count: int, lines: tuple[str, ...], silent: int = 0) -> None:
        address = f"ws://127.0.0.1:{port}/live?lines={','.join(lines)}"
        self._command = [sys.executable, "-m", "tests.support.viewers", address, str(count), str(silent)]

    def __enter__(self) -> LookingOn:
        self._process = subprocess.Popen(
            self._command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: os.nice(_NICE)
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def seen(self) -> dict[str, int]:
        """What all of them have seen so far: `open`, `picture`, and each `kind` of text."""
        cast(IO[bytes], self._process.stdin).write(b"\n")
        cast(IO[bytes], self._process.stdin).flush()
        found: dict[str, int] = json.loads(cast(IO[bytes], self._process.stdout).readline())
        return found

    def until(self, kind: str, count: int, timeout_s: float = 60.0) -> float:
        """Waits until they have seen `count` of a kind; how many seconds that took."""
        began = time.monotonic()
        while self.seen().get(kind, 0) < count:
            if time.monotonic() - began > timeout_s:
                raise AssertionError(f"not {count} {kind} within {timeout_s:g} s: {self.seen()}")
            time.sleep(0.1)
        return time.monotonic() - began

    def more(self, kind: str, count: int, timeout_s: float = 60.0) -> float:
        """The same of what they see from now on."""
        return self.until(kind, self.seen().get(kind, 0) + count, timeout_s)


async def _look(address: str, seen: Counter[str], silent: bool) -> None:
    from websockets.asyncio.client import connect

    while True:
        with contextlib.suppress(OSError, Exception):  # the console is away: the page tries again
            async with connect(address, max_size=None, max_queue=1 if silent else 16, compression=None) as socket:
                seen["open"] += 1
                try:
                    if silent:
                        await socket.wait_closed()
                    async for message in socket:
                        kind = "picture" if isinstance(message, bytes) else json.loads(message)["kind"]
                        seen[kind] += 1
                finally:
                    seen["open"] -= 1
        await asyncio.sleep(_AGAIN_S)


async def _run(address: str, count: int, silent: int) -> None:
    seen: Counter[str] = Counter()
    looking = [asyncio.create_task(_look(address, seen, number < silent)) for number in range(count)]
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(seen), flush=True)
    for task in looking:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
