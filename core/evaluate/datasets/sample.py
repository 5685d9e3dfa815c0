"""What a data set holds, whatever its layout: classes of good training pictures and labelled test pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

GOOD = "good"
"""`Sample.defect` of a good part."""
GOOD_FOLDERS = ("good", "ok", "normal")
"""In lower case."""


class DatasetError(ValueError):
    """A folder that cannot be evaluated; the message names it and says what to do."""


@dataclass(frozen=True)
class Sample:
    """One test picture."""

    path: Path
    anomalous: bool
    defect: str
    """`good`, or the kind of defect."""
    masks: tuple[Path, ...] = ()
    """Their union is the defect; empty for a good part, and for a defect without a mask."""


@dataclass(frozen=True)
class DataClass:
    """One class of a data set; all in it is sorted by path."""

    name: str
    layout: str
    train: tuple[Path, ...]
    """Good pictures, for shots; empty where the layout has none."""
    test: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    """What is odd about the data and was worked around, a sentence each."""

    def files(self) -> tuple[Path, ...]:
        """All its pictures."""
        return (*self.train, *(sample.path for sample in self.test))


def assemble(
    folder: Path, name: str, layout: str, train: list[Path], test: list[Sample], notes: list[str]
) -> DataClass:
    """The class in `folder`, sorted, with notes on what its samples lack.

    Raises:
        DatasetError: there is nothing to test.
    """
    if not test:
        said = "".join(f" {note}" for note in notes)
        raise DatasetError(
            f"{folder}: no test pictures ({layout}); put them there, or leave the class {name!r} out.{said}"
        )
    bare = sorted(sample.path for sample in test if sample.anomalous and not sample.masks)
    if bare and any(sample.masks for sample in test):
        notes = [
            *notes,
            f"Defects without a mask, though others have one: {listed(bare, folder)}.",
        ]
    for anomalous, kind in ((False, "good"), (True, "defective")):
        if all(sample.anomalous != anomalous for sample in test):
            notes = [*notes, f"There are no {kind} test pictures, so that the two cannot be told apart."]
    if not train:
        notes = [
            *notes,
            "There are no good training pictures: shots, if any, are drawn from good test pictures, "
            "which are then not tested.",
        ]
    return DataClass(name, layout, tuple(sorted(train)), tuple(sorted(test, key=lambda one: one.path)), tuple(notes))


def listed(paths: list[Path], folder: Path) -> str:
    """How many they are, and the first of them, for a note."""
    count = f"{len(paths)} file{'s' * (len(paths) > 1)}"
    first = paths[0].relative_to(folder) if paths[0].is_relative_to(folder) else paths[0]
    return f"{count} ({first.as_posix()}{', …' if len(paths) > 1 else ''})"
