"""The paper's own figures, in percent, for the two data sets that it measures.

Zhu, Cai, Deng, Ooi, Wu: Do LLMs Understand Visual Anomalies? Uncovering LLM's Capabilities in Zero-shot Anomaly
Detection. ACM MM 2024, doi 10.1145/3664647.3681190.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from core.evaluate.result import METRICS

SOURCE = (
    "Zhu et al., Do LLMs Understand Visual Anomalies? Uncovering LLM's Capabilities in Zero-shot Anomaly Detection, "
    "ACM MM 2024, doi 10.1145/3664647.3681190"
)

Benchmark = Literal["MVTec AD", "VisA"]

MVTEC = frozenset(
    {
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw"),
        *("tile", "toothbrush", "transistor", "wood", "zipper"),
    }
)
"""The 15 classes of MVTec AD."""

VISA = frozenset(
    {
        *("candle", "capsules", "cashew", "chewinggum", "fryum", "macaroni1", "macaroni2"),
        *("pcb1", "pcb2", "pcb3", "pcb4", "pipe_fryum"),
    }
)
"""The 12 classes of VisA."""

METHODS: Mapping[str, str] = MappingProxyType({"alfa": "ALFA", "winclip": "WinCLIP"})
"""Variants that the paper measures as methods of their own, and their names there."""

COMPONENTS: Mapping[str, str] = MappingProxyType(
    {"aligner": "ALFA without aligner", "contextual": "ALFA without contextual scoring"}
)
"""What the paper's ablation leaves out: a word of a variant's name, and the name of the row."""


@dataclass(frozen=True)
class PaperRow:
    """One line of the paper's tables: means over classes, in percent."""

    method: str
    variant: str
    """The variant of an evaluation that it belongs to: `alfa`, `winclip`, or a key of `COMPONENTS`."""
    shots: int
    table: str
    """Where it stands in the paper."""
    means: tuple[float, ...]
    """In the order of `METRICS`."""
    deviations: tuple[float, ...] | None
    """Over five seeds; None at 0 shots."""

    def mean(self, metric: str) -> float:
        """The mean of one of `METRICS`."""
        return self.means[METRICS.index(metric)]

    def deviation(self, metric: str) -> float | None:
        """The deviation of one of `METRICS`."""
        return None if self.deviations is None else self.deviations[METRICS.index(metric)]


_Figures = tuple[float, float, float, float, float, float]
_Line = tuple[str, int, _Figures, _Figures | None]

_LINES: Mapping[Benchmark, tuple[_Line, ...]] = MappingProxyType(
    {
        "MVTec AD": (
            ("winclip", 0, (91.8, 96.5, 92.9, 85.1, 64.6, 31.7), None),
            ("alfa", 0, (93.2, 97.3, 93.9, 90.6, 78.9, 36.6), None),
            ("winclip", 1, (93.1, 96.5, 93.7, 95.2, 87.1, 55.9), (2.0, 0.9, 1.1, 0.5, 1.2, 2.7)),
            ("alfa", 1, (94.5, 97.9, 94.9, 96.8, 89.6, 57.7), (1.5, 1.4, 0.9, 0.5, 1.2, 1.6)),
            ("winclip", 2, (94.4, 97.0, 94.4, 96.0, 88.4, 58.4), (1.3, 0.7, 0.8, 0.3, 0.9, 1.7)),
            ("alfa", 2, (95.9, 98.4, 95.6, 97.2, 91.0, 59.9), (0.9, 0.6, 0.6, 0.4, 0.9, 1.6)),
            ("winclip", 4, (95.2, 97.3, 94.7, 96.2, 89.0, 59.5), (1.3, 0.6, 0.8, 0.3, 0.8, 1.8)),
            ("alfa", 4, (96.5, 98.9, 96.0, 97.6, 91.6, 60.3), (0.6, 0.6, 0.7, 0.3, 0.6, 1.0)),
            ("aligner", 0, (92.0, 96.5, 93.0, 85.9, 68.8, 32.2), None),
            ("contextual", 0, (91.6, 96.3, 92.8, 87.2, 69.9, 33.2), None),
        ),
        "VisA": (
            ("winclip", 0, (78.1, 81.2, 79.0, 79.6, 56.8, 14.8), None),
            ("alfa", 0, (81.2, 84.6, 81.9, 85.9, 63.8, 15.9), None),
            ("winclip", 1, (83.8, 85.1, 83.1, 96.4, 85.1, 41.3), (4.0, 4.0, 1.7, 0.4, 2.1, 2.3)),
            ("alfa", 1, (85.2, 87.3, 84.9, 97.2, 86.4, 42.9), (2.0, 2.1, 1.6, 0.8, 1.2, 1.9)),
            ("winclip", 2, (84.6, 85.8, 83.0, 96.8, 86.2, 43.5), (2.4, 2.7, 1.4, 0.3, 1.4, 3.3)),
            ("alfa", 2, (86.4, 87.5, 85.2, 97.7, 87.2, 45.6), (1.2, 1.8, 1.4, 0.8, 1.2, 2.0)),
            ("winclip", 4, (87.3, 88.8, 84.2, 97.2, 87.6, 47.0), (1.8, 1.8, 1.6, 0.2, 0.9, 3.0)),
            ("alfa", 4, (88.2, 89.4, 85.5, 98.1, 89.2, 47.9), (0.9, 1.4, 1.2, 0.4, 1.2, 2.6)),
        ),
    }
)


def benchmark(class_names: Iterable[str]) -> Benchmark | None:
    """The data set whose classes are exactly these; None for any other set."""
    names = frozenset(class_names)
    if names == MVTEC:
        return "MVTec AD"
    return "VisA" if names == VISA else None


def component(variant: str) -> str | None:
    """What an ablation leaves out, as a key of `COMPONENTS`: `no aligner` gives `aligner`; None for anything else."""
    first, *rest = variant.lower().replace("-", " ").replace("_", " ").split() or [""]
    if first not in ("no", "without") or not rest:
        return None
    return rest[0] if rest[0] in COMPONENTS and rest[1:] in ([], ["scoring"]) else None


def paper_rows(class_names: Iterable[str]) -> tuple[PaperRow, ...]:
    """The paper's figures for the data set with exactly these classes; empty for any other set."""
    name = benchmark(class_names)
    return () if name is None else tuple(_row(*line) for line in _LINES[name])


def _row(variant: str, shots: int, means: _Figures, deviations: _Figures | None) -> PaperRow:
    if variant in COMPONENTS:
        return PaperRow(COMPONENTS[variant], variant, shots, "Table 2", means, deviations)
    table = "Table 1" if shots == 0 else "Tables 4 and 5"
    return PaperRow(METHODS[variant], variant, shots, table, means, deviations)
