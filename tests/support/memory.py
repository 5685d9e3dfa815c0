"""How much memory a process takes."""

from __future__ import annotations

import resource
import threading
from pathlib import Path


def rss_mib() -> float:
    """What this process has in memory now, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


class Growth:
    """By how much this process grows while the context is open, at the most, above what it had before: `mib`."""

    def __enter__(self) -> Growth:
        self.mib, self._before, self._over = 0.0, rss_mib(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self.mib = max(self.mib, rss_mib() - self._before)
