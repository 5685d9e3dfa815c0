"""Features of pictures on disk, so that every shot, seed and ablation costs one encoding."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.alfa import Alfa
from core.aligner import ALIGNERS, ALL, Values
from core.evaluate.code import code_version
from core.files import remove_drafts, replacing
from core.image import MOST_BYTES, Rgb, read
from core.regular_file import read_regular
from core.tiles import WHOLE, Tiling
from core.vision import Features


class FeatureCache:
    """Features by the content of the picture, the model, the windows and the code that makes them.

    Pictures are encoded in batches of a fixed partition of those asked for, and a batch of which one is missing is
    encoded whole: what is read later is the same, to the last bit, whether or not a run was cut short. The tiles of one
    picture are a pass of their own.

    Args:
        root: Folder of the cache.
        alfa: What encodes, with patch tokens.
        aligners: The aligners that will be used.
        batch: Pictures in one pass.
        encoded: Called before the first batch with 0, and after each with its number of pictures and whether they
            were encoded, not found in the cache.
    """

    def __init__(
        self, root: Path, alfa: Alfa, aligners: Sequence[str], batch: int, encoded: Callable[[int, bool], None]
    ) -> None:
        self._alfa = alfa
        self._batch = batch
        self._encoded = encoded
        self._compact = all(ALIGNERS[name].tokens != ALL for name in aligners)  # two tokens then stand for all
        backbone, method = alfa.backbone, alfa.method
        windows = (method.windows, method.scales, method.stride)
        described = (code_version(), backbone.fingerprint, str(backbone.device), backbone.dtype, *windows, batch)
        key = hashlib.sha256(repr((*described, self._compact)).encode()).hexdigest()[:16]
        self._folder = root / key

    def clear(self) -> None:
        """Forgets what earlier runs with this model and these windows left."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def encode(self, paths: Sequence[Path], tiling: Tiling = WHOLE) -> dict[Path, str]:
        """Has the features of all `paths`, or of their tiles, on disk; returns the SHA-256 of each.

        Raises:
            ImageError: a picture cannot be read.
            TilingError: one is too small for its tiles.
            OSError: the disk does not take the features.
        """
        remove_drafts(self._folder)
        digests = self.digests(paths)
        self._encoded(0, False)
        for start in range(0, len(paths), self._batch):
            part = paths[start : start + self._batch]
            files = [self._file(digests[path], tiling) for path in part]
            fresh = not all(file.exists() for file in files)
            if fresh and tiling.count == 1:
                self._store(files, [read(path) for path in part])
            elif fresh:
                for file, path in zip(files, part, strict=True):
                    self._store([file], tiling.cut(read(path)))
            self._encoded(len(part), fresh)
        return digests

    def digests(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The SHA-256 of each, by which its features are found."""
        return {path: hashlib.sha256(read_regular(path, MOST_BYTES)).hexdigest() for path in paths}

    def load(self, digest: str, tiling: Tiling = WHOLE) -> Features:
        """The features of one picture, on the device, as a batch of one, or of its tiles.

        Raises:
            ValueError: the file is damaged; it says which to delete.
        """
        file = self._file(digest, tiling)
        try:
            held = load_file(file, device=str(self._alfa.backbone.device))
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file}: the cached features are damaged ({error}); delete the file") from error
        scales = [one.scale for one in self._alfa.windows]
        windows = tuple(held[f"window{scale}"].float() for scale in scales)
        values = tuple(
            Values(held["value"].float(), held[f"value{scale}"].float(), held[f"index{scale}"]) for scale in scales
        )
        return Features(held["image"], windows, values, held["patches"].float())

    @torch.inference_mode()
    def _store(self, files: Sequence[Path], frames: Sequence[Rgb]) -> None:
        """Keeps what one pass makes of frames, as many in each file."""
        features = self._alfa.vision(self._alfa.backbone.pixels(frames))
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = len(frames) // len(files)
        for place, file in enumerate(files):
            one = features.take(slice(place * rows, (place + 1) * rows))
            assert one.patches is not None
            held = {"image": one.image, "patches": one.patches.half()}
            for tables, window, values in zip(self._alfa.windows, one.windows, one.values, strict=True):
                scale = tables.scale
                held[f"window{scale}"] = window.half()
                held["value"] = self._few(values.image).half()
                held[f"value{scale}"] = self._few(values.window).half()
                held[f"index{scale}"] = values.index
            with replacing(file) as draft:
                save_file({key: value.contiguous().cpu() for key, value in held.items()}, draft)

    def _few(self, values: Tensor) -> Tensor:
        """CLS and the mean of the patches [..., 2, w] of [..., 1 + n, w], where that is all that will be looked at."""
        if not self._compact:
            return values
        return torch.stack([values[..., 0, :], values[..., 1:, :].float().mean(-2).to(values.dtype)], -2)

    def _file(self, digest: str, tiling: Tiling) -> Path:
        name = f"{digest}-{tiling.name}" if tiling.name else digest
        return self._folder / f"{name}.safetensors"
