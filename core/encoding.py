"""What features are made by, and the form in which they are kept: verified whenever they are read."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.bank.feature_maps import MapKind
from core.bank.memory import Memory
from core.inspector import AnyInspector
from core.preprocess import VERSION as PREPROCESS_VERSION
from core.tiles import WHOLE, Tiling

_DTYPE = "float16"
_PATCH = "patch"
_MAP = "map:"


class FeaturesError(ValueError):
    """Features are not of an encoding, or not as they were written; the message names the variant and the kind."""


class FeaturesMissingError(FeaturesError):
    """Of a kind of features there are none: they were made by other models, or before there was such a kind."""


@dataclass(frozen=True)
class Encoding:
    """What features are made by: only those of one encoding can be compared.

    Attributes:
        fingerprint: Of the model's weights and preprocessing; SHA-256, hexadecimal.
        preprocess: Version of the preprocessing.
        shapes: Of one picture's features by their kind: `window:<scale>` (W, d) of each scale, then `patch` (N, w);
            of windows that are not exact `window:<scale>:<mode>`, and of those at another step than 1 with
            `:step<stride>` behind it. With tiles, of each.
        maps: The feature maps; with tiles, of each.
        tiling: Of the pictures. It stands in the name of each kind that is kept, as `patch@2x2@0.2`.
    """

    fingerprint: str
    preprocess: int
    shapes: tuple[tuple[str, tuple[int, int]], ...]
    maps: tuple[MapKind, ...] = ()
    tiling: Tiling = WHOLE

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of all that features are made by, each once."""
        return tuple(dict.fromkeys([self.fingerprint, *(one.fingerprint for one in self.maps)]))

    @property
    def names(self) -> str:
        """The feature maps, in words."""
        return ", ".join(one.name for one in self.maps) or "none"

    def pack(self, features: Mapping[int, Memory]) -> list[dict[str, Any]]:
        """One row a variant and kind: variant, kind, fingerprint, preprocess, dtype, shape (JSON), crc32, data.

        Args:
            features: By variant 0..15, of which 0 must be there; each of one picture, S = 1 or its tiles.

        Raises:
            FeaturesError: they are of another shape, of no such variant, or not finite.
        """
        if 0 not in features or not set(features) <= set(range(16)):
            raise FeaturesError(f"features of variants {sorted(features)}: 0 must be there, and others be of 1 to 15")
        rows = []
        for variant, memory in sorted(features.items()):
            tensors = [*memory.windows, memory.patches, *memory.maps]
            if [tuple(one.shape) for one in tensors] != [(self.tiling.count, *shape) for _, _, shape in self._kinds()]:
                found = ", ".join(str(list(one.shape)) for one in tensors)
                wanted = ", ".join(f"{kind} {[self.tiling.count, *shape]}" for kind, _, shape in self._kinds())
                raise FeaturesError(f"features of variant {variant} have shapes {found}; the encoding has {wanted}")
            for (kind, fingerprint, shape), tensor in zip(self._kinds(), tensors, strict=True):
                if not bool(tensor.isfinite().all()):
                    raise FeaturesError(f"features {kind} of variant {variant} are not all finite numbers")
                same = {"fingerprint": fingerprint, "preprocess": self.preprocess}
                rows.append({"variant": int(variant), "kind": kind, **same, **_blob(tensor, self._kept(shape))})
        return rows

    def unpack(self, rows: Iterable[Mapping[str, Any]]) -> dict[int, Memory]:
        """By variant, the features (float16, on the CPU) of what `pack` made; nothing of nothing.

        Raises:
            FeaturesError: a kind is missing, damaged, or of another type or shape.
        """
        found: dict[int, dict[str, Tensor]] = {}
        shapes = {kind: shape for kind, _, shape in self._kinds()}
        for row in rows:
            kind, variant = row["kind"], row["variant"]
            if kind in shapes:  # windows of a scale that is no longer used do no harm
                found.setdefault(variant, {})[kind] = _tensor(row, self._kept(shapes[kind])).view(
                    self.tiling.count, *shapes[kind]
                )
        if found and 0 not in found:
            raise FeaturesError("features of variant 0 are missing")
        return {variant: self._memory(variant, tensors) for variant, tensors in sorted(found.items())}

    def _memory(self, variant: int, tensors: Mapping[str, Tensor]) -> Memory:
        if missing := [kind for kind, _, _ in self._kinds() if kind not in tensors]:
            raise FeaturesMissingError(f"features {missing[0]} of variant {variant} are missing")
        ordered = [tensors[kind] for kind, _, _ in self._kinds()]
        own = len(self.shapes)
        return Memory(tuple(ordered[: own - 1]), ordered[own - 1], tuple(ordered[own:]))

    def _kinds(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Kind, fingerprint and shape of all that is kept of a picture, in the order of `Memory`'s attributes."""
        tiles = f"@{self.tiling.name}" if self.tiling.name else ""
        own: list[tuple[str, str, tuple[int, ...]]]
        own = [(kind + tiles, self.fingerprint, shape) for kind, shape in self.shapes]
        return own + [(_MAP + one.name + tiles, one.fingerprint, one.shape) for one in self.maps]

    def _kept(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which features are kept: of a picture as it is without a number of tiles."""
        return shape if self.tiling.count == 1 else (self.tiling.count, *shape)


def encoding_of(inspector: AnyInspector, shape: tuple[int, int] | None = None, tiling: Tiling = WHOLE) -> Encoding:
    """What the features of a method's pass are made by, of pictures of about such a height and width, in tiles.

    Raises:
        TilingError: the pictures are too small for their tiles.
    """
    width, joint = inspector.backbone.visual.proj.shape
    rows, cols = inspector.backbone.grid
    mode = "" if inspector.method.windows == "exact" else f":{inspector.method.windows}"
    mode += "" if inspector.method.stride == 1 else f":step{inspector.method.stride}"
    windows = [(f"window:{one.scale}{mode}", (len(one.index), int(joint))) for one in inspector.windows]
    maps: tuple[MapKind, ...] = ()
    if shape is not None and inspector.method.few_shot == "evidence":
        maps = inspector.feature_maps(tiling.tile_size(shape)).kinds
    shapes = (*windows, (_PATCH, (rows * cols, int(width))))
    return Encoding(
        inspector.backbone.fingerprint, PREPROCESS_VERSION, shapes, maps, WHOLE if tiling.count == 1 else tiling
    )


def _blob(tensor: Tensor, shape: tuple[int, ...]) -> dict[str, Any]:
    data = tensor.half().cpu().numpy().astype("<f2").tobytes()
    return {"dtype": _DTYPE, "shape": json.dumps(shape), "crc32": zlib.crc32(data), "data": data}


def _tensor(row: Mapping[str, Any], shape: tuple[int, ...]) -> Tensor:
    """Of `shape`."""
    data, what = row["data"], f"features {row['kind']} of variant {row['variant']}"
    if (row["dtype"], row["shape"]) != (_DTYPE, json.dumps(shape)):
        raise FeaturesError(f"{what} are {row['dtype']} {row['shape']}, the method's are {_DTYPE} {list(shape)}")
    if zlib.crc32(data) != row["crc32"] or len(data) != 2 * math.prod(shape):
        raise FeaturesError(f"{what} are damaged: they do not have the checksum that was recorded")
    return torch.from_numpy(np.frombuffer(data, "<f2").astype(np.float16).reshape(shape))
