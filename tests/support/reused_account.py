"""The books where parts come back: a part has several triggers, which are told apart by their order."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.people import Heard, Part

Verdict = Mapping[str, Any]
_MOST = 8  # parts that a breach names


@dataclass
class Trigger:
    """A trigger that was sent; `excused`: the broker forgot what it had taken, so it need not be answered."""

    part: Part
    excused: bool = False


@dataclass(frozen=True)
class _Answer:
    """A verdict; `at` is when it was heard, seconds of the monotonic clock; None: it was read from the disk."""

    verdict: Verdict
    at: float | None


class ReusedAccount:
    """Of the verdicts that were heard, and of those on disk.

    Attributes:
        breaches: What does not hold, in words.
        codes: How many verdicts there are of each kind.
        surplus: Answers beyond one for each trigger; each is marked `duplicate`, or a breach.
    """

    def __init__(
        self, heard: Sequence[Heard], on_disk: Sequence[Verdict], triggers: Collection[Trigger], begun: float = 0.0
    ) -> None:
        """`begun`: breaches name the moments of triggers by the seconds since then, of the monotonic clock."""
        self.breaches: list[str] = []
        self._begun = begun
        self.surplus = 0
        self._answers: dict[str, _Answer] = {}
        for message in heard:
            before = self._answers.setdefault(message.message["id"], _Answer(message.message, message.at))
            if _without_delivery(before.verdict) != _without_delivery(message.message):
                self.breaches.append(f"the verdict {message.message['id']} came again, and had changed")
        for verdict in on_disk:
            self._answers.setdefault(verdict["id"], _Answer(verdict, None))
        self.codes = Counter(map(_code, self._answers.values()))
        self.breaches += self._numbers()
        self.breaches += self._parts(triggers)

    def _numbers(self) -> Iterator[str]:
        """Numbers that were used twice, and gaps."""
        numbers: dict[tuple[str, int], list[int]] = defaultdict(list)
        for answer in self._answers.values():
            verdict = answer.verdict
            numbers[verdict["line"], verdict.get("generation", 1)].append(verdict["seq"])
        for (line, generation), of in numbers.items():
            begin = 1 if generation == 1 else min(of)
            missing = sorted(set(range(begin, max(of) + 1)) - set(of))
            if missing:
                yield f"{line}: of {max(of)} numbers {len(missing)} are missing: {missing[:10]}"
            twice = sorted(number for number, times in Counter(of).items() if times > 1)
            if twice:
                yield f"{line}: {len(twice)} numbers were used twice: {twice[:10]}"

    def _parts(self, triggers: Collection[Trigger]) -> Iterator[str]:
        """Triggers that have no answer, and answers that are one too many and do not say so."""
        came: dict[str, list[Trigger]] = defaultdict(list)
        answers: dict[str, list[_Answer]] = defaultdict(list)
        for trigger in triggers:
            came[trigger.part.part_id].append(trigger)
        for answer in self._answers.values():
            answers[str(answer.verdict.get("part_id"))].append(answer)
        unknown = answers.keys() - came.keys()
        missing = {
            part_id: len(unanswered(of, [answer.at for answer in answers[part_id]])) for part_id, of in came.items()
        }
        open_parts = {part_id: count for part_id, count in missing.items() if count}
        unmarked = []
        for part_id, of in came.items():
            found = answers[part_id]
            surplus = max(0, len(found) - len(of))
            self.surplus += surplus
            marked = sum(bool(answer.verdict.get("duplicate")) for answer in found)
            if surplus > marked or len(found) - marked > len(of):
                unmarked.append(part_id)
        if unknown:
            yield f"{len(unknown)} parts have answers and no trigger: {', '.join(sorted(unknown)[:_MOST])}"
        if open_parts:
            total = sum(open_parts.values())
            yield f"{total} triggers of {len(open_parts)} parts have no answer: {self._some(open_parts, came)}"
        if unmarked:
            names = self._some(unmarked, came)
            yield f"{len(unmarked)} parts have more answers than triggers, not marked as duplicates: {names}"

    def _some(self, names: Collection[str], came: Mapping[str, Sequence[Trigger]]) -> str:
        """Some of the parts, and when they came."""
        moments = {name: [f"{trigger.part.sent - self._begun:.1f}" for trigger in came[name]] for name in names}
        return "; ".join(f"{name} at {', '.join(moments[name])} s" for name in sorted(names)[:_MOST])


def unanswered(triggers: Sequence[Trigger], heard: Iterable[float | None]) -> list[Trigger]:
    """The triggers of a part without an answer: each takes the last one heard after it that no later trigger has taken.

    `heard`: when answers came, seconds of the monotonic clock; None: at any time. What is excused needs none.
    """
    left = sorted(float("inf") if at is None else at for at in heard)
    missing = []
    for trigger in reversed(triggers):
        if left and left[-1] > trigger.part.sent:
            left.pop()
        elif not trigger.excused:
            missing.append(trigger)
    return missing


def _code(answer: _Answer) -> str:
    verdict = answer.verdict
    if verdict["verdict"] != "error":
        return str(verdict["verdict"])
    return str(
        verdict["error"]["code"] if "error" in verdict else verdict["error_code"]
    )  # as heard, or as history has it


def _without_delivery(verdict: Verdict) -> dict[str, Any]:
    return {key: value for key, value in verdict.items() if key != "historical"}
