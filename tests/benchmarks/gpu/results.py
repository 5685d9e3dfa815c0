"""Results: one line each, said at once and kept as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def first_line(error: BaseException) -> str:
    """What an error says first."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else ""


def shown(value: object) -> str:
    """A value as it stands in a line: four figures of a number, quotes around a text with blanks."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text else text


class Results:
    """The results of one step.

    Args:
        step: Its name, the first word of each line.
        file: JSON lines are appended to it; None: they are only said.
        dry: Whether it runs without CUDA; every result says so, lest a figure of it be taken for a measurement.
    """

    def __init__(self, step: str, file: Path | None, *, dry: bool) -> None:
        self.failures = 0
        self.step = step
        self._said = sys.stdout
        self._file = file
        self._dry = dry

    def add(self, what: str, **figures: Any) -> None:
        """One result."""
        print(
            self.step,
            "dry" if self._dry else "gpu",
            what,
            *(f"{k}={shown(v)}" for k, v in figures.items()),
            flush=True,
            file=self._said,
        )
        if self._file is not None:
            with self._file.open("a") as sink:
                sink.write(json.dumps({"step": self.step, "dry": self._dry, "what": what, **figures}) + "\n")

    def hold(self, target: str, measured: float, *, most: float | None = None, least: float | None = None) -> None:
        """Holds a figure against a target, which a dry run cannot miss: `met` or `short`."""
        missed = (most is not None and measured > most) or (least is not None and measured < least)
        bounds = {name: value for name, value in (("most", most), ("least", least)) if value is not None}
        self.add("not held" if self._dry else "short" if missed else "met", target=target, measured=measured, **bounds)

    def left_out(self, part: str, why: str) -> None:
        """Something that could not be run here."""
        self.add("left out", part=part, why=why)

    def failed(self, why: str) -> None:
        """Something that should have worked."""
        self.failures += 1
        self.add("failed", why=why)
