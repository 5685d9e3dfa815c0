"""Compiled packs: what a model makes of a pack's sentences, kept on disk, so that the edge needs no text tower."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from core import files
from core.backbone import Backbone
from core.model_error import ModelError
from core.packs.pack import PromptPack

_NAMES = ("normal", "abnormal", "descriptors")


@dataclass(frozen=True, eq=False)
class CompiledPack:
    """g(t) of a pack's sentences before normalisation, float32, the template's first.

    Attributes:
        normal: [P+, d].
        abnormal: [P-, d].
        descriptors: [D, d].
        phrases: The D descriptors themselves.
    """

    normal: Tensor
    abnormal: Tensor
    descriptors: Tensor
    phrases: tuple[str, ...]


Embed = Callable[[Sequence[str]], Tensor]
"""Sentences to g(t) before normalisation, float32 [P, d]."""


def compile_pack(backbone: Backbone, pack: PromptPack, embed: Embed | None = None) -> CompiledPack:
    """The pack's sentences, embedded by `embed`: by default the text tower, in this thread."""
    embed = embed or backbone.text.embed
    prompts = pack.prompts()
    return CompiledPack(embed(prompts.normal), embed(prompts.abnormal), embed(pack.descriptors), pack.descriptors)


class CompiledPacks:
    """Compiled packs in a folder, one file for each pack (by all its texts) and model (by its fingerprint)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, backbone: Backbone, pack: PromptPack) -> Path:
        """The file, whether it is there or not."""
        return self.folder / f"{pack.name}-{pack.texts_sha256[:16]}-{backbone.fingerprint[:16]}.safetensors"

    def get(self, backbone: Backbone, pack: PromptPack, embed: Embed | None = None) -> CompiledPack:
        """The compiled pack, from its file, or made by `embed` and kept there. A file that is damaged is made anew.

        Raises:
            ModelError: the folder takes no file, or the text tower cannot be read.
        """
        path = self.path(backbone, pack)
        if (found := _read(path, _identity(backbone, pack), pack)) is not None:
            return found
        made = compile_pack(backbone, pack, embed)
        try:
            _write(path, made, _identity(backbone, pack))
        except OSError as error:
            raise ModelError(
                f"compiled packs in {self.folder}: {error.strerror or error}; make it writable, or set model.store"
            ) from error
        return made


def _identity(backbone: Backbone, pack: PromptPack) -> dict[str, str]:
    return {"texts": pack.texts_sha256, "model": backbone.fingerprint}


def _read(path: Path, identity: dict[str, str], pack: PromptPack) -> CompiledPack | None:
    """None when the file is not there, is of another pack or model, or is not as it was written."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in _NAMES}
    except (FileNotFoundError, SafetensorError):
        return None
    if facts != identity | {"sha256": _digest(tensors)}:
        return None
    return CompiledPack(**tensors, phrases=pack.descriptors)


def _write(path: Path, made: CompiledPack, identity: dict[str, str]) -> None:
    tensors = {name: getattr(made, name).contiguous() for name in _NAMES}
    data = save(tensors, identity | {"sha256": _digest(tensors)})
    path.parent.mkdir(parents=True, exist_ok=True)
    files.remove_drafts(path.parent, path.name)
    files.write(path, data, sync=True)


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in _NAMES:
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()
