"""Shots as a folder of pictures and a manifest: to carry them to another line, or to keep them elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.bank.memory import Memory
from core.bank.memory_bank import Bank, BankError, Shot
from core.bank.shot_checks import Flag
from core.encoding import Encoding
from core.image import MOST_BYTES, Rgb, decode
from core.picture_files import entries
from core.regular_file import read_regular
from core.remedy import remedy

_MANIFEST = "shots.json"
_MOST_OF_MANIFEST = 16 * 1024 * 1024  # bytes


class ShotStore(Protocol):
    """What an import needs of a bank: `Bank`, or what passes its calls on to the thread that has it."""

    def shots(self, line: str) -> list[Shot]: ...

    def add(self, *arguments: Any, **named: Any) -> Shot: ...


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    file: str = Field(pattern=r"^[^/]+\.png$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    class_name: str
    added_at: datetime
    who: str
    source: str
    note: str
    flags: tuple[Flag, ...]


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(ge=1, le=1)
    line: str
    shots: tuple[_Entry, ...]


def export_shots(bank: Bank, line: str, folder: Path) -> list[Shot]:
    """Writes the active shots' pictures, and a manifest with their SHA-256, into a new or empty folder.

    Raises:
        BankError: a picture is damaged, or the folder holds something or cannot be written.
    """
    shots, written = bank.shots(line), []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if entries(folder):  # a system leaves its own even in new folders
            raise BankError(f"{folder} is not empty; name a new folder")
        for shot in shots:
            file = f"shot-{shot.id:06}.png"
            (folder / file).write_bytes(bank.png(shot.id))
            known = {key: getattr(shot, key) for key in _Entry.model_fields if key != "file"}
            written.append(_Entry(file=file, **known))
        manifest = _Manifest(format=1, line=line, shots=tuple(written))
        (folder / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")  # last: all is there
    except OSError as error:
        raise BankError(f"{folder} cannot be written: {error}; name another folder") from error
    return shots


def import_shots(
    bank: ShotStore,
    folder: Path,
    line: str,
    encoding: Callable[[Rgb], Encoding],
    embed: Callable[[Rgb], Mapping[int, Memory]],
    *,
    at: datetime,
    who: str,
) -> list[Shot]:
    """Enrols what `export_shots` wrote, whichever line it was of; what is an active shot of `line` is passed over.

    All files are verified before the first is enrolled; then each is enrolled whole or not at all, so that a run that
    was cut short can be repeated. What is known of a shot is kept: who enrolled it first, and when, in its `source`.

    Args:
        bank: Where to.
        folder: Of the export.
        line: The line that will score against them.
        encoding: What `embed` computes of a picture.
        embed: The features of a picture by variant, as `Bank.add` takes them.
        at: Now.
        who: Who imports.

    Returns:
        The shots that are new.

    Raises:
        BankError: the folder is no export or was altered, or features are not of `encoding`.
    """
    check_shots(folder)
    manifest = _read_manifest(folder)
    added = []
    for entry in manifest.shots:
        if any(shot.sha256 == entry.sha256 for shot in bank.shots(line)):
            continue
        png = _read_picture(folder, entry)
        image = decode(png, entry.file)
        features = embed(image)
        source = f"{entry.source} (line {manifest.line}, added by {entry.who} at {entry.added_at.isoformat()})"
        shot = bank.add(
            line,
            entry.class_name,
            png,
            features,
            encoding(image),
            at=at,
            who=who,
            source=source,
            note=entry.note,
            flags=entry.flags,
            imported=True,
        )
        added.append(shot)
    return added


def shots_of(folder: Path) -> frozenset[str]:
    """The SHA-256 of the pictures that `export_shots` wrote. Raises BankError: the folder is no export."""
    return frozenset(entry.sha256 for entry in _read_manifest(folder).shots)


def check_shots(folder: Path) -> None:
    """Reads all that `export_shots` wrote.

    Raises:
        BankError: the folder is no export, or was altered.
    """
    for entry in _read_manifest(folder).shots:
        _read_picture(folder, entry)


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / _MANIFEST
    try:
        return _Manifest.model_validate_json(read_regular(path, _MOST_OF_MANIFEST))
    except OSError as error:
        exported = remedy("export shots", "name a folder that shots were exported to")
        raise BankError(f"{path}: {error.strerror}; {exported}") from error
    except ValidationError as error:
        reason = error.errors()[0]
        where = ".".join(str(one) for one in reason["loc"])
        raise BankError(f"{path} is no manifest of shots ({where}: {reason['msg']}); export them again") from error


def _read_picture(folder: Path, entry: _Entry) -> bytes:
    path = folder / entry.file
    try:
        png = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise BankError(f"{path}: {error.strerror}; export the shots again") from error
    if hashlib.sha256(png).hexdigest() != entry.sha256:
        raise BankError(f"{path} is not the picture that was exported (its SHA-256 differs); export the shots again")
    return png
