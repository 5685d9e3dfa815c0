"""What is said of the pictures: sentences of the packs, as token ids, by class, label and defect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from core.clip import SimpleTokenizer
from core.packs.pack import PromptPack, load_pack, with_article
from core.training.split import HELD_OUT_WORDS, TRAINED_CLASSES, TRAINED_DEFECTS

_NOUNS = ("object", "part", "item", "component", "product", "surface", "thing", "workpiece")
_CONTEXT = 40  # tokens; the longest sentence of the packs has fewer, and what is cut off is the end of a sentence
_SWAP = 0.06  # share of words that are swapped for any other, so that no single one is leaned on
_COMMON_NOUN = 0.35  # share of sentences that speak of a part in general


class Captions:
    """Draws sentences. Classes and defects are numbered as in `TRAINED_CLASSES` and `TRAINED_DEFECTS`."""

    def __init__(self) -> None:
        self._tokenize = SimpleTokenizer(context_length=_CONTEXT)
        packs = [load_pack(name) for name in TRAINED_CLASSES]
        self._states = [
            (self._tokens(_label(pack, pack.prompts().normal)), self._tokens(_label(pack, pack.prompts().abnormal)))
            for pack in packs
        ]
        self._defects = [self._tokens(_defect(name, packs)) for name in TRAINED_DEFECTS]

    def states(self, rng: np.random.Generator, classes: Sequence[int], count: int) -> Tensor:
        """`count` sentences per label for each class: int64 [classes, 2 (normal, abnormal), count, tokens]."""
        return torch.stack(
            [torch.stack([self._draw(rng, side, count) for side in self._states[number]]) for number in classes]
        )

    def defects(self, rng: np.random.Generator, count: int) -> Tensor:
        """`count` sentences for each defect: int64 [defects, count, tokens]."""
        return torch.stack([self._draw(rng, pool, count) for pool in self._defects])

    def _draw(self, rng: np.random.Generator, pool: Tensor, count: int) -> Tensor:
        rows = pool[torch.from_numpy(rng.integers(len(pool), size=count))].clone()
        start, end = self._tokenize.sot_token_id, self._tokenize.eot_token_id
        words = (rows != 0) & (rows != start) & (rows != end)
        swapped = words & torch.from_numpy(rng.random(rows.shape) < _SWAP)
        rows[swapped] = torch.from_numpy(rng.integers(1, start, size=int(swapped.sum())))
        return rows

    def _tokens(self, sentences: Iterable[str]) -> Tensor:
        allowed = [sentence for sentence in sentences if not any(word in sentence.lower() for word in HELD_OUT_WORDS)]
        tokens: Tensor = self._tokenize(allowed)
        return tokens


def _label(pack: PromptPack, prompts: Sequence[str]) -> list[str]:
    """One label's prompts, and again with common nouns in the place of the class."""
    copies = round(_COMMON_NOUN / (1 - _COMMON_NOUN) * len(prompts))
    common = [
        _renamed(prompts[index % len(prompts)], pack.class_name, _NOUNS[index % len(_NOUNS)]) for index in range(copies)
    ]
    return [*prompts, *common]


def _renamed(sentence: str, noun: str, other: str) -> str:
    """The sentence with `other` in the place of `noun`, and the article that it takes."""
    return re.sub(rf"\b(an?) {re.escape(noun)}\b", with_article(other), sentence, flags=re.I).replace(noun, other)


def _defect(name: str, packs: Sequence[PromptPack]) -> list[str]:
    """What the packs say of a defect."""
    plain = with_article(name.replace("_", " "))
    phrases = chain([plain], *(pack.defects.get(name, ()) for pack in packs))
    named = [f"A close-up image of a part with {phrase}." for phrase in phrases]
    return [*named, *(f"An abnormal image of {with_article(noun)} with {plain}." for noun in _NOUNS)]
