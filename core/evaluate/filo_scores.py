"""FiLo's side of an evaluation: the score and the map of each picture, once for a pack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.filo.filo import Filo, FiloInspection
from core.heatmap import to_frame
from core.image import read
from core.packs.pack import PromptPack


class FiloScores:
    """What FiLo says of pictures, by the SHA-256 of their files.

    Args:
        filo: The model with its head.
        batch: Pictures in one pass.
        inspected: Called before the first batch with 0, and after each with its number of pictures and True.
    """

    def __init__(self, filo: Filo, batch: int, inspected: Callable[[int, bool], None]) -> None:
        self._filo = filo
        self._batch = batch
        self._inspected = inspected
        self._pack = ""
        self._found: dict[str, FiloInspection] = {}

    def inspect(self, pictures: Mapping[Path, str], pack: PromptPack) -> None:
        """Has what is said of pictures, by path and SHA-256, in the words of a pack; of other packs it is forgotten.

        Raises:
            ImageError: a picture cannot be read.
        """
        if pack.sha256 != self._pack:
            self._found, self._pack = {}, pack.sha256
        texts = self._filo.texts(pack)
        missing = {digest: path for path, digest in pictures.items() if digest not in self._found}
        digests = list(missing)
        self._inspected(0, False)
        for start in range(0, len(digests), self._batch):
            part = digests[start : start + self._batch]
            frames = [read(missing[digest]) for digest in part]
            self._found.update(zip(part, self._filo.inspect(frames, [texts] * len(part)), strict=True))
            self._inspected(len(part), True)

    def notes_on(self, class_name: str) -> tuple[str, ...]:
        """What is to be known of a class: whether the head was trained on one of its name."""
        if class_name not in self._filo.head.record.notes.get("classes", ()):
            return ()
        return (
            "The head was trained on a class of this name. Where these are the same pictures, it knows the answers.",
        )

    def get(self, digest: str) -> FiloInspection | None:
        """What is said of a picture; None where it was not inspected."""
        return self._found.get(digest)

    def parts(self, digest: str) -> tuple[Tensor, Tensor]:
        """What the image says of a picture [1, 1], and its map [1, H * W], each in [0, 1]."""
        found = self._found[digest]
        return torch.tensor([[found.global_score]]), torch.from_numpy(found.patch_map).flatten()[None]

    def zero_shot(self, digest: str) -> tuple[float, NDArray[np.float32]]:
        """The score and the map [H, W] of a picture without normal shots, in [0, 1]."""
        return self._found[digest].score, self._found[digest].patch_map

    def beside(self, digest: str, shots: NDArray[np.float32]) -> NDArray[np.float32]:
        """The map [H, W] of a picture and that of normal shots [rows, cols] in one, as `Filo.inspect` has it."""
        own = self._found[digest].patch_map
        return (own + to_frame(shots, (own.shape[0], own.shape[1]))) / np.float32(2)
