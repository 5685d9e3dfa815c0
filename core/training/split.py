"""What the bundled model never sees in training, so that figures on it tell of parts and defects to come."""

from __future__ import annotations

from core.simline import CLASSES, DEFECTS, defects_of

HELD_OUT_CLASSES: tuple[str, ...] = ("bearing", "connector", "wood")
"""Classes of which no picture and no sentence is used."""
HELD_OUT_DEFECTS: tuple[str, ...] = ("bubble", "corrosion")
"""Defects that no picture shows and no sentence names."""
HELD_OUT_WORDS: tuple[str, ...] = ("bubble", "blister", "rust", "corro", "oxid", "tarnish")
"""Sentences with one of these are left out."""
ANY = "workpiece"
"""The class of parts of no known kind: its sentences stand for those of any part."""
TRAINED_CLASSES: tuple[str, ...] = tuple(name for name in CLASSES if name not in HELD_OUT_CLASSES)
"""The other classes."""
TRAINED_DEFECTS: tuple[str, ...] = tuple(name for name in DEFECTS if name not in HELD_OUT_DEFECTS)
"""The other defects."""


def trained_defects_of(name: str) -> tuple[str, ...]:
    """The defects of a class that training shows."""
    return tuple(defect for defect in defects_of(name) if defect in TRAINED_DEFECTS)
