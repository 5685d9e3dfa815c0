"""Drafts of prompt packs on disk: written whole or not at all, and never over anything but a draft."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from core.files import remove_drafts, replacing
from core.packs.pack import PackError, PromptPack, load_pack
from core.packs.text import dump_pack
from core.regular_file import SMALL, read_regular

SUFFIX = ".draft.toml"
"""How the name of every draft ends; that of a released pack does not."""
_MARK = "# A draft, not reviewed:"


class GenerationError(PackError):
    """There is no draft; the message says what came instead, and what to do."""


def draft_path(folder: Path, name: str, overwrite: bool = False) -> Path:
    """Where the draft of the pack called `name` goes.

    Raises:
        GenerationError: it cannot go there: there is something already, other than a draft that may be overwritten;
            or the folder is missing, cannot be written to, or is that of the released packs.
    """
    path = folder / f"{name}{SUFFIX}"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise GenerationError(f"--out {folder}: not a folder that can be written to; make it, or name another")
    if folder.resolve() == Path(str(files("prompt_packs") / "generic.toml")).resolve().parent:
        raise GenerationError(f"--out {folder}: every file there is a released pack; name another folder for the draft")
    if not os.path.lexists(path):
        return path
    if not overwrite:
        raise GenerationError(f"{path}: is there already; give --overwrite if it may go, or another --name or --out")
    if path.is_symlink() or not path.is_file() or not read_regular(path, SMALL).startswith(_MARK.encode()):
        raise GenerationError(f"{path}: is not an unreviewed draft, and stays; give another --name or --out")
    return path


def write_draft(pack: PromptPack, folder: Path, name: str, overwrite: bool = False) -> Path:
    """Writes `pack`, whole or not at all, and returns where.

    Raises:
        GenerationError: it cannot go there.
    """
    mark = f"{_MARK} read and mend every line, take this one away, and call the file {name}.toml."
    try:
        path = draft_path(folder, name, overwrite)
        remove_drafts(folder, path.name)
        with replacing(path) as file:
            file.write_text(f"{mark}\n\n{dump_pack(pack)}", "utf-8")
            load_pack(str(file.absolute()))
            draft_path(folder, name, overwrite)  # the answers took minutes: what is there now?
    except OSError as error:
        raise GenerationError(f"--out {folder}: cannot be written to: {error.strerror or error}") from None
    return path
