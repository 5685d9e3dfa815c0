"""What a detector is told besides pictures: its pack, model, tiles and numbers, each checked before it is used."""

from __future__ import annotations

import logging
import os
from numbers import Integral, Real
from pathlib import Path

import torch

from core.backbone import BUNDLED, UNTRAINED, Backbone, load_backbone
from core.filo.head import FiloHead
from core.method import Method
from core.overrides import NONE, Overrides
from core.packs.pack import PromptPack, load_pack
from core.picture import kind_of
from core.tiles import Tiles, Tiling, parse_tiles
from core.towers import Tower
from core.weights.location import DEFAULT_STORE
from core.weights.store import Store

PAPERS_MODEL = "ViT-B-16-plus-240"
"""The model that weights belong to where none is named."""

log = logging.getLogger(__name__)


class DetectorError(ValueError):
    """A detector cannot do as asked; the message names the argument and the remedy."""


def is_number(value: object) -> bool:
    """Whether it is a number of Python's or numpy's, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """The same of whole numbers."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_threshold(threshold: float) -> None:
    """Raises DetectorError unless `threshold` is in [0, 1]."""
    if not is_number(threshold) or not 0 <= threshold <= 1:  # so for NaN too
        raise DetectorError(f"threshold {threshold!r} is no number from 0 to 1, as scores are")


def tiles_of(tiles: object, overlap: float) -> Tiles:
    """The tiles that are meant by (rows, columns), a text or None.

    Raises:
        DetectorError, TilingError: it is none of these, or out of its range.
    """
    if not is_number(overlap):
        raise DetectorError(f"overlap {overlap!r} is no number; give 0 to 0.5, shares of a tile's side")
    if isinstance(tiles, str):
        return parse_tiles(tiles)
    found = (1, 1) if tiles is None else tiles
    if not isinstance(found, (tuple, list)) or len(found) != 2 or not all(map(is_whole, found)):
        raise DetectorError(f"tiles {tiles!r} are no rows and columns; give (2, 3), or 'auto'")
    tiling = Tiling(int(found[0]), int(found[1]), float(overlap))  # refuses what is out of its range
    return tiling.rows, tiling.cols


def store_of(store: object) -> Store:
    """The store in a folder, by its path; None: this user's.

    Raises:
        DetectorError: it is no path.
    """
    if store is not None and not isinstance(store, (str, os.PathLike)):
        raise DetectorError(f"store is {kind_of(store)}; give the path of a folder")
    return Store(Path(DEFAULT_STORE if store is None else store).expanduser())


def check_kinds(method: object, tower: object) -> None:
    """Raises DetectorError unless these are of the types that `Detector` takes."""
    if not isinstance(method, (Method, FiloHead)):
        raise DetectorError(f"method is {kind_of(method)}; give a core.method.Method, or a head of FiLo")
    if tower is not None and not isinstance(tower, (str, Tower)):
        raise DetectorError(f"tower is {kind_of(tower)}; give the name of one, as 'efficientnet-lite0', or None")


def pack_of(pack: object) -> PromptPack:
    """The pack of this name or path, or itself.

    Raises:
        DetectorError, PackError: there is none.
    """
    if isinstance(pack, PromptPack):
        return pack
    if isinstance(pack, os.PathLike):
        return load_pack(str(Path(pack).absolute()))
    if not isinstance(pack, str):
        raise DetectorError(f"pack is {kind_of(pack)}; give the name of one, as 'bottle', or the path of its file")
    return load_pack(pack)


def backbone_of(
    model: object, weights: object, device: object, dtype: object, image_size: object, store: Store
) -> Backbone:
    """The model that is meant, with `Detector`'s defaults; or the one that is loaded. What is assumed of it is logged.

    Raises:
        DetectorError, ModelError: it cannot be had as asked.
    """
    if isinstance(model, Backbone):
        given = {"weights": weights, "device": device, "dtype": dtype, "image_size": image_size}
        if names := ", ".join(name for name, value in given.items() if value is not None):
            raise DetectorError(f"model is loaded already; leave {names} out")
        return model
    if model is not None and not isinstance(model, str):
        raise DetectorError(f"model is {kind_of(model)}; give the name of one, as {PAPERS_MODEL!r}")
    if weights is not None and not isinstance(weights, (str, os.PathLike)):
        raise DetectorError(f"weights are {kind_of(weights)}; give a tag that was fetched, or the path of a file")
    name = model or (BUNDLED if weights is None else PAPERS_MODEL)
    if weights is not None and name in (BUNDLED, UNTRAINED):
        raise DetectorError(f"model {name!r} takes no weights; leave them out, or name the model that they are of")
    device, dtype = ("cpu" if device is None else device), ("auto" if dtype is None else dtype)
    if not isinstance(dtype, str):
        raise DetectorError(f"dtype {dtype!r} is not known; use 'auto', 'fp32', 'bf16' or 'fp16'")
    if not isinstance(device, (str, torch.device)):
        raise DetectorError(f"device {device!r} is no device; use 'cuda', 'cuda:0' ... or 'cpu'")
    sizes = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if image_size is not None and (len(sizes) != 2 or not all(map(is_whole, sizes))):
        raise DetectorError(f"image_size {image_size!r} is no number of pixels; give 336, or (240, 480)")
    overrides = NONE if image_size is None else Overrides(image_size=(int(sizes[0]), int(sizes[1])))
    file = None if weights is None else os.fspath(weights)
    backbone = load_backbone(name, file, str(device), dtype, store, overrides)
    if backbone.assumed:
        log.warning("%s", backbone.assumed)
    return backbone
