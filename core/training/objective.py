"""What training minimises: windows, patches and whole images against the sentences of their state and class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from core.blocks import embed
from core.clip import CLIP
from core.sequences import Group, Stage
from core.training.pool import PATCH, Batch

TEMPERATURE = 0.07
SENTENCES = 3  # per label, class and step
_LEAST = 10  # pixels of damage that make a window or patch abnormal; one with fewer, not none, is left out
_VISIBLE = 8  # grey levels by which a pixel must change to count as damaged
_WINDOWS = 6  # per scale and picture


@dataclass(frozen=True)
class Regime:
    """Which passes are trained: whole images alone, as CLIP is, or windows and patches too."""

    scales: tuple[int, ...] = (2, 3)
    patches: bool = True
    image: float = 2.0  # weight of the state of whole images, of which there are fewest


@dataclass(frozen=True, eq=False)
class Targets:
    """Normalised directions that features are drawn to: a step's sentences, or the anchors.

    Attributes:
        states: [C, 2, d]: normal and abnormal, of the step's classes.
        defects: [D, d].
    """

    states: Tensor
    defects: Tensor

    def of(self, classes: Tensor) -> Targets:
        """Those of some classes, by their places."""
        return Targets(self.states[classes], self.defects)


class DamageHead(nn.Linear):
    """Says of each patch token where in the patch there is damage; an aid of training, and no part of the model."""

    CELLS = 4  # a side of the patch

    def __init__(self, width: int) -> None:
        super().__init__(width, self.CELLS**2)

    def loss(self, tokens: Tensor, changed: Tensor) -> Tensor:
        """Of tokens [B, N, width], by the share of each cell that is damaged, float32 [B, N, CELLS^2]."""
        each = functional.binary_cross_entropy_with_logits(self(tokens).float(), changed, reduction="none")
        bad, good = changed > 0, changed == 0
        return (each * bad).sum() / bad.sum().clamp(min=1) + (each * good).sum() / good.sum().clamp(min=1)


def changed_cells(images: NDArray[np.uint8]) -> Tensor:
    """The share of each cell of each patch that differs within a pair, float32 [B, N, CELLS^2]; 0 for the good ones.

    Args:
        images: uint8 [B, 240, 240, 3], pairs of one part with its defects and without.
    """
    pairs = images.reshape(-1, 2, *images.shape[1:]).astype(np.int16)
    differs = (np.abs(pairs[:, 0] - pairs[:, 1]).max(axis=-1) > _VISIBLE).astype(np.float32)
    cell = PATCH // DamageHead.CELLS
    share = functional.avg_pool2d(torch.from_numpy(differs)[:, None], cell)
    cells = functional.unfold(share, DamageHead.CELLS, stride=DamageHead.CELLS).transpose(1, 2)
    return torch.stack([cells, torch.zeros_like(cells)], dim=1).flatten(0, 1)


def draw_anchors(classes: int, defects: int, size: int, seed: int) -> Targets:
    """Fixed random directions, one for each state, class and defect.

    Two towers that start at random agree on nothing, and the quickest way to agree is to say the same of everything.
    Directions that stay where they are give both towers the same aim from the first step. They are not part of the
    model. The last class is that of parts of no known kind: its states have no direction besides their own.
    """
    drawn = torch.from_numpy(np.random.default_rng(seed).normal(size=(classes + defects, size))).float()
    directions = functional.normalize(drawn, dim=-1)
    state, kinds = (
        torch.stack([-directions[0], directions[0]]),
        torch.cat([directions[1:classes], torch.zeros(1, size)]),
    )
    return Targets(functional.normalize(kinds[:, None] + state[None], dim=-1), directions[classes:])


def embed_texts(model: CLIP, states: Tensor, defects: Tensor, anchors: Targets) -> tuple[Targets, Tensor]:
    """Embeds sentences, and says how far they are from their anchors.

    Args:
        model: both towers.
        states: token ids [C, 2, n, T].
        defects: token ids [D, n, T].
        anchors: of the same classes and defects.

    Returns:
        Their means by label or defect; and the loss.
    """
    flat = torch.cat([states.flatten(0, 2), defects.flatten(0, 1)])
    embedded = functional.normalize(encode(model, flat).float(), dim=-1)
    first = states.shape[0] * 2 * states.shape[2]
    each = embedded[:first].reshape(states.shape[0], 2, states.shape[2], -1)
    kinds = functional.normalize(embedded[first:].reshape(*defects.shape[:2], -1).mean(1), dim=-1)
    means = functional.normalize(each.mean(2), dim=-1)
    sides = anchors.states[:, None, None].expand(-1, 2, states.shape[2], -1, -1).flatten(0, 2)
    abnormal = torch.tensor([False, True], device=flat.device)[None, :, None].expand(each.shape[:3]).flatten()
    loss = _state(each.flatten(0, 2), sides, abnormal).mean()
    labels = torch.arange(means.shape[0] * 2, device=flat.device)
    loss = loss + functional.cross_entropy(means.flatten(0, 1) @ anchors.states.flatten(0, 1).T / TEMPERATURE, labels)
    kind = torch.arange(len(kinds), device=flat.device)
    loss = loss + functional.cross_entropy(kinds @ anchors.defects.T / TEMPERATURE, kind)
    return Targets(means, kinds), loss


def encode(model: CLIP, tokens: Tensor) -> Tensor:
    """`model.encode_text` for sentences of any length [N, T]; attention is causal, so padding does not count."""
    length = tokens.shape[1]
    states = model.token_embedding(tokens) + model.positional_embedding[:length]
    sentence = Group(torch.arange(length, device=tokens.device)[None], length, model.attn_mask[:length, :length])
    ((passed, _),) = Stage(list(model.transformer.resblocks), [sentence]).run(model.ln_final, states)
    last: Tensor = passed[torch.arange(len(tokens), device=tokens.device), 0, tokens.argmax(dim=1)]
    embedded: Tensor = last @ model.text_projection
    return embedded


def losses(
    visual: Any,
    head: DamageHead,
    pixels: Tensor,
    batch: Batch,
    place: Tensor,
    aims: Sequence[Targets],
    regime: Regime,
    rng: Generator,
) -> dict[str, Tensor]:
    """The parts of the loss.

    Args:
        visual: open_clip's vision transformer.
        head: the aid that tells where there is damage.
        pixels: float32 [B, 3, 240, 240], normalised.
        batch: what is known of the pictures; they come in pairs, the one with defects first.
        place: int64 [B], each picture's class among those of `aims`.
        aims: what the features are drawn to, the mean of the losses counts: the step's sentences, the anchors.
        regime: what is trained.
        rng: draws the windows.
    """
    damage = torch.from_numpy(batch.damage).to(pixels.device)
    defects = torch.from_numpy(batch.defects).to(pixels.device)
    drawn = [draw_windows(damage, scale, rng) for scale in regime.scales]
    last, windows = embed_windows(visual, pixels, [patches for patches, _ in drawn])
    joint = _joined(visual, last)
    image, patches = joint[:, 0], joint[:, 1:]
    abnormal = damage.flatten(1).sum(1) > 0

    def mean(loss: Callable[[Targets], Tensor]) -> Tensor:
        return torch.stack([loss(aim) for aim in aims]).mean()

    found = {
        "image": regime.image * mean(lambda aim: _state(image, aim.states[place], abnormal).mean()),
        "pair": regime.image * mean(lambda aim: pair_loss(image, aim.states[place], abnormal)),
        "class": mean(lambda aim: _classes(image, aim.states, place, abnormal)),
    }
    if regime.patches:
        found["damage"] = 0.5 * head.loss(last[:, 1:], changed_cells(batch.images).to(pixels.device))
        found["patch"] = mean(lambda aim: _weighed(patches, aim.states[place], damage.flatten(1)))
    for scale, window, (_, hit) in zip(regime.scales, windows, drawn, strict=True):
        named = (hit >= 3 * _LEAST) & (defects >= 0)[:, None]
        wanted = defects[:, None].expand_as(named)[named]
        found[f"window{scale}"] = mean(partial(_window, window, hit, place))
        if named.any():
            found[f"defect{scale}"] = mean(partial(_defect, window[named], wanted))
    return found


def embed_windows(visual: Any, pixels: Tensor, windows: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """What `core.vision.VisionPass` makes of pictures and of windows, here each picture's own; with gradients.

    Args:
        visual: open_clip's vision transformer.
        pixels: float32 [B, 3, H, W], normalised.
        windows: Of each scale the patches of n windows of each picture, int64 [B, n, scale^2].

    Returns:
        The last layer's tokens after ln_post, [B, 1 + N, w], CLS first; and the embeddings of the windows of each
        scale, float32 [B, n, d], unit length.
    """
    embedded = embed(visual, pixels)
    tokens = embedded.shape[1]
    picture = Group(torch.arange(tokens, device=pixels.device)[None], tokens)
    groups = [picture, *(Group(functional.pad(patches + 1, (1, 0)), 1) for patches in windows)]
    (last, _), *passed = Stage(list(visual.transformer.resblocks), groups).run(visual.ln_post, embedded)
    return last[:, 0], [_joined(visual, read[:, :, 0]) for read, _ in passed]


def _window(features: Tensor, pixels: Tensor, place: Tensor, aim: Targets) -> Tensor:
    return _weighed(features, aim.states[place], pixels)


def _defect(features: Tensor, wanted: Tensor, aim: Targets) -> Tensor:
    return 0.3 * functional.cross_entropy(features @ aim.defects.T / TEMPERATURE, wanted)


def draw_windows(damage: Tensor, scale: int, rng: Generator) -> tuple[Tensor, Tensor]:
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


def _joined(visual: Any, passed: Tensor) -> Tensor:
    """Joint embeddings [..., d], float32, normalised."""
    return functional.normalize((passed @ visual.proj).float(), dim=-1)


def _state(features: Tensor, sides: Tensor, abnormal: Tensor) -> Tensor:
    """Binary cross-entropy of [N, d] against the normal and abnormal text [N, 2, d], one value each."""
    return functional.binary_cross_entropy_with_logits(_margins(features, sides), abnormal.float(), reduction="none")


def pair_loss(features: Tensor, sides: Tensor, abnormal: Tensor) -> Tensor:
    """How surely the part with its defects is held for more abnormal than the same part without.

    What a design looks like weighs on both alike and cancels; only the defect is left to learn from.
    """
    margins, differ = _margins(features, sides).view(-1, 2), abnormal[0::2] & ~abnormal[1::2]
    each = functional.softplus(margins[:, 1] - margins[:, 0]) * differ
    return each.sum() / differ.sum().clamp(min=1)


def _margins(features: Tensor, sides: Tensor) -> Tensor:
    return torch.einsum("nd,nd->n", features, sides[:, 1] - sides[:, 0]) / TEMPERATURE


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
