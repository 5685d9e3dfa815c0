"""What a line knows and the service does not: which parts are defective and, of simulated ones, where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.evaluate.datasets import Sample
from core.regions import grown
from core.simline import render

_PATCHES = (15, 15)  # of the bundled model


@dataclass(frozen=True)
class SimulatedLine:
    """One simulated line: `render`'s arguments."""

    part: str
    seed: int
    defects: float


class SimulatedScore:
    """Holds verdicts on simulated parts against what was simulated. Not for several threads at once."""

    def __init__(self, lines: dict[str, SimulatedLine]) -> None:
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


class FolderScore:
    """Holds verdicts on a folder's pictures against the folders that they are sorted into. Not for several threads."""

    def __init__(self, line: str, samples: Sequence[Sample]) -> None:
        """`samples`: the n-th is the n-th frame of `line`."""
        self._line = line
        self._samples = samples
        self.good = 0
        """Good parts seen, errors left out."""
        self.alarms = 0
        """Of them called anomalous."""
        self.errors = 0
        self.defective: Counter[str] = Counter()
        """Defective parts seen, by kind, errors left out."""
        self.escapes: Counter[str] = Counter()
        """Of them called normal."""

    def take(self, verdict: dict[str, Any]) -> None:
        """Counts one verdict, as it came over MQTT."""
        if verdict["line"] != self._line:
            return
        if verdict["verdict"] == "error":
            self.errors += 1
            return
        frame, anomaly = verdict["camera"]["frame"], verdict["verdict"] == "anomaly"
        if not 1 <= frame <= len(self._samples):
            return
        sample = self._samples[frame - 1]
        if sample.anomalous:
            self.defective[sample.defect] += 1
            self.escapes[sample.defect] += not anomaly
        else:
            self.good += 1
            self.alarms += anomaly

    def __str__(self) -> str:
        defective, escapes = sum(self.defective.values()), sum(self.escapes.values())
        if not self.good and not defective:
            return "no part was judged"
        words = (
            f"{self.good + defective} of {len(self._samples)} parts judged: {self.alarms} false alarms of {self.good} "
            f"good parts{_percent(self.alarms, self.good)}; {escapes} escapes of {defective} defective parts"
            f"{_percent(escapes, defective)}"
        )
        if defective:
            kinds = ", ".join(
                f"{kind} {self.escapes[kind]} of {count}" for kind, count in sorted(self.defective.items())
            )
            words += f"; escapes by kind: {kinds}"
        return f"{words}; {self.errors} errors" if self.errors else words


def _percent(count: int, total: int) -> str:
    return f" ({100 * count / total:.1f} %)" if total else ""
