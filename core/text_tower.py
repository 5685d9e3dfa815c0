"""The text half of a model: in memory while sentences are embedded, and not after."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_BATCH = 16  # prompts at a time: more are no faster, and would be the peak of memory


class TextTower:
    """Embeds sentences on the CPU, so that the device's memory and time are the frames' own. Safe for several threads.

    Args:
        model: A CLIP of open_clip, whose vision half may be gone.
        tokenize: Its tokenizer.
        reload: Gives the model again after `release`; without it, it cannot be released.
    """

    def __init__(
        self, model: Any, tokenize: Callable[[list[str]], Tensor], reload: Callable[[], Any] | None = None
    ) -> None:
        self._model = model
        self._tokenize = tokenize
        self._reload = reload
        self._loading = threading.Lock()

    @property
    def loaded(self) -> bool:
        """Whether its weights are in memory."""
        return self._model is not None

    def load(self) -> Any:
        """Reads the weights, unless they are in memory; gives the model.

        Raises:
            ModelError: they cannot be read again.
        """
        with self._loading:
            if self._model is None and self._reload is not None:
                self._model = self._reload()
            return self._model

    def release(self) -> None:
        """Lets go of the weights; they are read again when there is something to embed."""
        with self._loading:
            if self._reload is not None:
                self._model = None

    def tokenize(self, sentences: Sequence[str]) -> Tensor:
        """The sentences' tokens, int64 [P, context]. One that is longer than the model's context is cut off."""
        return self._tokenize(list(sentences))

    @torch.inference_mode()
    def embed(self, sentences: Sequence[str], done: Callable[[int], None] = lambda count: None) -> Tensor:
        """g(t) before normalisation, float32 [P, d]. A sentence longer than the model's context is cut off.

        `done` is told after each batch how many sentences it held.

        Raises:
            ModelError: the weights cannot be read again.
        """
        model = self.load()  # and holds it, whoever lets go of it meanwhile
        rows = []
        for start in range(0, len(sentences), _BATCH):
            part = list(sentences[start : start + _BATCH])
            rows.append(model.encode_text(self.tokenize(part)).float())
            done(len(part))
        return torch.cat(rows)
