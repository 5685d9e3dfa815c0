"""What training minimises: windows, patches and whole images against the sentences of their state and class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from open_clip.model import CLIP
from torch import Tensor

from core.training.pool import Batch

TEMPERATURE = 0.07
_SENTENCES = 3  # per label, class and step
_LEAST = 10  # pixels of damage that make a window or patch abnormal; one with fewer, not none, is left out
_WINDOWS = 10  # per scale and picture


@dataclass(frozen=True)
class Regime:
    """Which passes are trained: whole images alone, as CLIP is, or windows and patches too."""

    scales: tuple[int, ...] = (2, 3)
    patches: bool = True
    whole: float = 1.0  # share of a step's pictures that are seen whole


@dataclass(frozen=True, eq=False)
class Texts:
    """Normalised embeddings of a step's sentences.

    Attributes:
        states: [C, 2, d]: normal and abnormal, of the step's classes.
        defects: [D, d].
    """

    states: Tensor
    defects: Tensor


def embed_texts(model: CLIP, states: Tensor, defects: Tensor) -> Texts:
    """Embeds sentences (token ids [C, 2, n, T] and [D, n, T]); those of one label or defect are averaged."""
    flat = torch.cat([states.flatten(0, 2), defects.flatten(0, 1)])
    embedded = functional.normalize(encode(model, flat).float(), dim=-1)
    first = states.shape[0] * 2 * states.shape[2]
    sides = embedded[:first].reshape(states.shape[0], 2, states.shape[2], -1).mean(2)
    kinds = embedded[first:].reshape(defects.shape[0], defects.shape[1], -1).mean(1)
    return Texts(functional.normalize(sides, dim=-1), functional.normalize(kinds, dim=-1))


def encode(model: CLIP, tokens: Tensor) -> Tensor:
    """`model.encode_text` for sentences of any length [N, T]; attention is causal, so padding does not count."""
    length = tokens.shape[1]
    states = model.token_embedding(tokens) + model.positional_embedding[:length]
    passed = model.ln_final(model.transformer(states, attn_mask=model.attn_mask[:length, :length]))
    last: Tensor = passed[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
    embedded: Tensor = last @ model.text_projection
    return embedded


def losses(
    visual: Any, pixels: Tensor, batch: Batch, place: Tensor, texts: Texts, regime: Regime, rng: np.random.Generator
) -> dict[str, Tensor]:
    """The parts of the loss.

    Args:
        visual: open_clip's vision transformer.
        pixels: float32 [B, 3, 240, 240], normalised.
        batch: what is known of the pictures.
        place: int64 [B], each picture's class among those of `texts`.
        texts: the step's sentences.
        regime: what is trained.
        rng: draws the windows.
    """
    damage = torch.from_numpy(batch.damage).to(pixels.device)
    defects = torch.from_numpy(batch.defects).to(pixels.device)
    tokens = visual.conv1(pixels).flatten(2).transpose(1, 2) + visual.positional_embedding[1:]
    start = (visual.class_embedding + visual.positional_embedding[0]).expand(len(pixels), 1, -1)
    part = slice(None, math.ceil(len(pixels) * regime.whole))
    whole = _run(visual, torch.cat([start, tokens], dim=1)[part])
    image, patches, belongs = whole[:, 0], whole[:, 1:], place[part]
    abnormal = damage[part].flatten(1).sum(1) > 0
    found = {
        "image": _state(image, texts.states[belongs], abnormal).mean(),
        "class": _classes(image, texts.states, belongs, abnormal),
    }
    if regime.patches:
        found["patch"] = _weighed(patches, texts.states[belongs], damage[part].flatten(1))
    for scale in regime.scales:
        index, pixels_hit = draw_windows(damage, scale, rng)
        first = torch.arange(len(tokens), device=tokens.device)[:, None, None] * tokens.shape[1]
        cut = tokens.flatten(0, 1).index_select(0, (first + index).flatten()).unflatten(0, index.shape)
        inputs = torch.cat([start[:, None].expand(-1, index.shape[1], -1, -1), cut], dim=2).flatten(0, 1)
        window = _run(visual, inputs)[:, 0].reshape(*index.shape[:2], -1)
        found[f"window{scale}"] = _weighed(window, texts.states[place], pixels_hit)
        named = (pixels_hit >= 3 * _LEAST) & (defects >= 0)[:, None]
        if named.any():
            logits = window[named] @ texts.defects.T / TEMPERATURE
            wanted = defects[:, None].expand_as(named)[named]
            found[f"defect{scale}"] = 0.3 * functional.cross_entropy(logits, wanted)
    return found


def draw_windows(damage: Tensor, scale: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Windows of `scale` x `scale` patches, half of them over damage where there is some.

    Args:
        damage: int64 [B, rows, cols], changed pixels of each patch.
        scale: side of a window in patches.
        rng: draws.

    Returns:
        Patches of each window, int64 [B, n, scale^2]; and its changed pixels, int64 [B, n].
    """
    hit = functional.avg_pool2d(damage[:, None].float(), scale, 1).squeeze(1) * scale**2
    cols = hit.shape[2]
    flat = hit.flatten(1)
    chance = torch.from_numpy(rng.random(flat.shape)).to(flat)
    over = (flat >= _LEAST) + chance  # without damage any window will do, not the first ones
    first = over.topk(_WINDOWS // 2, dim=1).indices
    rest = chance.topk(_WINDOWS - _WINDOWS // 2, dim=1).indices
    chosen = torch.cat([first, rest], dim=1)
    row, col = chosen // cols, chosen % cols
    step = torch.arange(scale, device=damage.device)
    inside = (step[:, None] * damage.shape[2] + step[None, :]).flatten()
    return (row * damage.shape[2] + col)[..., None] + inside, flat.gather(1, chosen).round().long()


def _run(visual: Any, tokens: Tensor) -> Tensor:
    """Joint embeddings of tokens [N, T, width], normalised, float32 [N, T, d]."""
    passed = visual.ln_post(visual.transformer(visual.ln_pre(tokens)))
    return functional.normalize((passed @ visual.proj).float(), dim=-1)


def _state(features: Tensor, sides: Tensor, abnormal: Tensor) -> Tensor:
    """Binary cross-entropy of [N, d] against the normal and abnormal text [N, 2, d], one value each."""
    margin = torch.einsum("nd,nd->n", features, sides[:, 1] - sides[:, 0]) / TEMPERATURE
    return functional.binary_cross_entropy_with_logits(margin, abnormal.float(), reduction="none")


def _weighed(features: Tensor, sides: Tensor, pixels: Tensor) -> Tensor:
    """The same over [B, n, d] with [B, n] changed pixels: both labels count alike, the unclear not at all."""
    flat = pixels.flatten()
    abnormal, clear = flat >= _LEAST, (flat == 0) | (flat >= _LEAST)
    spread = sides[:, None].expand(-1, pixels.shape[1], -1, -1).flatten(0, 1)
    each = _state(features.flatten(0, 1), spread, abnormal)
    bad, good = abnormal.float(), (clear & ~abnormal).float()
    return (each * bad).sum() / bad.sum().clamp(min=1.0) * 0.5 + (each * good).sum() / good.sum().clamp(min=1.0) * 0.5


def _classes(image: Tensor, states: Tensor, place: Tensor, abnormal: Tensor) -> Tensor:
    """Cross-entropy over every class and state of the step, as in CLIP."""
    logits = image @ states.flatten(0, 1).T / TEMPERATURE
    return 0.5 * functional.cross_entropy(logits, place * 2 + abnormal.long())


def sentences() -> int:
    """Sentences per label and class in a step."""
    return _SENTENCES
