"""What the frozen tower makes of pictures, kept on disk: training then costs the head alone, epoch after epoch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.files import remove_drafts, replacing
from core.filo.filo import Filo
from core.filo.training.pictures import Example, Mask
from core.filo.vision import Streams
from core.image import Rgb


@dataclass(frozen=True, eq=False)
class Encoded:
    """B pictures as the head learns from them.

    Attributes:
        streams: Of the frozen tower, rounded to float16, as float32 on its device.
        mask: float32 [B, H, W] of the tower's size, 1 on the defect.
        anomalous: bool [B].
    """

    streams: Streams
    mask: Tensor
    anomalous: Tensor


class Encoder:
    """The frozen tower. Each picture passes alone, so that it gives the same whatever else is in a batch.

    Attributes:
        size: Height and width of its input, pixels.
        device: Where it computes.
        fingerprint: Of all that decides what it gives, but for the picture.
    """

    def __init__(self, filo: Filo) -> None:
        backbone = filo.backbone
        self.size = backbone.pixels.size
        self.device = backbone.device
        blocks = f"{filo.vision.layers} {filo.vision.start}"
        self.fingerprint = f"{backbone.fingerprint} {backbone.device.type} {backbone.dtype} {blocks}"
        self._pixels = backbone.pixels
        self._pass = filo.vision

    @torch.no_grad()
    def encode(self, image: Rgb, mask: Mask) -> Encoded:
        """One picture, uint8 [h, w, 3] of any size, and its mask, bool [H, W] of the tower's size."""
        streams = self._pass(self._pixels([image]))
        rounded = Streams(
            streams.image.half().float(),
            tuple(tokens.half().float() for tokens in streams.ordinary),
            tuple(tokens.half().float() for tokens in streams.values),
        )
        marked = torch.from_numpy(np.ascontiguousarray(mask)).to(self.device)[None]
        return Encoded(rounded, marked.float(), marked.flatten(1).any(1))


class TokenCache:
    """Encoded examples in a folder, one file each, by the tower and what tells the example from any other.

    Args:
        folder: Made when it is not there; None keeps nothing.
        encoder: What encodes.
        limit: Bytes; examples that would go beyond are encoded each time.
    """

    def __init__(self, folder: Path | None, encoder: Encoder, limit: int) -> None:
        self._folder = folder
        self._encoder = encoder
        self._left = limit
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            remove_drafts(folder)
            self._left -= sum(file.stat().st_size for file in folder.glob("*.safetensors"))

    def get(self, example: Example) -> Encoded:
        """The example, from its file, or encoded and kept. A file that is damaged is made anew.

        Raises:
            ImageError: the picture or its mask cannot be read.
            OSError: the disk does not take the file.
        """
        if self._folder is None:
            return self._encoder.encode(*example.load(self._encoder.size))
        name = hashlib.sha256(f"{self._encoder.fingerprint} {example.key}".encode()).hexdigest()
        file = self._folder / f"{name}.safetensors"
        if (found := self._read(file)) is not None:
            return found
        encoded = self._encoder.encode(*example.load(self._encoder.size))
        held = _packed(encoded)
        size = sum(tensor.nbytes for tensor in held.values())
        if size <= self._left:
            with replacing(file) as draft:
                save_file(held, draft)
            self._left -= size
        return encoded

    def _read(self, file: Path) -> Encoded | None:
        try:
            return _unpacked(load_file(file), self._encoder)
        except (FileNotFoundError, SafetensorError, KeyError):
            return None


def joined(parts: list[Encoded]) -> Encoded:
    """Several pictures as one batch."""
    streams = [part.streams for part in parts]
    return Encoded(
        Streams(
            torch.cat([stream.image for stream in streams]),
            tuple(torch.cat(layer) for layer in zip(*(stream.ordinary for stream in streams), strict=True)),
            tuple(torch.cat(layer) for layer in zip(*(stream.values for stream in streams), strict=True)),
        ),
        torch.cat([part.mask for part in parts]),
        torch.cat([part.anomalous for part in parts]),
    )


def _packed(encoded: Encoded) -> dict[str, Tensor]:
    streams = encoded.streams
    tensors = {
        "image": streams.image,
        "ordinary": torch.stack(streams.ordinary),
        "values": torch.stack(streams.values),
    }
    return {key: tensor.half().cpu() for key, tensor in tensors.items()} | {"mask": encoded.mask.bool().cpu()}


def _unpacked(held: dict[str, Tensor], encoder: Encoder) -> Encoded:
    tensors = {key: tensor.to(encoder.device).float() for key, tensor in held.items()}
    mask = tensors["mask"]
    streams = Streams(tensors["image"], tuple(tensors["ordinary"]), tuple(tensors["values"]))
    return Encoded(streams, mask, mask.flatten(1).any(1))
