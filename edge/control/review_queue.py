"""The parts of a line that wait for a person's review: those of the history that nobody has said a thing of."""

from __future__ import annotations

from edge.control.dispatcher import Dispatcher


def waiting(dispatcher: Dispatcher, line: str) -> list[int]:
    """Their verdicts' numbers, the oldest first."""
    answered = dispatcher.database.read(lambda tables: tables.answered(line))
    return [seq for seq in dispatcher.history.for_review(line) if seq not in answered]


def count_waiting(dispatcher: Dispatcher, line: str) -> list[int]:
    """As `waiting`, and has the line know how many they are."""
    found = waiting(dispatcher, line)
    dispatcher.line(line).note_review(len(found))
    return found
