"""Heads by name: the one that comes with the package, and those in the model store.

In the store each is a file of safetensors, with the store's record of where it came from.
"""

from __future__ import annotations

import re
from importlib.resources import as_file, files
from pathlib import Path

from core import models
from core.filo.checkpoint import Architecture, read_checkpoint
from core.filo.head import FiloHead, HeadRecord, load_head
from core.model_error import ModelError, first_line
from core.remedy import remedy
from core.weights.store import Record, Store, make_record, sha256_of

FOLDER = "filo"
"""The name under which the store keeps heads, in the place of a model's."""
BUNDLED_FILE = "filo.safetensors"
"""Of the head called `bundled`, beside the weights of the bundled model, which it is for."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_NAMES = "give it a name of a-z, 0-9, _, . and -, at most 64, beginning with a-z or 0-9"


def import_head(
    store: Store,
    file: Path,
    model: Architecture,
    stamp: str,
    name: str | None = None,
    sha256: str | None = None,
) -> tuple[Record, HeadRecord]:
    """Keeps a head in the store: that in a checkpoint of the release, or one that was trained here (`.safetensors`).

    Args:
        store: Where heads are kept.
        file: The checkpoint, or the head.
        model: The CLIP that a checkpoint has to be of; a head says it itself.
        stamp: The time, ISO 8601.
        name: Of the head; by default that of the file.
        sha256: What the file must have, hexadecimal; None: whatever it has.

    Returns:
        The store's record, and the head's.

    Raises:
        ModelError: the name, the file or the store cannot be used, or it is neither.
    """
    name = head_name(file.stem.lower() if name is None else name)
    if not file.is_file():
        raise ModelError(f"{file}: no such file")
    if sha256 is not None and (found := sha256_of(file)) != sha256.lower():
        raise ModelError(f"{file} has SHA-256 {found}, not {sha256.lower()}; copy it again")
    head = load_head(file) if file.suffix == ".safetensors" else read_checkpoint(file, model)
    record = keep_head(store, head, name, stamp, f"imported from {file.name}", "given" if sha256 else None)
    return record, head.record


def keep_head(
    store: Store, head: FiloHead, name: str, stamp: str, source: str, verified_by: str | None = None
) -> Record:
    """Writes a head to the store under a name; one that is there is replaced.

    Raises:
        ModelError: the name or the store cannot be used.
    """
    name = head_name(name)
    with store.writing(FOLDER, name) as work:
        store.need(sum(4 * value.numel() for value in head.state_dict().values()))
        path = work / f"{name}.safetensors"
        head.save(path)
        record = make_record(FOLDER, name, path, sha256_of(path), source, verified_by, stamp, {})
        store.place(path, record)
    return record


def find_head(name: str, store: Store | None = None) -> FiloHead:
    """The head that comes with the package, which is called `bundled`; the one of that name in the store; or a file's.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    if name == models.BUNDLED:
        with as_file(files(models) / BUNDLED_FILE) as file:
            return load_head(file)
    if store is not None and _NAME.fullmatch(name) and (stored := store.get(FOLDER, name)):
        return load_head(stored[0])
    try:
        path = Path(name).expanduser()
        there = path.is_file()
    except (OSError, RuntimeError) as error:  # too long, of a folder that is not to be read, of no such user
        raise ModelError(
            f"FiLo head {name[:80]!r} cannot be looked for: {first_line(error)}; give another path"
        ) from None
    if there:
        return load_head(path)
    here = [entry.tag for entry in store.entries() if entry.model == FOLDER] if store is not None else []
    raise ModelError(
        f"FiLo head {name!r}: no such file, and none of that name in the store (it has {', '.join(here) or 'none'}); "
        + remedy("import head", "bring one here")
    )


def head_name(name: str) -> str:
    """`name`, which a head can have.

    Raises:
        ModelError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f"a head cannot be called {name!r}; {_NAMES}")
    if name == models.BUNDLED:
        raise ModelError(f"a head cannot be called {name!r}: that one comes with the package; give it another name")
    return name
