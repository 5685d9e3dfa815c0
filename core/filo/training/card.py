"""The card of a head: what it was trained on and how, and its figures beside ALFA's and WinCLIP's on the same tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.filo.training.figures import METHODS, Measured, Naming, average

_WORDS = {"filo": "FiLo", "alfa": "ALFA", "winclip": "WinCLIP"}


def render(name: str, facts: Mapping[str, str], groups: Mapping[str, Sequence[Measured]]) -> str:
    """The card as Markdown.

    Args:
        name: Of the head.
        facts: What is known of its training, by heading.
        groups: What was measured, by the group that it belongs to, for instance `held-out classes`.
    """
    lines = [f"# {name}", "", "| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in facts.items()), ""]
    measured = {group: classes for group, classes in groups.items() if classes}
    if not measured:
        lines.append("No class was held out, so there are no figures: measure it on a data set with masks.")
        return "\n".join([*lines, ""])
    return "\n".join([*lines, *table(measured), "", *naming_table(measured), ""])


def table(groups: Mapping[str, Sequence[Measured]], each: bool = False) -> list[str]:
    """A row a group and method, the mean over its classes; with `each` a row a class too."""
    lines = [
        "Zero-shot, image AUROC / pixel AUROC / PRO:",
        "",
        f"| | pictures | {' | '.join(_WORDS[method] for method in METHODS)} |",
        f"|{' --- |' * (2 + len(METHODS))}",
    ]
    for group, classes in groups.items():
        pictures = sum(measured.pictures for measured in classes)
        means = (average([measured.figures[method] for measured in classes]) for method in METHODS)
        cells = (f"{mean.image:.3f} / {mean.pixel:.3f} / {mean.pro:.3f}" for mean in means)
        lines.append(f"| {group} ({len(classes)}) | {pictures} | {' | '.join(cells)} |")
        if each:
            lines += table({measured.name: [measured] for measured in classes})[4:]
    return lines


def naming_table(groups: Mapping[str, Sequence[Measured]]) -> list[str]:
    """How often the top description was of the defect that is there; nothing where no defect could be named."""
    rows = []
    for group, classes in groups.items():
        total = sum((measured.naming for measured in classes), start=Naming())
        if total.parts:
            shares = (total.by_image / total.parts, total.by_patch / total.parts, total.chance / total.parts)
            rows.append(f"| {group} | {total.parts} | {' | '.join(f'{np.round(share, 3):.3f}' for share in shares)} |")
    if not rows:
        return []
    heading = "The top description is of the defect that is there, on parts with one kind that their pack describes:"
    columns = "| | parts | by the image | by the map's peak | chance |"
    return [heading, "", columns, f"|{' --- |' * 5}", *rows]
