"""Trains a small CLIP on the simulated world: `python -m core.training --folder FOLDER [--steps N] [--regime whole]`.

It goes on where the folder's last checkpoint stopped. The learning rate is constant, then falls to zero over the last
part of the steps (`--fall`), so that a run can be made longer as long as that has not begun.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from core.backbone import CLIP_MEAN, CLIP_STD
from core.clip import CLIP
from core.files import replacing
from core.models import architecture
from core.simline import SIZE
from core.training.captions import Captions
from core.training.objective import SENTENCES, DamageHead, Regime, Targets, draw_anchors, embed_texts, losses
from core.training.pool import PATCH, Pool
from core.training.split import TRAINED_CLASSES, TRAINED_DEFECTS
from core.weights.file import load_tensors

_WARM_UP = 200
_KEEP = 0.998  # of the weights' running mean at each step
_log = logging.getLogger("training")

Optimizers: TypeAlias = tuple[torch.optim.Optimizer, ...]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.training", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for pictures, checkpoints and the log")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--fall", type=float, default=0.5, help="part of the steps over which the rate falls to zero")
    parser.add_argument("--rate", type=float, default=1e-3, help="the learning rate before it falls")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=38400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--world", type=int, nargs="+", default=[1], help="which designs are shown; each below 77")
    parser.add_argument(
        "--often",
        nargs="*",
        default=[],
        choices=TRAINED_CLASSES,
        metavar="CLASS",
        help="classes that are hard, and drawn more often than others",
    )
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
    pools = [
        Pool(arguments.folder, arguments.pictures, 1_000_000 * world, arguments.workers, arguments.often)
        for world in arguments.world
    ]
    captions = Captions()
    device = torch.device(arguments.device)
    torch.manual_seed(arguments.seed)
    model = CLIP(**architecture())
    _start_filters(model, pools[0], np.random.default_rng(arguments.seed))
    _start_positions(model)
    model.to(device)
    mean = {key: value.detach().clone() for key, value in model.state_dict().items()}
    head = DamageHead(model.visual.conv1.weight.shape[0]).to(device)
    optimizers = _optimizers(model, head)
    checkpoint = arguments.folder / f"{arguments.regime}.pt"
    step = _resume(checkpoint, model, head, mean, optimizers) if checkpoint.exists() else 0
    regime = Regime() if arguments.regime == "windows" else Regime(scales=(), patches=False, image=1.0)
    shift = torch.tensor(CLIP_MEAN, device=device)[:, None, None]
    scale = torch.tensor(CLIP_STD, device=device)[:, None, None]
    anchors = draw_anchors(len(TRAINED_CLASSES), len(TRAINED_DEFECTS), model.text_projection.shape[1], arguments.seed)
    anchors = Targets(anchors.states.to(device), anchors.defects.to(device))
    history: dict[str, list[float]] = {}
    while step < arguments.steps:
        rng = np.random.default_rng([arguments.seed, step])  # the same draws, wherever a run was interrupted
        batch = pools[rng.integers(len(pools))].draw(rng, arguments.batch)
        classes, place = np.unique(batch.classes, return_inverse=True)
        pixels = torch.from_numpy(batch.images).to(device).permute(0, 3, 1, 2).float() / 255.0
        states = captions.states(rng, [int(number) for number in classes], SENTENCES).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            near = anchors.of(torch.from_numpy(classes).to(device))
            texts, apart = embed_texts(model, states, captions.defects(rng, 2).to(device), near)
            places = torch.from_numpy(place).to(device)
            parts = losses(model.visual, head, (pixels - shift) / scale, batch, places, (texts, near), regime, rng)
            parts["text"] = apart
        total: Tensor = torch.stack(list(parts.values())).sum()
        left = (arguments.steps - step) / (arguments.fall * arguments.steps)
        rate = arguments.rate * min(1.0, (step + 1) / _WARM_UP, left)
        model.zero_grad(set_to_none=True)
        head.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        keep = min(_KEEP, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            mean[key].lerp_(value, 1.0 - keep) if value.is_floating_point() else mean[key].copy_(value)
        step += 1
        for key, part in parts.items():
            history.setdefault(key, []).append(part.item())
        if step % 50 == 0:
            _log.info("step %d %s", step, {key: round(float(np.mean(values)), 4) for key, values in history.items()})
            history.clear()
        if step % 200 == 0 or step == arguments.steps:
            _save(checkpoint, step, model, head, mean, optimizers)


def _start_filters(model: CLIP, pool: Pool, rng: np.random.Generator) -> None:
    """Starts the patch filters as the principal components of patches, half whitened.

    Left as they are, light and shade drown a fine line; wholly whitened, the sensor's noise drowns all.
    """
    patches = torch.from_numpy(pool.patches(rng, 400))
    shift, scale = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    flat = ((patches - shift) / scale).flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    width = model.visual.conv1.weight.shape[0]
    values, vectors = values[-width:].flip(0), vectors[:, -width:].flip(1)
    filters = vectors / (values + 1e-4).pow(0.25)
    filters *= 0.5 / (filters.square() * values).sum().div(width).sqrt()
    with torch.no_grad():
        model.visual.conv1.weight.copy_(filters.T.reshape(width, 3, PATCH, PATCH))


def _start_positions(model: CLIP) -> None:
    """Starts the places of patches as waves of two directions, so that what is near is alike from the first step."""
    side, width = SIZE // PATCH, model.visual.conv1.weight.shape[0]
    row, col = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    frequencies = 2.0 * side ** -torch.linspace(0.0, 1.0, width // 4)
    angles = torch.cat([row.flatten()[:, None] * frequencies, col.flatten()[:, None] * frequencies], dim=1)
    with torch.no_grad():
        model.visual.positional_embedding[1:] = 0.3 * torch.cat([angles.sin(), angles.cos()], dim=1)


def _optimizers(model: CLIP, head: DamageHead) -> Optimizers:
    """Muon for the matrices within the layers, which learn several times as fast with it; AdamW for the others."""
    layers = [*model.visual.transformer.parameters(), *model.transformer.parameters()]
    inner = [weight for weight in layers if weight.ndim == 2]
    chosen = {id(weight) for weight in inner}
    others = [weight for weight in (*model.parameters(), *head.parameters()) if id(weight) not in chosen]
    groups = [
        {"params": [weight for weight in others if weight.ndim >= 2], "weight_decay": 0.05},
        {"params": [weight for weight in others if weight.ndim < 2], "weight_decay": 0.0},
    ]
    return (
        torch.optim.Muon(inner, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True),
    )


def _save(
    path: Path, step: int, model: CLIP, head: DamageHead, mean: dict[str, Tensor], optimizers: Optimizers
) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "head": head.state_dict(),
        "mean": mean,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    with replacing(path) as draft:
        torch.save(state, draft)


def _resume(path: Path, model: CLIP, head: DamageHead, mean: dict[str, Tensor], optimizers: Optimizers) -> int:
    state: dict[str, Any] = load_tensors(path)
    model.load_state_dict(state["model"])
    head.load_state_dict(state["head"])
    for key, value in state["mean"].items():
        mean[key].copy_(value)
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(kept)
    _log.info("goes on at step %d", state["step"])
    return int(state["step"])


if __name__ == "__main__":
    main()
