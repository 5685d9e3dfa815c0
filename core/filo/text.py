"""Prompts with a learned context through the model's text encoder."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.filo.prompts import Wording
from core.text_tower import TextTower
from core.vision import UnsupportedModelError

_CHUNK = 64  # prompts at a time: more are no faster, and would be the peak of memory
_PLACEHOLDER = "X"  # a word of one token, whose place the context takes


@dataclass(frozen=True, eq=False)
class PromptTokens:
    """P prompts as the text encoder's tokens, without the context that goes between the start and the words.

    Attributes:
        start: The start token, float32 [t].
        words: What follows the context, float32 [P, L, t]; behind an end token of no meaning.
        ends: Where the end token is in `words`, int64 [P].
    """

    start: Tensor
    words: Tensor
    ends: Tensor

    def take(self, rows: Tensor) -> PromptTokens:
        """Some of the prompts, by their indices."""
        return PromptTokens(self.start, self.words[rows], self.ends[rows])


@dataclass(frozen=True, eq=False)
class FiloTexts:
    """What one pack says: token embeddings, which are all of it that can be made before an image is seen.

    Attributes:
        wording: The sentences.
        normal: The normal prompts.
        abnormal: The abnormal ones, S states at nine positions, position fastest.
        fingerprint: Of the model that embedded them; empty where they were made by hand.
    """

    wording: Wording
    normal: PromptTokens
    abnormal: PromptTokens
    fingerprint: str = ""

    @property
    def phrases(self) -> tuple[str, ...]:
        """The pack's own phrases, the first of the S states: what an anomaly is named by."""
        return self.wording.phrases


class TextEncoder(nn.Module):
    """The text half of a CLIP, which stays in memory: prompts depend on the image, and are embedded for each.

    Args:
        tower: The text half, on the CPU.
        device: Where it is to compute.
        length: n, vectors of the context.

    Raises:
        UnsupportedModelError: it is no plain causal text transformer that is read at its end token.
    """

    def __init__(self, tower: TextTower, device: torch.device, length: int) -> None:
        super().__init__()
        model = tower.load()
        half: Any = model if hasattr(model, "token_embedding") else getattr(model, "text", None)
        _check(half)
        parts = {name: getattr(half, name) for name in ("token_embedding", "transformer", "ln_final")}
        if device.type != "cpu":  # the tower itself stays where it is
            parts = {name: copy.deepcopy(part).to(device) for name, part in parts.items()}
        self.token_embedding, self.transformer, self.ln_final = parts.values()
        self._positions = half.positional_embedding.detach().to(device)
        self._mask = half.attn_mask.to(device)
        self._project = _on(half.text_projection, device)
        self._tokenize = tower.tokenize
        self._length = length

    @property
    def width(self) -> int:
        """t, dimensions of its tokens."""
        return int(self._positions.shape[1])

    def ids(self, sentences: Sequence[str]) -> Tensor:
        """The tokens of P sentences, int64 [P, L], each behind the context's place. Uses no device; any thread may.

        One that is longer than the encoder reads is cut off.

        Raises:
            UnsupportedModelError: the tokenizer has no token for the place of a vector.
        """
        place = " ".join([_PLACEHOLDER] * self._length)
        ids = self._tokenize([f"{place} {sentence}" for sentence in sentences])
        begin = ids[:, : 1 + self._length]
        if bool((begin != begin[0]).any()) or bool((begin[0, 1:] != begin[0, 1]).any()):
            raise UnsupportedModelError("the model's tokenizer is not CLIP's; use a ViT model of open_clip with CLIP's")
        return ids

    @torch.no_grad()
    def tokens(self, ids: Tensor) -> PromptTokens:
        """The token embeddings of P sentences, by their `ids`."""
        ends = ids.argmax(-1) - 1 - self._length
        ids = ids.to(self._positions.device)
        start = self.token_embedding(ids[0, :1])[0]
        words = self.token_embedding(ids[:, 1 + self._length : 2 + self._length + int(ends.max())])
        return PromptTokens(start, words, ends.to(words.device))

    def texts(self, wording: Wording, fingerprint: str = "", ids: tuple[Tensor, Tensor] | None = None) -> FiloTexts:
        """A pack's sentences as tokens of the model of this fingerprint.

        Args:
            wording: The sentences.
            fingerprint: Of the model.
            ids: Of the normal and the abnormal sentences, where they were made before.
        """
        normal, abnormal = ids or (self.ids(wording.normal), self.ids(wording.abnormal))
        return FiloTexts(wording, self.tokens(normal), self.tokens(abnormal), fingerprint)

    def forward(self, context: Tensor, prompts: PromptTokens) -> Tensor:
        """The unit embeddings [P, d] of prompts behind a context [n, t]."""
        chunks = torch.split(torch.arange(len(prompts.ends), device=prompts.ends.device), _CHUNK)
        return torch.cat([self._embed(context, prompts.take(rows)) for rows in chunks])

    def _embed(self, context: Tensor, prompts: PromptTokens) -> Tensor:
        count, length = len(prompts.ends), 1 + len(context) + int(prompts.ends.max()) + 1
        # Attention is causal: what stands behind the end token changes nothing, and is left out.
        head = torch.cat([prompts.start[None], context]).expand(count, -1, -1)
        x = torch.cat([head, prompts.words], 1)[:, :length] + self._positions[:length]
        x = self.transformer(x, attn_mask=self._mask[:length, :length])
        ends = x[torch.arange(count, device=x.device), prompts.ends + 1 + len(context)]
        return F.normalize(self._project(self.ln_final(ends)), dim=-1)


def _on(projection: Any, device: torch.device) -> Any:
    """The last map of the text half, which open_clip keeps as a matrix, a layer or none."""
    if projection is None:
        return lambda x: x
    if isinstance(projection, nn.Module):
        return projection if device.type == "cpu" else copy.deepcopy(projection).to(device)
    matrix = projection.detach().to(device)
    return lambda x: x @ matrix


def _check(half: Any) -> None:
    needed = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection", "attn_mask")
    plain = half is not None and all(hasattr(half, name) for name in needed) and half.attn_mask is not None
    pool = getattr(half, "text_pool_type", getattr(half, "pool_type", None))
    if not plain or pool != "argmax" or getattr(half, "cls_emb", None) is not None:
        raise UnsupportedModelError(
            "FiLo needs a causal text transformer that is read at its end token, as CLIP's is; use a ViT model of "
            "open_clip with one"
        )
