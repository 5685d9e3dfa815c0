"""The store: weights on this machine by model and tag, each with a record of what it is and where it came from.

`<model>/<tag>.<suffix>` holds the weights, `<model>/<tag>.json` the record. The record is written last and makes the
weights exist: what an interrupted fetch leaves has none, is never loaded, and goes with the next fetch of the same tag.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core import files
from core.model_error import ModelError
from core.regular_file import SMALL, read_regular
from core.remedy import remedy
from core.weights.location import COMPILED

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_ADDRESSES = ("url", "hf_hub")  # open_clip's settings of a tag besides its preprocessing
_SPARE = 64 << 20  # bytes left free beside the weights
_CHUNK = 1 << 20


class Record(BaseModel):
    """What is known of one weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """Model name of open_clip, or `timm:` and that of timm."""
    tag: str
    """Its pretrained tag."""
    file: str = Field(pattern=r"^[^/]+$")
    """Name of the weights file, in the record's directory."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the file, hexadecimal."""
    size: int = Field(ge=1)
    """Of the file, bytes."""
    source: str
    """The URL, or `imported from NAME`."""
    verified_by: str | None
    """Where the hash came from that the file was held against: `hub`, `url` or `given`; null when there was none."""
    fetched_at: str
    """When it came here, ISO 8601."""
    settings: dict[str, Any]
    """The publisher's preprocessing for the tag."""

    @field_validator("settings")
    @classmethod
    def _as_open_clip_has_them(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return {key: tuple(one) if isinstance(one, list) else one for key, one in settings.items()}


@dataclass(frozen=True)
class Entry:
    """One tag in the store; `problem` says in words what keeps it from being loaded, empty when nothing does."""

    model: str
    tag: str
    record: Record | None
    problem: str


class Store:
    """A directory of weights. Reading never writes; one process writes at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, model: str, tag: str) -> tuple[Path, dict[str, Any]] | None:
        """The weights file of the tag and open_clip's settings for it; None when the tag is not here.

        Raises:
            ModelError: the record cannot be read, or the file is missing or not of the size that was recorded.
        """
        if "/" in tag or not (record := self._record(model, tag)):
            return None
        path = self.root / model / record.file
        size = path.stat().st_size if path.is_file() else None
        if size != record.size:
            found = "is missing" if size is None else f"has {size} bytes, its record says {record.size}"
            raise ModelError(f"weights file {path} {found}; {again(model, tag)}")
        return path, record.settings

    def entries(self) -> list[Entry]:
        """Everything here, what cannot be loaded included."""
        with self._reading():
            inside = self.root.iterdir() if self.root.is_dir() else ()
            folders = sorted(path for path in inside if path.is_dir() and path.name != COMPILED)
            return [self.entry(one.name, tag) for one in folders for tag in sorted(_tags(one))]

    def entry(self, model: str, tag: str) -> Entry:
        """One tag as it is here."""
        record = None
        try:
            record = self._record(model, tag)
            found = self.get(model, tag)
        except ModelError as error:
            return Entry(model, tag, record, str(error))
        return Entry(model, tag, record, "" if found else f"unfinished, never loaded; {again(model, tag)}")

    def verify(self, entry: Entry) -> str:
        """What is wrong with the entry, its hash computed anew; empty when all is as recorded."""
        if entry.problem or entry.record is None:
            return entry.problem
        path = self.root / entry.model / entry.record.file
        with self._reading():
            digest = sha256_of(path)
        if digest == entry.record.sha256:
            return ""
        advice = again(entry.model, entry.tag)
        return f"weights file {path} has SHA-256 {digest}, its record says {entry.record.sha256}; {advice}"

    def remove(self, model: str, tag: str) -> None:
        """Takes weights and record away, and what an interrupted fetch left of them.

        Raises:
            ModelError: there is no such tag here; the message names what is.
        """
        here = [(one.model, one.tag) for one in self.entries()]
        if (model, tag) not in here:
            raise ModelError(self.nothing_of(model, tag))
        folder = self.root / model
        with self.writing(model, tag):
            self._record_path(model, tag).unlink(missing_ok=True)  # first: without it the rest is not loaded
            for path in _weights(folder, tag):
                path.unlink()

    def nothing_of(self, model: str, tag: str) -> str:
        """That the tag is not here, and what is."""
        here = ", ".join(f"{one.model} {one.tag}" for one in self.entries()) or "nothing"
        return f"{model} {tag} is not in {self.root}; here: {here}"

    @contextmanager
    def writing(self, model: str, tag: str) -> Iterator[Path]:
        """The right to write, and an empty directory beside the tag's weights that goes away at the end.

        Raises:
            ModelError: the directory is not writable, its disk is full, or another process writes to the store.
        """
        work = self.root / model / f".{tag}.part"
        try:
            work.parent.mkdir(parents=True, exist_ok=True)
            with (self.root / ".lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ModelError(f"{self.root} is being written to by another program; wait for it") from None
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                try:
                    yield work
                finally:
                    shutil.rmtree(work, ignore_errors=True)
                    if not any(work.parent.iterdir()):
                        work.parent.rmdir()
        except OSError as error:
            raise ModelError(f"{self.root} cannot be written to: {error}; {_elsewhere()}") from error

    def need(self, size: int | None) -> None:
        """Raises ModelError when the disk has no room for `size` bytes."""
        free = shutil.disk_usage(self.root).free
        if size is not None and free < size + _SPARE:
            have = f"{_mib(size + _SPARE)} are needed and {_mib(free)} are free"
            raise ModelError(f"{self.root}: {have}; make room, or {_elsewhere()}")

    def place(self, file: Path, record: Record) -> None:
        """Moves a finished file of the directory that `writing` gave to its place, and its record after it."""
        folder = self.root / record.model
        files.sync_to_disk(file)
        self._record_path(record.model, record.tag).unlink(missing_ok=True)
        for path in _weights(folder, record.tag):
            path.unlink()
        file.replace(folder / record.file)
        files.write(
            self._record_path(record.model, record.tag), f"{record.model_dump_json(indent=2)}\n".encode(), sync=True
        )

    def _record_path(self, model: str, tag: str) -> Path:
        return self.root / model / f"{tag}.json"

    def _record(self, model: str, tag: str) -> Record | None:
        path = self._record_path(model, tag)
        with self._reading():
            try:
                record = Record.model_validate_json(read_regular(path, SMALL))
            except (FileNotFoundError, NotADirectoryError):
                return None
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise ModelError(f"record {path} is damaged ({reason}); {again(model, tag)}") from None
        if (record.model, record.tag) != (model, tag):
            raise ModelError(f"record {path} is of {record.model} {record.tag}; {again(model, tag)}")
        return record

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ModelError(f"{self.root} cannot be read: {error}") from error


def make_record(
    model: str,
    tag: str,
    file: Path,
    digest: str,
    source: str,
    verified_by: str | None,
    stamp: str,
    settings: dict[str, Any],
) -> Record:
    """The record of a file that is about to be placed."""
    return Record(
        model=model,
        tag=tag,
        file=f"{tag}{file.suffix}",
        sha256=digest,
        size=file.stat().st_size,
        source=source,
        verified_by=verified_by,
        fetched_at=stamp,
        settings={key: value for key, value in settings.items() if key not in _ADDRESSES},
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _tags(folder: Path) -> set[str]:
    tags = {one.name.removesuffix(suffix) for suffix in (*SUFFIXES, ".json") for one in folder.glob(f"[!.]*{suffix}")}
    return tags | {work.name[1:].removesuffix(".part") for work in folder.glob(".*.part") if work.is_dir()}


def _weights(folder: Path, tag: str) -> list[Path]:
    return [path for suffix in SUFFIXES if (path := folder / f"{tag}{suffix}").exists()]


def again(model: str, tag: str) -> str:
    """What helps where weights of the store are damaged or unfinished."""
    return remedy("remove", "remove it", model=model, tag=tag) + ", then pull or import it again"


def _elsewhere() -> str:
    return remedy("store", "name another directory")


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
