"""The few-shot memory bank: normal pictures of each line and their features, kept so that nothing enrolled is lost.

A shot is never deleted, only put aside, and its picture is kept, so that another model can look at it anew. Features
are of one `Encoding`: those of another model, preprocessing or set of windows are never compared with them.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, cast

import numpy as np

from core.bank.memory import Memory
from core.bank.shot_checks import Flag
from core.bank.tables import BANK_TABLES as BANK_TABLES
from core.database.database import Database
from core.encoding import Encoding, FeaturesError, FeaturesMissingError
from core.image import Rgb, decode, encode_png
from core.remedy import remedy

_COLUMNS = "id, line, class, sha256, width, height, added_at, who, source, note, flags, active, removed_at, removed_by"
_FEATURES = "variant, kind, fingerprint, preprocess, dtype, shape, crc32, data"
_SHOTS = f"SELECT {_COLUMNS} FROM shots"
_KINDS = "SELECT DISTINCT kind FROM features WHERE shot = ?"
_PNG = b"\x89PNG\r\n\x1a\n"


class BankError(ValueError):
    """The bank cannot do as asked, or is not as it was written; the message names the shot and the remedy."""


class FeaturesOfOthersError(BankError):
    """What is kept of a shot was made by other models; its picture is there, so that features can be made anew."""


class DuplicateShotError(BankError):
    """The very same picture is an active shot of the line already: `shot`."""

    def __init__(self, shot: Shot) -> None:
        self.shot = shot
        super().__init__(
            f"this picture is shot {shot.id} of line {shot.line!r} already, added by {shot.who} at "
            f"{_text(shot.added_at)}; take another part, or remove that shot first"
        )


@dataclass(frozen=True)
class Shot:
    """A picture of a normal part that a line scores against, without the picture.

    Attributes:
        id: Its number in this bank.
        line: The line that it is of.
        class_name: The class of the part.
        sha256: Of the kept PNG, hexadecimal.
        width: Pixels.
        height: Pixels.
        added_at: When it was enrolled, UTC.
        who: Who enrolled it.
        source: Where the picture came from.
        note: What was said of it; may be empty.
        flags: What it was enrolled in spite of.
        active: Whether it is scored against.
        removed_at: When it was put aside, UTC; None for an active one.
        removed_by: Who put it aside; None for an active one.
    """

    id: int
    line: str
    class_name: str
    sha256: str
    width: int
    height: int
    added_at: datetime
    who: str
    source: str
    note: str
    flags: tuple[Flag, ...]
    active: bool
    removed_at: datetime | None
    removed_by: str | None


class Bank:
    """The shots of all lines in a database that has `BANK_TABLES`; for the thread of that connection.

    Whatever changes it is one transaction, and on disk when the call returns: DatabaseError when it cannot be.

    Times have a time zone, ValueError otherwise; `who` names a person or a program.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tables = database.tables

    def add(
        self,
        line: str,
        class_name: str,
        image: Rgb | bytes,
        features: Mapping[int, Memory],
        encoding: Encoding,
        *,
        at: datetime,
        who: str,
        source: str,
        note: str = "",
        flags: Sequence[Flag] = (),
        imported: bool = False,
    ) -> Shot:
        """Enrols a picture of a normal part, with the features of its variants.

        Args:
            line: The line that will score against it.
            class_name: The class of the part.
            image: uint8 [H, W, 3], or a PNG file, which is kept byte for byte.
            features: By variant (see `augment`), as `Encoding.pack` takes them; kept as float16.
            encoding: What made them.
            at: Now.
            who: Who says that the part is good.
            source: Where the picture comes from.
            note: What there is to say of it.
            flags: What was found wrong with it, where it is enrolled all the same.
            imported: It was enrolled elsewhere before.

        Raises:
            DuplicateShotError: the very same picture is an active shot of the line.
            BankError: the features are not of `encoding`.
            ValueError: `image` is no picture.
        """
        png = image if isinstance(image, bytes) else _encode(image)
        height, width = (_decode(image, "the picture") if isinstance(image, bytes) else image).shape[:2]
        rows, stamp, digest = _pack(features, encoding), _text(at), hashlib.sha256(png).hexdigest()
        shot = {
            "line": line,
            "class": class_name,
            "sha256": digest,
            "width": int(width),
            "height": int(height),
            "added_at": stamp,
            "who": who,
            "source": source,
            "note": note,
            "flags": json.dumps([asdict(flag) for flag in flags]),
            "active": 1,
            "image": png,
        }
        with self._database.transaction():
            self._refuse_twice(line, digest)
            number = cast(int, self._tables.table("shots").insert(shot).last_pk)
            self._keep(number, rows)
            self._revise(line, stamp, who, "import" if imported else "enrol", number)
            return self.shot(number)

    def remove(self, shot: int, at: datetime, who: str) -> Shot:
        """Puts a shot aside: it is kept, and no longer scored against.

        Raises:
            BankError: there is no such active shot.
        """
        stamp = _text(at)
        with self._database.transaction():
            found = self.shot(shot)
            if not found.active:
                raise BankError(f"shot {found.id} of line {found.line!r} was removed already, by {found.removed_by}")
            change = {"active": 0, "removed_at": stamp, "removed_by": who}
            self._tables.table("shots").update(found.id, change)
            self._revise(found.line, stamp, who, "remove", found.id)
            return self.shot(found.id)

    def restore(self, shot: int, at: datetime, who: str) -> Shot:
        """Takes a shot that was put aside back.

        Raises:
            BankError: there is no such removed shot, or the same picture is an active one by now.
        """
        with self._database.transaction():
            found = self.shot(shot)
            if found.active:
                raise BankError(f"shot {found.id} of line {found.line!r} is active; only a removed one can be restored")
            self._refuse_twice(found.line, found.sha256)
            self._tables.table("shots").update(found.id, {"active": 1, "removed_at": None, "removed_by": None})
            self._revise(found.line, _text(at), who, "restore", found.id)
            return self.shot(found.id)

    def copy(self, line: str, to: str, at: datetime, who: str) -> None:
        """Enrols the active shots of `line` for `to`, with all their features."""
        columns, stamp = f"{_COLUMNS}, image".removeprefix("id, line, "), _text(at)
        with self._database.transaction():
            for shot in self.shots(line):
                query = f"INSERT INTO shots (line, {columns}) SELECT ?, {columns} FROM shots WHERE id = ?"
                number = cast(int, self._tables.execute(query, [to, shot.id]).lastrowid)
                query = f"INSERT INTO features (shot, {_FEATURES}) SELECT ?, {_FEATURES} FROM features WHERE shot = ?"
                self._tables.execute(query, [number, shot.id])
                self._revise(to, stamp, who, "import", number)

    def shot(self, shot: int) -> Shot:
        """The shot of a number.

        Raises:
            BankError: there is none.
        """
        return _shot(self._row(_COLUMNS, shot))

    def shots(self, line: str, active_only: bool = True) -> list[Shot]:
        """The shots of a line in the order of their enrolment; none of a line that is not known."""
        which = "line = ? AND active = 1" if active_only else "line = ?"
        with self._database.snapshot():
            return [_shot(row) for row in self._tables.query(f"{_SHOTS} WHERE {which} ORDER BY id", [line])]

    def shape(self, line: str) -> tuple[int, int] | None:
        """Height and width of the line's first active shot, pixels: what feature maps are made for."""
        query = "SELECT height, width FROM shots WHERE line = ? AND active = 1 ORDER BY id LIMIT 1"
        with self._database.snapshot():
            rows = list(self._tables.query(query, [line]))
        return (rows[0]["height"], rows[0]["width"]) if rows else None

    def image(self, shot: int) -> Rgb:
        """The picture of a shot.

        Raises:
            BankError: there is no such shot, or its picture is damaged.
        """
        return _decode(self.png(shot), f"shot {shot}")

    def png(self, shot: int) -> bytes:
        """The picture of a shot as the file that is kept.

        Raises:
            BankError: there is no such shot, or its picture is damaged.
        """
        row = self._row("sha256, image", shot)
        if hashlib.sha256(row["image"]).hexdigest() != row["sha256"]:
            raise BankError(
                f"shot {shot}: its picture is damaged; remove the shot, or restore a backup of the database"
            )
        return bytes(row["image"])

    def revision(self, line: str) -> int:
        """How often what the line scores against was changed: by one with each shot added, removed or restored."""
        with self._database.snapshot():
            latest = "SELECT coalesce(max(revision), 0) AS latest FROM bank_revisions WHERE line = ?"
            (row,) = self._tables.query(latest, [line])
        return int(row["latest"])

    def memory(self, line: str, encoding: Encoding) -> list[tuple[Shot, int, Memory]]:
        """The features of all active shots of a line: shot, variant, and memory of one picture (float16, on the CPU).

        All that is stored is verified. To have the revision that it is of, read both in one `Database.snapshot`.

        Raises:
            BankError: a shot has no features of `encoding`, not all of them, or they are damaged or of another shape.
        """
        with self._database.snapshot():
            found = {shot: self._features(shot, encoding) for shot in self.shots(line)}
        if lacking := ", ".join(str(shot.id) for shot, features in found.items() if not features):
            raise FeaturesOfOthersError(
                f"line {line!r}: the features of shot {lacking} are of another model or preprocessing than "
                f"{encoding.fingerprint[:12]}, version {encoding.preprocess}; {_again()}"
            )
        return [(shot, variant, memory) for shot, features in found.items() for variant, memory in features.items()]

    def missing(self, line: str, encoding: Encoding, variants: Sequence[int] = (0,)) -> list[Shot]:
        """The active shots whose features of `encoding` are not there, or not as they were written: `embed` them.

        So are those that lack one of `variants`.
        """

        def whole(shot: Shot) -> bool:
            try:
                return set(variants) <= set(self._features(shot, encoding))
            except BankError:
                return False

        with self._database.snapshot():
            return [shot for shot in self.shots(line) if not whole(shot)]

    def embed(self, shot: int, features: Mapping[int, Memory], encoding: Encoding) -> None:
        """Stores a shot's features in place of those of the same model and preprocessing; those of others stay.

        Raises:
            BankError: there is no such shot, or the features are not of `encoding`.
        """
        rows = _pack(features, encoding)
        with self._database.transaction():
            found = self.shot(shot)
            which, values = _of(encoding)
            self._tables.table("features").delete_where(f"shot = ? AND {which}", [found.id, *values])
            self._keep(found.id, rows)

    def _features(self, shot: Shot, encoding: Encoding) -> dict[int, Memory]:
        """By variant; nothing where there are none of the model and preprocessing."""
        which, values = _of(encoding)
        query = f"SELECT variant, kind, dtype, shape, crc32, data FROM features WHERE shot = ? AND {which}"
        try:
            return encoding.unpack(self._tables.query(query, [shot.id, *values]))
        except FeaturesMissingError as error:
            kept = ", ".join(sorted({row["kind"] for row in self._tables.query(_KINDS, [shot.id])}))
            raise FeaturesOfOthersError(
                f"shot {shot.id} of line {shot.line!r}: {error}; it has {kept}, and features of different "
                f"models are not compared; {_again()}"
            ) from error
        except FeaturesError as error:
            raise BankError(f"shot {shot.id} of line {shot.line!r}: {error}; {_again()}") from error

    def _keep(self, shot: int, rows: Sequence[dict[str, Any]]) -> None:
        self._tables.table("features").insert_all({"shot": shot, **row} for row in rows)

    def _revise(self, line: str, at: str, who: str, what: str, shot: int) -> None:
        change = {"line": line, "revision": self.revision(line) + 1, "at": at, "who": who, "what": what, "shot": shot}
        self._tables.table("bank_revisions").insert(change)

    def _refuse_twice(self, line: str, digest: str) -> None:
        if rows := list(self._tables.query(f"{_SHOTS} WHERE line = ? AND active = 1 AND sha256 = ?", [line, digest])):
            raise DuplicateShotError(_shot(rows[0]))

    def _row(self, columns: str, shot: int) -> dict[str, Any]:
        number = operator.index(shot)  # SQLite would take an integer of numpy for a blob
        with self._database.snapshot():
            rows = list(self._tables.query(f"SELECT {columns} FROM shots WHERE id = ?", [number]))
        if not rows:
            raise BankError(f"there is no shot {number}; {remedy('list shots', 'list those that are there')}")
        return rows[0]


def _shot(row: Mapping[str, Any]) -> Shot:
    try:
        added, removed = _time(row["added_at"]), row["removed_at"]
        removed_at = _time(removed) if removed else None
        flags = tuple(Flag(**flag) for flag in json.loads(row["flags"]))
    except (ValueError, TypeError, RecursionError) as error:
        text = f"what is kept of it is damaged ({error}); restore a backup of the database"
        raise BankError(f"shot {row['id']}: {text}") from error
    return Shot(
        id=row["id"],
        line=row["line"],
        class_name=row["class"],
        sha256=row["sha256"],
        width=row["width"],
        height=row["height"],
        added_at=added,
        who=row["who"],
        source=row["source"],
        note=row["note"],
        flags=flags,
        active=bool(row["active"]),
        removed_at=removed_at,
        removed_by=row["removed_by"],
    )


def _again() -> str:
    return remedy("reembed", "make them anew from the kept picture")


def _of(encoding: Encoding) -> tuple[str, list[str | int]]:
    """The condition on rows of features that they are of an encoding, and its values."""
    marks = ", ".join("?" for _ in encoding.fingerprints)
    return f"fingerprint IN ({marks}) AND preprocess = ?", [*encoding.fingerprints, encoding.preprocess]


def _pack(features: Mapping[int, Memory], encoding: Encoding) -> list[dict[str, Any]]:
    try:
        return encoding.pack(features)
    except FeaturesError as error:
        raise BankError(f"{error}; make them with the method that the encoding is of") from error


def _encode(image: Rgb) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture is uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")
    return encode_png(image)


def _decode(png: bytes, name: str) -> Rgb:
    if not png.startswith(_PNG):
        raise ValueError(f"{name}: only PNG files are kept as they are; pass the pixels of others")
    return decode(png, name)


def _text(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError(f"the time {at} has no time zone")
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
