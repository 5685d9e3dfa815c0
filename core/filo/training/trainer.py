"""Trains a head on one model: decoders and contexts by the maps, then the adapter by the image. The tower is frozen.

A training that was killed goes on from its last checkpoint, and on a CPU comes to the same weights, to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.files import replacing
from core.filo.filo import Filo
from core.filo.head import FiloHead
from core.filo.positions import POSITIONS
from core.filo.text import FiloTexts
from core.filo.training.losses import adapter_loss, map_loss
from core.filo.training.pictures import Example, mosaics_of
from core.filo.training.recipe import Recipe
from core.filo.training.tokens import Encoded, TokenCache, joined
from core.weights.file import load_tensors

CHECKPOINT = "checkpoint.pt"
_EVERY = 200  # steps between checkpoints
_BETAS = (0.5, 0.999)


class CheckpointError(ValueError):
    """A checkpoint that does not belong to this training; the message names what differs and what to do."""


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: `maps` or `adapter`.
        step: Steps done, of both stages together.
        steps: Steps that there are.
        loss: Of the last step.
    """

    stage: str
    step: int
    steps: int
    loss: float


class Trainer:
    """One training.

    Args:
        filo: The model with the head to be trained, which is changed in place.
        examples: What is learnt from.
        texts: What is said of each class of the examples.
        cache: The frozen tower's tokens.
        recipe: The numbers.
        folder: For the checkpoint; it is there.
    """

    def __init__(
        self,
        filo: Filo,
        examples: Sequence[Example],
        texts: Mapping[str, FiloTexts],
        cache: TokenCache,
        recipe: Recipe,
        folder: Path,
    ) -> None:
        self._filo = filo
        self._head: FiloHead = filo.head
        self._examples = examples
        self._mosaics = mosaics_of(examples, recipe.seed)
        self._texts = texts
        self._cache = cache
        self._recipe = recipe
        self._checkpoint = folder / CHECKPOINT
        self._per_epoch = -(-len(examples) // recipe.batch)  # steps
        self._first = recipe.epochs * self._per_epoch  # steps of the first stage
        self.steps = self._first + recipe.adapter_epochs * self._per_epoch

    def run(self, told: Callable[[Progress], None] = lambda progress: None, until: int | None = None) -> FiloHead:
        """Trains to the end, or to step `until`, from the checkpoint if there is one; gives the head.

        Raises:
            CheckpointError: the checkpoint is of other examples or another recipe.
            ModelError: it cannot be read.
            ImageError: a picture changed and can no longer be read.
            OSError: the disk takes no checkpoint or no tokens.
        """
        self._head.train()
        state = self._resumed()
        step = 0 if state is None else int(state["step"])
        stop = self.steps if until is None else min(until, self.steps)
        optimizer = self._optimizer(step)
        if state is not None and state["optimizer"] is not None:
            optimizer.load_state_dict(state["optimizer"])
        while step < stop:
            loss = self._step(step, optimizer)
            step += 1
            if step == self._first:
                optimizer = self._optimizer(step)
            if step % _EVERY == 0 or step == stop:
                self._save(step, optimizer)
            told(Progress("maps" if step <= self._first else "adapter", step, self.steps, loss))
        return self._head.eval()

    def _step(self, step: int, optimizer: torch.optim.Optimizer) -> float:
        by_maps = step < self._first
        epoch, place = divmod(step, self._per_epoch)
        order = np.random.default_rng([self._recipe.seed, epoch]).permutation(len(self._examples))
        rows = order[place * self._recipe.batch : (place + 1) * self._recipe.batch]
        samples = [self._sample(epoch, int(row)) for row in rows]
        batch = joined([encoded for encoded, _, _ in samples])
        drawn = [(texts, position) for _, texts, position in samples]
        loss = self._map_loss(batch, drawn) if by_maps else self._adapter_loss(batch, drawn)
        start, end = (0, self._first) if by_maps else (self._first, self.steps)
        left = (end - step) / max(self._recipe.fall * (end - start), 1e-9)
        for group in optimizer.param_groups:
            group["lr"] = group["highest"] * min(1.0, left)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.item()

    def _sample(self, epoch: int, row: int) -> tuple[Encoded, FiloTexts, int | None]:
        """A picture or its mosaic, and the prompts that it is held against; the same wherever a run was cut short."""
        rng = np.random.default_rng([self._recipe.seed, epoch, row])
        example: Example = self._mosaics[row] if rng.random() < self._recipe.mosaics else self._examples[row]
        texts = self._texts[example.class_name]
        states = len(texts.abnormal.ends) // len(POSITIONS)
        if not 0 < self._recipe.prompts < states * len(POSITIONS):
            return self._cache.get(example), texts, None
        # All positions count alike in the mean: drawing one of them leaves it where it is, at a ninth of the cost.
        chosen = torch.from_numpy(np.sort(rng.permutation(states)[: self._recipe.prompts]))
        prompts = (chosen[:, None] * len(POSITIONS) + torch.arange(len(POSITIONS))).flatten()
        drawn = replace(texts, abnormal=texts.abnormal.take(prompts.to(texts.abnormal.ends.device)))
        return self._cache.get(example), drawn, int(rng.integers(len(POSITIONS)))

    def _map_loss(self, batch: Encoded, drawn: Sequence[tuple[FiloTexts, int | None]]) -> Tensor:
        with self._precision():
            labels = self._labels(batch, drawn)
            decoded = self._filo.decode(batch.streams)
        return map_loss(self._filo.layer_maps([tokens.float() for tokens in decoded], labels.float()), batch.mask)

    def _adapter_loss(self, batch: Encoded, drawn: Sequence[tuple[FiloTexts, int | None]]) -> Tensor:
        with torch.no_grad(), self._precision():
            labels = self._labels(batch, drawn)
        adapted = self._filo.adapted(batch.streams.image)
        return adapter_loss(torch.einsum("bd,btd->bt", adapted, labels.float()), batch.anomalous)

    def _labels(self, batch: Encoded, drawn: Sequence[tuple[FiloTexts, int | None]]) -> Tensor:
        """[B, 2, d]; the contexts are shifted by the image's own embedding, before the adapter."""
        shift = F.normalize(batch.streams.image, dim=-1)
        return torch.cat(
            [
                self._filo.prompts(shift[row : row + 1], texts, position).labels
                for row, (texts, position) in enumerate(drawn)
            ]
        )

    def _precision(self) -> AbstractContextManager[object]:
        backbone = self._filo.backbone
        return nullcontext() if backbone.dtype == "fp32" else torch.autocast(backbone.device.type, torch.bfloat16)

    def _optimizer(self, step: int) -> torch.optim.Optimizer:
        """Of the stage that comes after so many steps."""
        recipe, head = self._recipe, self._head
        decoders = [head.decoder_linear, head.decoder_cov]
        contexts = [head.normal_prompt_learner, head.abnormal_prompt_learner]
        groups: list[tuple[Sequence[nn.Module], float]] = (
            [(decoders, recipe.decoder_rate), (contexts, recipe.context_rate)]
            if step < self._first
            else [([head.adapter], recipe.adapter_rate)]
        )
        return torch.optim.AdamW(
            [
                {"params": [weight for part in parts for weight in part.parameters()], "lr": rate, "highest": rate}
                for parts, rate in groups
            ],
            betas=_BETAS,
        )

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must be of, to be gone on from."""
        keys = hashlib.sha256(repr([example.key for example in self._examples]).encode()).hexdigest()
        said = hashlib.sha256(repr([(name, text.wording) for name, text in sorted(self._texts.items())]).encode())
        backbone = self._filo.backbone
        return {
            "model": backbone.fingerprint,
            "dtype": backbone.dtype,
            "pictures": keys,
            "packs": said.hexdigest(),
            "head": hashlib.sha256(self._head.record.model_dump_json(exclude={"notes"}).encode()).hexdigest(),
            **asdict(self._recipe),
        }

    def _save(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        state = {
            "identity": self._identity(),
            "step": step,
            "head": self._head.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with replacing(self._checkpoint, sync=True) as draft:
            torch.save(state, draft)

    def _resumed(self) -> dict[str, Any] | None:
        if not self._checkpoint.exists():
            return None
        state: dict[str, Any] = load_tensors(self._checkpoint)
        here, there = self._identity(), state.get("identity", {}) if isinstance(state, dict) else {}
        if differing := [name for name in here if here[name] != there.get(name)]:
            raise CheckpointError(
                f"{self._checkpoint} is of a training with other {', '.join(differing)}: give the same, name another "
                "folder, or remove it"
            )
        self._head.load_state_dict(state["head"])
        return state
