"""What a simulated line knows and the service does not: which parts are defective, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.regions import grown
from core.simline import render

_PATCHES = (15, 15)  # of the bundled model


@dataclass(frozen=True)
class Simulated:
    """One simulated line: `render`'s arguments."""

    part: str
    seed: int
    defects: float


class Truth:
    """Holds verdicts on simulated parts against what was simulated. Not for several threads at once."""

    def __init__(self, lines: dict[str, Simulated]) -> None:
        self._lines = lines
        self.parts = 0
        """Verdicts seen, errors left out."""
        self.right = 0
        """Of them right."""
        self.defective = 0
        self.found = 0
        """Defective parts that were called anomalous."""
        self.located = 0
        """Of those found, the ones whose heatmap has its peak on a defect, or within a patch of it."""

    def take(self, verdict: dict[str, Any]) -> None:
        """Counts one verdict, as it came over MQTT."""
        if verdict["line"] not in self._lines or verdict["verdict"] == "error":
            return
        line = self._lines[verdict["line"]]
        sample = render(line.part, line.seed, verdict["camera"]["frame"] - 1, line.defects)
        defective, anomaly = bool(sample.defects), verdict["verdict"] == "anomaly"
        self.parts += 1
        self.right += defective == anomaly
        self.defective += defective
        if defective and anomaly:
            self.found += 1
            x, y = verdict["heatmap"]["peak"]
            self.located += bool(grown(sample.mask > 0, _PATCHES)[y, x])

    def __str__(self) -> str:
        if not self.parts:
            return "no part was judged"
        good, missed = self.parts - self.defective, self.defective - self.found
        alarms = self.parts - self.right - missed
        return (
            f"{self.parts} parts, accuracy {self.right / self.parts:.3f}: {self.found} of {self.defective} defective "
            f"parts found, {self.located} of them with the heatmap's peak on the defect; {alarms} of {good} good parts "
            "called anomalous"
        )
