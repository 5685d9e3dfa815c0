"""The pass on CUDA as captured graphs: one launch in place of some hundred, on memory that is laid out once."""

from __future__ import annotations

import torch
from torch import Tensor

from core.vision import Features, VisionPass

_WARM_UPS = 3  # passes before a capture, in which libraries choose their algorithms and take their workspaces


class BatchTooLargeError(RuntimeError):
    """The device's memory does not take the batch; `fits` is the largest that it took, 0 for none."""

    def __init__(self, batch: int, fits: int, device: torch.device) -> None:
        self.fits = fits
        remedy = f"a batch of {fits} does" if fits else "not even one of 1 does: use a smaller model or a larger device"
        super().__init__(f"a batch of {batch} does not fit into the memory of {device}; {remedy}")


def batch_sizes(most: int) -> tuple[int, ...]:
    """The sizes to capture for batches of 1 to `most`: the powers of two below it, and `most`."""
    powers = (1 << power for power in range(most.bit_length()))
    return (*(size for size in powers if size < most), most)


def fitting(sizes: tuple[int, ...], batch: int) -> int:
    """The smallest of `sizes` that takes a batch."""
    for size in sizes:
        if batch <= size:
            return size
    raise ValueError(f"a batch of {batch} is larger than the largest that was captured, {sizes[-1]}")


class GraphedPass:
    """`VisionPass` with static shapes: a batch runs in the smallest graph that takes it.

    The features of a call lie in the graph's own memory: they hold until the next call.

    Args:
        vision: The pass, on a CUDA device.
        batch: The largest batch.

    Raises:
        BatchTooLargeError: the device's memory does not take it.
    """

    def __init__(self, vision: VisionPass, batch: int) -> None:
        self._sizes = batch_sizes(batch)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Features]] = {}
        self._vision = vision
        device: torch.device = vision.visual.conv1.weight.device
        fits = 0
        for size in self._sizes:
            captured = self._try(size, device)
            if captured is None:
                self._graphs.clear()
                torch.cuda.empty_cache()
                raise BatchTooLargeError(batch, fits, device)
            self._graphs[size] = captured
            fits = size

    @torch.inference_mode()
    def __call__(self, pixels: Tensor) -> Features:
        """Features of pixels [B, 3, H, W] on the device, B up to the largest batch."""
        graph, entry, features = self._graphs[fitting(self._sizes, len(pixels))]
        entry[: len(pixels)].copy_(pixels)
        graph.replay()
        return features if len(pixels) == len(entry) else features.take(slice(0, len(pixels)))

    def _try(self, size: int, device: torch.device) -> tuple[torch.cuda.CUDAGraph, Tensor, Features] | None:
        """The graph, or None where memory does not take it: the error itself would hold the failed pass's tensors."""
        try:
            return self._capture(size, device)
        except torch.cuda.OutOfMemoryError:
            return None

    @torch.inference_mode()
    def _capture(self, size: int, device: torch.device) -> tuple[torch.cuda.CUDAGraph, Tensor, Features]:
        entry = torch.zeros(size, 3, *self._vision.visual.image_size, device=device)
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._vision(entry)
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self._graphs.values()))[0].pool() if self._graphs else None
        with torch.cuda.graph(graph, pool=pool):
            features = self._vision(entry)
        return graph, entry, features
