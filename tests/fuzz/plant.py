"""A plant under attack: the real service with secrets planted, good triggers beside, and all that it says kept."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fuzz.canaries import PASSWORD, key_file, leaked, leaked_in, plant_environment
from tests.fuzz.tally import Tally
from tests.support import plant as plants
from tests.support.account import Account, codes, latencies
from tests.support.mosquitto import Subscription, subscribe
from tests.support.people import Shift
from tests.support.plant import Plant

RATE = 5.0  # good triggers a second, on each line
STOP_S = 10.0
"""Within which the service ends on SIGTERM."""


class AttackedPlant:
    """A plant with two lines, for as long as the context is open."""

    def __init__(self, **options: Any) -> None:
        """`options`: of `Plant`."""
        plant_environment()
        plants.PASSWORDS["edge"] = PASSWORD
        self._options = options
        self._stack = ExitStack()
        self.heard: Subscription

    def __enter__(self) -> AttackedPlant:
        with self._stack as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sandbox-")))
            key_file(self.folder)
            self.plant = stack.enter_context(Plant(**{"lines": 2} | self._options))
            self.heard = stack.enter_context(
                subscribe(self.plant.broker.port, "#", user="monitor", password=plants.PASSWORDS["monitor"])
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def alive(self) -> bool:
        """Whether the service runs."""
        process = self.plant.service.process
        return process is not None and process.poll() is None

    def is_paused(self, line: str) -> bool:
        """Whether the line has said since the last start that it is."""
        said = self.plant.monitor.state(line)
        return said is not None and said.at > self.plant.started and said.message["state"] == "paused"

    @property
    def log(self) -> str:
        """All that the service has logged."""
        return self.plant.service.log.read_text("utf-8", "replace")

    def account(self, shift: Shift, tally: Tally) -> None:
        """Each good trigger has exactly one answer; else that is a failure of the target."""
        self.plant.settle(shift, 60)
        answers = Account(self.plant.monitor.verdicts()).answers(shift.parts.values())
        tally.notes["good triggers"] = f"{len(answers)}, each one answer ({codes(answers)}; {latencies(answers)})"

    def stop(self, also: int = 0) -> float:
        """Seconds that the service takes to end on SIGTERM; it ends by itself, with exit code 0 or `also`.

        Raises:
            AssertionError: it does not.
        """
        process = self.plant.service.process
        assert process is not None
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # faulthandler says where it hangs
            time.sleep(0.5)
            process.kill()
            raise AssertionError(f"still there {STOP_S:g} s after SIGTERM:\n{self.log[-6000:]}") from None
        assert code in (0, also), f"exit code {code}:\n{self.log[-3000:]}"
        return time.monotonic() - begun

    def secrets(self, *said: str | bytes) -> int:
        """Bytes of secrets in what it said anywhere: its log, the broker's messages, files beside its state, `said`."""
        messages = sum(leaked(message.payload) + leaked(message.topic) for message in self.heard.messages)
        state = [file for file in self.plant.state.rglob("*") if file.is_file()]
        return leaked(self.log) + messages + leaked_in(state) + sum(map(leaked, said))


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def tracebacks(log: str) -> list[str]:
    """Those that the log holds, with what led to them."""
    parts = log.split("Traceback (most recent call last)")
    return [f"{before[-300:]}Traceback{after[:1500]}" for before, after in pairwise(parts)]
