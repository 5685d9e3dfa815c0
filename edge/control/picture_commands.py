"""Commands that show parts and shots: pictures no larger than a screen needs, made beside the lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from core.image import ImageError, decode_small, encode_jpeg
from edge.clock import monotonic
from edge.control.arguments import Arguments, Number, OfLine
from edge.control.dispatcher import Caller, Command, Dispatcher, Result
from edge.control.previews import PreviewsBusyError
from edge.inspection.line_recipes import UnknownRecipeError
from edge.storage.feedback import FeedbackLog
from edge.storage.history import Entry, recipe_number
from edge.storage.retention import ArchiveError, overlay_path

MOST = 60
"""Thumbnails of one reply."""
SIDE = 1280
"""The most pixels of a part's picture along its longer side."""

_TIME_S = 15.0  # for all pictures of a reply: those that are not made by then are left out
_QUALITY = 80

Numbers = Annotated[tuple[Number, ...], Field(min_length=1, max_length=MOST)]
Side = Annotated[int, Field(ge=16, le=640)]


class OfVerdict(OfLine):
    """A verdict."""

    seq: Number
    """Its number."""


class Thumbnails(OfLine):
    """Small pictures of parts."""

    seqs: Numbers
    """Of the verdicts of these numbers."""
    size: Side = 160
    """Pixels along the longer side, at most."""


class ShotThumbnails(Arguments):
    """Small pictures of shots."""

    shots: Numbers
    """Their numbers."""
    size: Side = 160
    """Pixels along the longer side, at most."""


class CandidateThumbnails(Arguments):
    """Small pictures of candidates."""

    candidates: Numbers
    """Their numbers."""
    size: Side = 160
    """Pixels along the longer side, at most."""


def _verdict(dispatcher: Dispatcher, arguments: OfVerdict, _caller: Caller) -> Result:
    name, seq = arguments.line, arguments.seq
    dispatcher.line(name)
    entry, payload = dispatcher.history.entry(name, seq), dispatcher.history.payload(name, seq)
    said = FeedbackLog(dispatcher.database.folder).some(name, [seq]).get(seq)
    making = _Making(dispatcher, SIDE)
    result: dict[str, Any] = {
        "verdict": payload,
        "historical": entry.historical,
        "feedback": None if said is None else said.to_dict(),
        "pixel_threshold": _pixel_threshold(dispatcher, name, recipe_number(payload["recipe"])),
        "blobs": [],
        "missing": None,
    }
    blobs = []
    try:
        blobs.append(making.of_part(entry))
        result["blobs"].append("picture")
    except (ArchiveError, ImageError, PreviewsBusyError) as error:
        result["missing"] = str(error)
    try:
        blobs.append(dispatcher.archive.map_file(_place(entry), making.left_s))
        result["blobs"].append("map")
    except ArchiveError:  # of a part of before there were maps, or of one that was not judged
        pass
    return result, blobs


def _pixel_threshold(dispatcher: Dispatcher, line: str, recipe: int) -> float | None:
    """Of the maps of a recipe as it is now: a verdict does not say its own. None where the recipe is not loaded."""
    try:
        loaded = dispatcher.line(line).recipes.slot(recipe).loaded
    except UnknownRecipeError:
        return None
    return None if loaded is None else loaded.pixel_threshold


def _thumbnails(dispatcher: Dispatcher, arguments: Thumbnails, _caller: Caller) -> Result:
    dispatcher.line(arguments.line)
    entries = {entry.seq: entry for entry in dispatcher.history.some(arguments.line, arguments.seqs)}
    making = _Making(dispatcher, arguments.size)

    def picture(seq: int) -> bytes:
        if seq not in entries:
            raise ArchiveError("the history has no such verdict")
        return making.of_part(entries[seq])

    return _each("seqs", arguments.seqs, picture, making)


def _shot_thumbnails(dispatcher: Dispatcher, arguments: ShotThumbnails, _caller: Caller) -> Result:
    making = _Making(dispatcher, arguments.size)

    def picture(number: int) -> bytes:
        png = dispatcher.database.read(lambda tables: tables.bank.png(number))
        return making.of_file(png, f"shot {number}")

    return _each("shots", arguments.shots, picture, making)


def _candidate_thumbnails(dispatcher: Dispatcher, arguments: CandidateThumbnails, _caller: Caller) -> Result:
    making = _Making(dispatcher, arguments.size)

    def picture(number: int) -> bytes:
        png = dispatcher.database.read(lambda tables: tables.candidates.png(number))
        return making.of_file(png, f"candidate {number}")

    return _each("candidates", arguments.candidates, picture, making)


class _Making:
    """Makes the pictures of one reply, all of them within its time."""

    def __init__(self, dispatcher: Dispatcher, side: int) -> None:
        self._dispatcher = dispatcher
        self._side = side
        self._end = monotonic() + _TIME_S

    @property
    def left_s(self) -> float:
        """Seconds that are left; never less than none."""
        return max(0.0, self._end - monotonic())

    def of_file(self, data: bytes, name: str) -> bytes:
        """JPEG of an encoded picture.

        Raises:
            ImageError: it is none.
            PreviewsBusyError: there was no time.
        """
        return self._dispatcher.previews.make(partial(_small, data, self._side, name), self.left_s)

    def of_part(self, entry: Entry) -> bytes:
        """JPEG of a part: from the archive, or of one that something was said of from what was kept as evidence.

        Raises:
            ArchiveError: it is kept in neither.
            ImageError, PreviewsBusyError: as `of_file`.
        """
        name = f"verdict {entry.seq} of line {entry.line}"
        try:
            return self.of_file(self._dispatcher.archive.picture_file(_place(entry), self.left_s), name)
        except ArchiveError:
            evidence = FeedbackLog(self._dispatcher.database.folder).picture(entry.line, entry.seq)
            if evidence is None:
                raise
        return self.of_file(evidence, name)


def _small(data: bytes, side: int, name: str) -> bytes:
    return encode_jpeg(decode_small(data, side, name), _QUALITY)


def _place(entry: Entry) -> str:
    """Where in the archive a part's pictures are; an error names no place, and has one all the same.

    Raises:
        ArchiveError: nowhere.
    """
    if entry.archive is not None:
        return entry.archive
    if entry.verdict != "error":
        raise ArchiveError("it was not archived; archive.dir and archive.ok_every say what is")
    return overlay_path(entry.line, f"{entry.issued_at:%Y-%m-%d}", entry.seq, entry.id, normal=False)


def _each(what: str, numbers: Sequence[int], picture: Callable[[int], bytes], making: _Making) -> Result:
    """The pictures that there are, whose numbers are named in their order, and why the others are missing."""
    made: dict[int, bytes] = {}
    missing = []
    for number in dict.fromkeys(numbers):
        try:
            if not making.left_s:
                raise PreviewsBusyError("the others took too long; ask for fewer at a time")
            made[number] = picture(number)
        except (ArchiveError, ValueError) as error:  # one that is damaged or gone must not cost the others
            missing.append({"number": number, "why": str(error)})
    return {what: [*made], "missing": missing}, [*made.values()]


PICTURE_COMMANDS: dict[str, Command] = {
    "verdict": Command(OfVerdict, _verdict),
    "thumbnails": Command(Thumbnails, _thumbnails),
    "shot_thumbnails": Command(ShotThumbnails, _shot_thumbnails),
    "candidate_thumbnails": Command(CandidateThumbnails, _candidate_thumbnails),
}
