"""`alfa-edge` with a scorer of known speed: a pass takes so many milliseconds and finds nothing. All else is real.

    python -m tests.support.paced MS run --config FILE

`Faults` in the control block of this process make passes slower and scores NaN.
SIGUSR1 sets the wall clock of the service an hour ahead, SIGUSR2 an hour back.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from edge import clock
from tests.support.faults import of_this_process

HOUR = timedelta(hours=1)
SCORE = 0.25  # of every part; below the usual threshold

_ahead = timedelta()


def utc_now() -> datetime:
    return datetime.now(timezone.utc) + _ahead


def _set_clock(step: timedelta) -> None:
    global _ahead
    _ahead += step


def main(pass_s: float) -> None:
    clock.utc_now = utc_now  # before anybody imports it by name
    signal.signal(signal.SIGUSR1, lambda *_: _set_clock(HOUR))
    signal.signal(signal.SIGUSR2, lambda *_: _set_clock(-HOUR))

    import numpy as np

    from core.alfa import Alfa, Inspection

    rows, columns = np.mgrid[-1:1:15j, -1:1:15j]
    found = (SCORE * np.exp(-4 * ((rows - 0.2) ** 2 + (columns + 0.3) ** 2))).astype(np.float32)  # a hill, as they are

    def inspect(
        _: Alfa, frames: Sequence[Any], texts: Sequence[Any], indexes: Any = None, *_more: object, **_named: object
    ) -> list[Inspection]:
        time.sleep(pass_s + of_this_process("pass_ms") / 1000)  # as a device computes: without the interpreter's lock
        score = math.nan if of_this_process("no_number") else SCORE
        return [
            Inspection(
                score=score,
                global_score=score,
                local_score=float(found.max()),
                patch_map=found,
                size=frame.shape[:2],
                kept_normal=np.ones(len(text.normal), bool),
                kept_abnormal=np.ones(len(text.abnormal), bool),
            )
            for frame, text in zip(frames, texts, strict=True)
        ]

    Alfa.inspect = inspect  # type: ignore[assignment, method-assign]

    from edge.cli.app import main as run

    run()


if __name__ == "__main__":
    milliseconds = float(sys.argv.pop(1))
    main(milliseconds / 1000)
