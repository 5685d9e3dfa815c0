"""Plain folders: good parts in one, defective parts in another, as one collects them at a line.

<class>/{good,bad}               or ok/ng, ok/nok, normal/anomaly, normal/abnormal, ...
<class>/train/good               optional, for shots
<class>/{masks,ground_truth}     optional: <stem>.png, or the same in a folder named after the defective parts'
"""

from __future__ import annotations

from pathlib import Path

from core.evaluate.datasets.folders import Masks, named, pictures
from core.evaluate.datasets.sample import GOOD, GOOD_FOLDERS, DataClass, Sample, assemble, listed

BADS = ("bad", "ng", "nok", "ko", "anomaly", "anomalous", "abnormal", "defect", "defective")


def matches(folder: Path) -> bool:
    """Whether `folder` has good and defective parts side by side."""
    return bool(named(folder, GOOD_FOLDERS)) and bool(named(folder, BADS))


def load(folder: Path, name: str) -> DataClass:
    """The class in `folder`.

    Raises:
        DatasetError: there are no pictures.
    """
    notes: list[str] = []
    train = [
        path
        for top in named(folder, ("train",))
        for good in named(top, GOOD_FOLDERS)
        for path in pictures(good, folder, notes)
    ]
    goods = [path for good in named(folder, GOOD_FOLDERS) for path in pictures(good, folder, notes)]
    bads = {kind: pictures(kind, folder, notes) for kind in named(folder, BADS)}
    pairs = _pair(folder, goods, bads, notes)
    test = [Sample(path, False, GOOD) for path in goods]
    test += [Sample(path, True, kind.name, pairs.get(path, ())) for kind, paths in bads.items() for path in paths]
    return assemble(folder, name, "plain folders", train, test, notes)


def _pair(
    folder: Path, goods: list[Path], bads: dict[Path, list[Path]], notes: list[str]
) -> dict[Path, tuple[Path, ...]]:
    """Masks of the defective parts."""
    tops = named(folder, ("masks", "ground_truth"))
    of_goods = [one for top in tops for one in named(top, GOOD_FOLDERS)]
    sorted_by_kind = {one.name for one in of_goods}
    pairs: dict[Path, tuple[Path, ...]] = {}
    for kind, paths in bads.items():
        of_kind = [one for top in tops for one in named(top, (kind.name.lower(),))]
        sorted_by_kind |= {one.name for one in of_kind}
        pairs |= Masks(of_kind).pair(paths, folder, notes)
    # A good part may have a defective part's name, which then owns the mask.
    owners = [path for paths in bads.values() for path in paths if path not in pairs]
    stems = {path.stem for path in owners}
    owners += [path for path in goods if path.stem not in stems]
    pairs |= Masks(tops, without=sorted_by_kind).pair(owners, folder, notes)
    unread = Masks(of_goods).files().union(*(pairs.pop(path, ()) for path in goods))
    if unread:
        notes.append(f"Not read, as masks of good parts: {listed(sorted(unread), folder)}.")
    return pairs
