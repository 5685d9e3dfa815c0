"""The books: for each part how many answers, for each line which numbers, and how long answers took."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.support.people import Heard, Part


@dataclass(frozen=True)
class Figures:
    """Of a number of values, here milliseconds."""

    count: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figures:
        """Of values; of none they are no numbers."""
        ordered = sorted(values)
        if not ordered:
            return cls(0, math.nan, math.nan, math.nan)
        last = len(ordered) - 1
        return cls(len(ordered), ordered[round(0.5 * last)], ordered[round(0.99 * last)], ordered[last])

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f}, p99 {self.p99:.1f}, max {self.max:.1f} ms of {self.count}"


@dataclass(frozen=True)
class Answer:
    """A part and its one verdict, as it came first."""

    part: Part
    heard: Heard

    @property
    def code(self) -> str:
        """`normal`, `anomaly` or the code of the error."""
        verdict = self.heard.message
        return str(verdict["error"]["code"] if verdict["verdict"] == "error" else verdict["verdict"])

    @property
    def latency_ms(self) -> float:
        """From just before the trigger was published to the message at the subscriber."""
        return (self.heard.at - self.part.sent) * 1000

    @property
    def wait_ms(self) -> float:
        """From the trigger's arrival to the grab of its frame, as far as `timing_ms` tells: with it go the hand-overs
        between threads. Of a judged part.
        """
        timing = self.heard.message["timing_ms"]
        return float(timing["total"] - timing["capture"] - timing["queue"] - timing["score"])

    @property
    def overhead_ms(self) -> float:
        """What is neither the camera's nor the model's: the latency without the wait for the frame, its capture (which
        is decoding, check and transfer), the wait for the scorer and its pass. So: the way in over the broker, the
        verdict itself, the disk, the way out over the broker.
        """
        return self.latency_ms - float(self.heard.message["timing_ms"]["total"])


class Account:
    """Of all verdicts that a subscriber has heard. Making one checks what must hold of them.

    Attributes:
        first: The first arrival of each verdict, by id, in order.
        repeats: Arrivals of a verdict that had come before.
    """

    def __init__(self, heard: Sequence[Heard]) -> None:
        self.first: dict[str, Heard] = {}
        for one in heard:
            before = self.first.setdefault(one.message["id"], one)
            assert _same(before.message, one.message), "a verdict came again, and had changed"
        self.repeats = len(heard) - len(self.first)
        self._parts: dict[str | None, list[Heard]] = defaultdict(list)
        numbers: dict[str, dict[int, str]] = defaultdict(dict)
        generations: dict[tuple[str, int], list[int]] = defaultdict(list)
        for identity, one in self.first.items():
            seq, part = one.message["seq"], one.message.get("part_id")
            self._parts[part].append(one)
            known = numbers[one.line].setdefault(seq, identity)
            assert known == identity, f"{one.line}: two verdicts have the number {seq}"
            generations[one.line, generation_of(one)].append(seq)
        for (line, generation), of in generations.items():
            begin = 1 if generation == 1 else min(of)  # a later one begins anywhere above the one before
            missing = sorted(set(range(begin, max(of) + 1)) - set(of))
            assert not missing, f"{line}: of {max(of)} numbers {len(missing)} are missing: {missing[:20]}"
        self.numbers: Mapping[str, Mapping[int, str]] = numbers

    def answers(self, parts: Iterable[Part]) -> list[Answer]:
        """Each part with its one verdict."""
        wanted = list(parts)
        counts = {part.part_id: len(self._parts[part.part_id]) for part in wanted}
        wrong = {name: count for name, count in counts.items() if count != 1}
        assert not wrong, f"{len(wrong)} of {len(wanted)} parts have not one verdict: {dict(list(wrong.items())[:10])}"
        answers = [Answer(part, self._parts[part.part_id][0]) for part in wanted]
        assert all(one.heard.line == one.part.line for one in answers)
        return answers

    def check_disk(self, on_disk: Mapping[tuple[str, int], str]) -> None:
        """What was heard is what is on disk."""
        heard = {(line, seq): identity for line, of in self.numbers.items() for seq, identity in of.items()}
        assert not set(on_disk.items()) - set(heard.items()), "verdicts on disk never came"
        assert not set(heard.items()) - set(on_disk.items()), "verdicts came that are not on disk"


def generation_of(heard: Heard) -> int:
    """How often the line's state had been restored from a backup, plus one."""
    return int(heard.message.get("generation", 1))


def codes(answers: Iterable[Answer]) -> str:
    """How many there are of each kind."""
    return ", ".join(f"{count} {code}" for code, count in Counter(one.code for one in answers).most_common())


def latencies(answers: Iterable[Answer]) -> Figures:
    """Trigger to message."""
    return Figures.of(one.latency_ms for one in answers)


def _same(one: dict[str, object], other: dict[str, object]) -> bool:
    return {**one, "historical": None} == {**other, "historical": None}
