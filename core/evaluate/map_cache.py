"""Feature maps of pictures on disk, for the comparison with normal shots."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.backbone import Backbone
from core.bank.augment import augment
from core.bank.feature_maps import MapKind
from core.evaluate.code import code_version
from core.files import remove_drafts, replacing
from core.image import Rgb, read
from core.tiles import WHOLE, Tiling

Encode = Callable[[Sequence[Rgb]], tuple[Tensor, ...]]
"""Frames to maps float32 [B, R, C, d] of each kind, as `core.bank.feature_maps.FeatureMaps` does."""


@dataclass(frozen=True)
class View:
    """A picture as it is, or mirrored or turned.

    Attributes:
        path: The picture.
        digest: SHA-256 of its file.
        variant: Of `core.bank.augment`; 0 is the picture as it is.
    """

    path: Path
    digest: str
    variant: int = 0

    @property
    def key(self) -> str:
        """What its file is named by."""
        return f"{self.digest}-{self.variant}" if self.variant else self.digest


class MapCache:
    """Feature maps, float16, by the content of the picture, the kinds of maps and the code that makes them.

    As in `FeatureCache`, a batch of which one is missing is encoded whole.

    Args:
        root: Folder of the cache.
        kinds: Of maps.
        encode: What makes them.
        backbone: The model, whose device is used.
        batch: Pictures in one pass.
        encoded: Called after each batch with its number of pictures, and whether they were encoded.
        tiling: Of the pictures; the tiles of one are encoded together.
    """

    def __init__(
        self,
        root: Path,
        kinds: Sequence[MapKind],
        encode: Encode,
        backbone: Backbone,
        batch: int,
        encoded: Callable[[int, bool], None],
        tiling: Tiling = WHOLE,
    ) -> None:
        self._tiling = tiling
        self._encode, self._device, self._batch, self._encoded = encode, backbone.device, batch, encoded
        self.kinds = tuple(kinds)
        kinds_of = ((kind.name, kind.fingerprint, kind.shape) for kind in self.kinds)
        described = (code_version(), *kinds_of, str(self._device), batch)
        described += (tiling.name,) if tiling.name else ()
        self.folder = root / ("maps-" + hashlib.sha256(repr(described).encode()).hexdigest()[:16])

    def clear(self) -> None:
        """Forgets what earlier runs left of these kinds."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def encode(self, views: Sequence[View]) -> None:
        """Has the maps of all views on disk.

        Raises:
            ImageError: a picture cannot be read.
            OSError: the disk does not take the maps.
        """
        remove_drafts(self.folder)
        for start in range(0, len(views), self._batch):
            part = views[start : start + self._batch]
            fresh = not all(self._file(view).exists() for view in part)
            if fresh:
                self._store(part)
            self._encoded(len(part), fresh)

    def load(self, view: View) -> tuple[Tensor, ...]:
        """The maps of one view, float32 [1, R, C, d] of each kind, on the device; [T, R, C, d] of its tiles.

        Raises:
            ValueError: the file is damaged; it says which to delete.
        """
        file = self._file(view)
        try:
            held = load_file(file, device=str(self._device))
            maps = (held[str(place)].float() for place in range(len(self.kinds)))
            return tuple(one if self._tiling.name else one[None] for one in maps)
        except (SafetensorError, OSError, KeyError) as error:
            raise ValueError(f"{file}: the cached feature maps are damaged ({error}); delete the file") from error

    @torch.inference_mode()
    def _store(self, views: Sequence[View]) -> None:
        frames = [augment(read(view.path), view.variant) for view in views]
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._tiling.name:
            kept = zip(views, (self._encode(self._tiling.cut(frame)) for frame in frames), strict=True)
        else:
            kept = zip(views, zip(*self._encode(frames), strict=True), strict=True)
        for view, maps in kept:
            held = {str(place): one.half().contiguous().cpu() for place, one in enumerate(maps)}
            with replacing(self._file(view)) as draft:
                save_file(held, draft)

    def _file(self, view: View) -> Path:
        return self.folder / f"{view.key}.safetensors"
