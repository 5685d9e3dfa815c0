"""What came of the inputs of a target, and where the campaign goes on."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from core import files
from core.toml import parse_toml

Verdict = Literal["fine", "refused", "crash", "hang", "memory", "leak"]
FAILURES: tuple[Verdict, ...] = ("crash", "hang", "memory", "leak")
HANG_S = 5.0
CAMPAIGN = 10_000
_KEPT = 60  # failures of a target that are kept word for word


@dataclass(frozen=True)
class Outcome:
    """What became of an input that ended as it should.

    Attributes:
        refused: By a documented error.
        said: All that came out: messages, replies, printed text. Secrets are looked for in it.
    """

    refused: bool
    said: str = ""


class Target(Protocol):
    """Something that reads hostile inputs in this process."""

    def __init__(self, folder: Path) -> None:
        """`folder`: empty, its own."""

    def run(self, chance: random.Random) -> Outcome:
        """Draws an input and has it read. Any exception is a crash."""

    def close(self) -> None:
        """Lets go of what it holds."""


@dataclass(frozen=True)
class Record:
    """One input, and what came of it."""

    index: int
    verdict: Verdict
    ms: float = 0.0
    said: str = ""


@dataclass
class Tally:
    """The figures of a target."""

    cases: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """By verdict."""
    leaked: int = 0
    """Bytes of secrets."""
    slowest_ms: float = 0.0
    slowest: int = -1
    seconds: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """Figures of a target's own."""

    def add(self, record: Record) -> None:
        """Counts an input."""
        self.cases += 1
        self.counts[record.verdict] = self.counts.get(record.verdict, 0) + 1
        if record.ms > self.slowest_ms:
            self.slowest_ms, self.slowest = record.ms, record.index
        if record.verdict in FAILURES and len(self.failures) < _KEPT:
            self.failures.append(asdict(record))

    def merge(self, other: Tally) -> None:
        """Counts what another one has counted."""
        self.cases += other.cases
        self.leaked += other.leaked
        self.seconds += other.seconds
        for verdict, count in other.counts.items():
            self.counts[verdict] = self.counts.get(verdict, 0) + count
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms, self.slowest = other.slowest_ms, other.slowest
        self.failures = (self.failures + other.failures)[:_KEPT]
        self.notes |= other.notes

    @property
    def failed(self) -> bool:
        """Whether anything is not as it should be."""
        return bool(self.leaked or any(self.counts.get(verdict) for verdict in FAILURES))

    def __str__(self) -> str:
        said = ", ".join(f"{self.counts.get(verdict, 0)} {verdict}" for verdict in ("fine", "refused", *FAILURES))
        notes = "".join(f", {name}: {figure}" for name, figure in self.notes.items())
        slowest = f"slowest {self.slowest_ms:.0f} ms (case {self.slowest})"
        return f"{self.cases} inputs: {said}, {self.leaked} bytes of secrets, {slowest}, {self.seconds:.0f} s{notes}"


class Progress:
    """Which parts of each target are done, in a file: a campaign that was cut short goes on there."""

    def __init__(self, path: Path, count: int) -> None:
        """`count`: inputs of each target; with another number a campaign begins anew."""
        self._path = path
        self._count = count
        self._parts: dict[str, dict[str, Any]] = {}
        if path.is_file():
            known = json.loads(path.read_text("utf-8"))
            if known["count"] == count:
                self._parts = known["parts"]

    def done(self, target: str) -> dict[str, Tally]:
        """The parts of a target that are done, by name."""
        return {part: Tally(**tally) for part, tally in self._parts.get(target, {}).items()}

    def keep(self, target: str, part: str, tally: Tally) -> None:
        """A part is done."""
        self._parts.setdefault(target, {})[part] = asdict(tally)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.write(self._path, json.dumps({"count": self._count, "parts": self._parts}).encode())

    def forget(self) -> None:
        """The next campaign begins anew."""
        self._path.unlink(missing_ok=True)


def total(parts: Mapping[str, Tally]) -> Tally:
    """Of all parts of a target."""
    whole = Tally()
    for part in parts.values():
        whole.merge(part)
    return whole


def chance_of(target: str, seed: int, index: int) -> random.Random:
    """From which the input of this index is drawn: always the same one."""
    return random.Random(f"{target} {seed} {index}")


def count_of_environment() -> int:
    """Inputs for each target."""
    return int(os.environ.get("ALFA_EDGE_FUZZ_N", CAMPAIGN))


def seeds() -> tuple[dict[str, int], dict[str, list[int]]]:
    """The seed of each target, and the indices of inputs that once failed."""
    _, kept = parse_toml((Path(__file__).parent / "seeds.toml").read_bytes())
    return kept["seeds"], kept["again"]
