"""A line's errors as people have found them: by recipe and shift, and as a set of labelled pictures."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from pathlib import Path

from core.feedback_rates import Judged
from core.picture_files import entries
from edge.settings_recipe import FIRST
from edge.storage.export import write_csv
from edge.storage.feedback import Feedback, FeedbackLog, Kind
from edge.storage.history import History, Minute
from edge.zone import Shifts

GOOD, BAD = "good", "bad"
"""The folders of a labelled set, as `alfa-edge evaluate` reads them."""

_COLUMNS = ("file", "recipe", "seq", "kind", "at", "who", "note")

_COUNTED: dict[Kind, Judged] = {
    "false_alarm": Judged(false_alarms=1),
    "confirmed": Judged(confirmed=1),
    "missed": Judged(escapes=1),
    "confirmed_normal": Judged(confirmed_normal=1),
}


class LabelledSetError(RuntimeError):
    """The pictures cannot be written; the message says what to do."""


@dataclass(frozen=True)
class Group:
    """The parts that were judged by a recipe in a shift.

    Attributes:
        recipe: Its name, or that of the pack.
        shift: When it begins, local time; `all` where there are no shifts.
        judged: How many they were, and what was said of them.
    """

    recipe: str
    shift: str
    judged: Judged


def groups(
    history: History,
    feedback: FeedbackLog,
    line: str,
    shifts: Shifts,
    zone: tzinfo | None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Group]:
    """The line's parts by recipe and shift, in that order. Feedback on a verdict that the history has lost is left out.

    Args:
        history: Of the verdicts.
        feedback: What was said of them.
        line: Its name.
        shifts: Of each day.
        zone: Where they are; None: the machine's.
        since: Verdicts issued then or later.
        until: Issued before.

    Raises:
        DatabaseError: history or feedback cannot be read.
    """
    found: defaultdict[tuple[str, str], Judged] = defaultdict(Judged)

    def group(minute: Minute) -> tuple[str, str]:
        return minute.recipe, shifts.of(datetime.fromisoformat(minute.at).replace(tzinfo=timezone.utc).astimezone(zone))

    said = feedback.of(line)  # first: what is said meanwhile is of parts that are counted, too
    for minute, count in history.counts(line, since, until).items():
        found[group(minute)] += Judged(**{minute.verdict: count})
    for seq, minute in history.minutes(line, said, since, until).items():
        found[group(minute)] += _COUNTED[said[seq].kind]
    places = {shift: place for place, shift in enumerate(shifts.names)}
    order = sorted(found, key=lambda key: (key[0], places[key[1]]))
    return [Group(recipe, shift, found[recipe, shift]) for recipe, shift in order]


def recipes_of(history: History, feedback: Mapping[int, Feedback]) -> dict[Feedback, int]:
    """The number of the recipe that judged each part that something was said of.

    Where neither feedback nor history know it any more, it was said before there were recipes: the first one.

    Raises:
        DatabaseError: the history cannot be read.
    """
    lines = {entry.line for entry in feedback.values() if entry.recipe is None}
    numbers = {line: history.recipe_numbers(line, feedback) for line in lines}
    return {
        entry: entry.recipe if entry.recipe is not None else numbers[entry.line].get(seq, FIRST)
        for seq, entry in feedback.items()
    }


def write_labelled_set(
    history: History, feedback: FeedbackLog, line: str, folder: Path
) -> tuple[dict[str, list[Feedback]], list[Feedback]]:
    """Writes the pictures that something was said of below a new or empty folder, as PNG.

    Each recipe is a class, with folders `good` and `bad`. `feedback.csv` has what was said, of those without a picture,
    too.

    Returns:
        What was said of the parts whose pictures are there, by the folders of their classes; and of those of which none
        was kept.

    Raises:
        LabelledSetError: the folder holds something, or cannot be written.
        BankError, DatabaseError: a picture is damaged, or the feedback cannot be read.
    """
    judged_by = recipes_of(history, feedback.of(line))
    names = feedback.recipe_names(line)
    written, missing, rows = defaultdict[str, list[Feedback]](list), list[Feedback](), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if entries(folder):  # a system leaves its own even in new folders
            raise LabelledSetError(f"{folder} is not empty; name a new folder")
        for entry, number in judged_by.items():
            file, recipe = None, names.get(number, f"recipe {number}")
            if (png := feedback.picture(line, entry.seq)) is None:
                missing.append(entry)
            else:
                name = _folder_of(recipe)
                file = f"{name}/{BAD if entry.defective else GOOD}/{entry.seq:08d}.png"
                for label in (GOOD, BAD):
                    (folder / name / label).mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(png)
                written[name].append(entry)
            rows.append(entry.to_dict() | {"file": file, "recipe": recipe})
        write_csv(folder / "feedback.csv", _COLUMNS, rows)
    except OSError as error:
        raise LabelledSetError(f"{folder} cannot be written: {error}; name another folder") from error
    return {**written}, missing


def _folder_of(recipe: str) -> str:
    """A name for the folder of a recipe that no reader of data sets takes for a hidden one."""
    return re.sub(r"^[.~]", "_", recipe)


def labels(written: Sequence[Feedback]) -> str:
    """`12 good and 3 defective parts`."""
    bad = sum(entry.defective for entry in written)
    return f"{len(written) - bad} good and {bad} defective parts"
