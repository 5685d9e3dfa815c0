"""A folder as a demo plays it: which pictures teach, which are judged, and what is known of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.evaluate.datasets import DatasetError, Sample, find_classes
from core.picture_files import pictures_in


@dataclass(frozen=True)
class Playlist:
    """What becomes of a folder's pictures.

    Attributes:
        good: Pictures of good parts, which teach.
        judged: The pictures that the line shows, in this order.
        samples: The same, with what they show; None where nobody knows.
    """

    good: tuple[Path, ...]
    judged: tuple[Path, ...]
    samples: tuple[Sample, ...] | None

    def write(self, folder: Path) -> Path:
        """Makes `folder`, whose n-th picture by name is the n-th that is judged; the files stay where they are."""
        folder.mkdir()
        for place, path in enumerate(self.judged):
            (folder / f"{place:06d}{path.suffix}").symlink_to(path.resolve())
        return folder


def make_playlist(source: Path, good: Path | None, count: int) -> Playlist:
    """Divides the pictures of `source`, one class of a data set or a plain folder.

    Args:
        source: The folder.
        good: A folder of good parts that teach; without it they come from `source`: of a data set from its training
            pictures, or from its good ones where it has none; of a plain folder they are the first.
        count: How many teach; 0 for none.

    Raises:
        DatasetError: there are too few pictures, no pictures, or several classes.
    """
    try:
        classes = find_classes(source)
    except DatasetError:
        files = _pictures(source)
        if not files:
            raise
        return _plain(source, files, good, count)
    if len(classes) > 1:
        names = ", ".join(one.name for one in classes)
        raise DatasetError(f"{source}: {len(classes)} classes ({names}); name the folder of one of them")
    (data,) = classes
    samples = data.test
    if not count:
        return Playlist((), tuple(one.path for one in samples), samples)
    if good is not None:
        teach = good_pictures(good, count)
    elif data.train:
        teach = _spread(data.train, count, f"{source}: {{}} good training pictures")
    else:
        teach = _spread([one.path for one in samples if not one.anomalous], count, f"{source}: {{}} good pictures")
        samples = tuple(one for one in samples if one.path not in teach)
    if not samples:
        raise DatasetError(f"{source}: no picture is left to be judged; put more there, or ask for fewer good parts")
    return Playlist(tuple(teach), tuple(one.path for one in samples), samples)


def good_pictures(folder: Path, count: int) -> Sequence[Path]:
    """`count` pictures of a folder, evenly spread over it by name.

    Raises:
        DatasetError: there is no such folder, or there are fewer in it.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: " + ("a file; name a folder" if folder.exists() else "no such folder"))
    return _spread(_pictures(folder), count, f"{folder}: {{}} pictures")


def _plain(source: Path, files: Sequence[Path], good: Path | None, count: int) -> Playlist:
    if good is not None:
        return Playlist(tuple(good_pictures(good, count)) if count else (), tuple(files), None)
    if len(files) <= count:
        raise DatasetError(
            f"{source}: {len(files)} pictures; the first {count} are taken for good, and one more at least is to be "
            "judged: put more there, or ask for fewer with --good-parts"
        )
    return Playlist(tuple(files[:count]), tuple(files[count:]), None)


def _spread(paths: Sequence[Path], count: int, what: str) -> Sequence[Path]:
    """Whatever order a folder has, its beginning is seldom like the rest."""
    if len(paths) < count:
        missing = count - len(paths)
        raise DatasetError(f"{what.format(len(paths))}; {count} are needed: put {missing} more there, or ask for fewer")
    return [paths[place * len(paths) // count] for place in range(count)]


def _pictures(folder: Path) -> list[Path]:
    try:
        return pictures_in(folder)
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror or error}; a folder that can be read is needed") from error
