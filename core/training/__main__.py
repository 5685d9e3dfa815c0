"""Trains a small CLIP on the simulated world: `python -m core.training --folder FOLDER [--steps N] [--regime whole]`.

It goes on where the folder's last checkpoint stopped. The learning rate is constant, then falls to zero over the last
fifth of the steps, so that a run can be made longer as long as that has not begun.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.backbone import CLIP_MEAN, CLIP_STD
from core.training.captions import Captions
from core.training.objective import Regime, embed_texts, losses, sentences
from core.training.pool import PATCH, Pool

_RATE = 8e-4
_WARM_UP = 200
_FALL = 0.2
_KEEP = 0.998  # of the weights' running mean at each step
_log = logging.getLogger("training")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.training", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for pictures, checkpoints and the log")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=19200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--regime", choices=("windows", "whole"), default="windows")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(arguments.folder / f"{arguments.regime}.log")],
    )
    _train(arguments)


def _train(arguments: argparse.Namespace) -> None:
    _log.info("arguments %s", {key: str(value) for key, value in vars(arguments).items()})
    pool = Pool(arguments.folder, arguments.pictures, 1_000_000 * arguments.seed, arguments.workers)
    captions = Captions()
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    model = CLIP(**json.loads((files("core.models") / "clip.json").read_text("utf-8")))
    _start_filters(model, pool, np.random.default_rng(arguments.seed))
    model.to(device)
    mean = {key: value.detach().clone() for key, value in model.state_dict().items()}
    wide = [one for one in model.parameters() if one.ndim >= 2]
    narrow = [one for one in model.parameters() if one.ndim < 2]
    groups = [{"params": wide, "weight_decay": 0.05}, {"params": narrow, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=_RATE, betas=(0.9, 0.98), fused=True)
    checkpoint = arguments.folder / f"{arguments.regime}.pt"
    step = _resume(checkpoint, model, mean, optimizer) if checkpoint.exists() else 0
    regime = Regime(whole=0.5) if arguments.regime == "windows" else Regime(scales=(), patches=False)
    shift = torch.tensor(CLIP_MEAN, device=device)[:, None, None]
    scale = torch.tensor(CLIP_STD, device=device)[:, None, None]
    # On a CPU, plain products are faster backwards than the fused kernel.
    kernels = [SDPBackend.MATH] if device.type == "cpu" else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    seen: dict[str, list[float]] = {}
    while step < arguments.steps:
        rng = np.random.default_rng([arguments.seed, step])  # the same draws, wherever a run was interrupted
        batch = pool.draw(rng, arguments.batch)
        classes, place = np.unique(batch.classes, return_inverse=True)
        pixels = torch.from_numpy(batch.images).to(device).permute(0, 3, 1, 2).float() / 255.0
        states = captions.states(rng, [int(one) for one in classes], sentences()).to(device)
        with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(kernels):
            texts = embed_texts(model, states, captions.defects(rng, 2).to(device))
            parts = losses(
                model.visual, (pixels - shift) / scale, batch, torch.from_numpy(place).to(device), texts, regime, rng
            )
        total: Tensor = torch.stack(list(parts.values())).sum()
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / _WARM_UP, (arguments.steps - step) / (_FALL * arguments.steps))
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        keep = min(_KEEP, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            mean[key].lerp_(value, 1.0 - keep) if value.is_floating_point() else mean[key].copy_(value)
        step += 1
        for key, part in parts.items():
            seen.setdefault(key, []).append(part.item())
        if step % 50 == 0:
            _log.info("step %d %s", step, {key: round(float(np.mean(one)), 4) for key, one in seen.items()})
            seen.clear()
        if step % 200 == 0 or step == arguments.steps:
            _save(checkpoint, step, model, mean, optimizer)


def _start_filters(model: CLIP, pool: Pool, rng: np.random.Generator) -> None:
    """Starts the patch filters as the whitened principal components of patches, so that fine lines are not lost."""
    patches = torch.from_numpy(pool.patches(rng, 400))
    shift, scale = (torch.tensor(one)[:, None, None] for one in (CLIP_MEAN, CLIP_STD))
    flat = ((patches - shift) / scale).flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    width = model.visual.conv1.weight.shape[0]
    values, vectors = values[-width:].flip(0), vectors[:, -width:].flip(1)
    filters = vectors / (values + 1e-3).sqrt() * 0.5
    with torch.no_grad():
        model.visual.conv1.weight.copy_(filters.T.reshape(width, 3, PATCH, PATCH))


def _save(path: Path, step: int, model: CLIP, mean: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    state = {"step": step, "model": model.state_dict(), "mean": mean, "optimizer": optimizer.state_dict()}
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def _resume(path: Path, model: CLIP, mean: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> int:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for key, value in state["mean"].items():
        mean[key].copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    _log.info("goes on at step %d", state["step"])
    return int(state["step"])


if __name__ == "__main__":
    main()
