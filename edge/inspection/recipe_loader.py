"""What lines judge by, made ready: what a method makes of each pack."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from core.alfa import Alfa
from core.filo.filo import Filo
from core.image import Rgb
from core.inspector import AnyInspector, Texts
from core.packs.compiled import CompiledPacks
from core.packs.pack import PromptPack
from core.tiles import tiles_name
from core.weights.location import COMPILED
from edge.control.provisional import is_provisional, thresholds
from edge.inference import Inference, Scored
from edge.inspection.methods import Methods, method_of, model_part
from edge.inspection.recipe import LoadedRecipe
from edge.messages import Recipe
from edge.settings import Settings, store_dir
from edge.storage.recipe_tables import StoredRecipe

_SENTENCES = 8  # embedded at a time while frames wait: with fewer each takes longer, with more frames wait longer


def recipe_part(pack: PromptPack, threshold_source: str, tiles: str = "") -> Recipe:
    """The recipe as every verdict names it; `tiles` as `core.tiles.tiles_name` has them."""
    return Recipe(
        pack=pack.name,
        pack_version=pack.version,
        pack_sha256=pack.sha256,
        threshold_source=threshold_source,
        tiles=tiles or None,
    )


class Recipes:
    """Loads recipes; lines whose packs and methods are the same share what that makes of them, and a pass.

    Any thread may call it. Whatever uses the model goes through the inference thread, a few sentences at a time, so
    that frames go between.
    """

    def __init__(self, settings: Settings, methods: Methods, inference: Inference) -> None:
        """`inference` has to run before a recipe is loaded."""
        self._settings = settings
        self._methods = methods
        self._backbone = methods.backbone
        self._inference = inference
        self._packs = CompiledPacks(store_dir(settings.model.store) / COMPILED)
        self._lock = threading.Lock()  # guards what follows
        self._texts: dict[tuple[AnyInspector, str], Future[Texts]] = {}  # by the SHA-256 of the pack's texts
        self._users = 0  # of the text half

    def load(self, stored: StoredRecipe, pack: PromptPack) -> LoadedRecipe:
        """A recipe with its pack, without shots and calibration; waits while the pack is compiled.

        Raises:
            ModelError: the method cannot be had, or the pack is not compiled yet, and cannot be.
            InferenceStoppedError: the service is stopping.
        """
        settings = stored.settings
        wire = recipe_part(pack, settings.threshold_source, tiles_name(settings.tiles, settings.overlap))
        named = {"name": stored.name, "number": stored.number, "revision": stored.revision}
        inspector = self._methods.get(method_of(self._settings, settings))
        return LoadedRecipe(
            inspector,
            model_part(inspector),
            self._text(inspector, pack),
            *thresholds(settings),
            wire=wire.model_copy(update=named),
            settings=settings,
            key=stored.key,
            provisional=is_provisional(settings),
            kinds=pack.kinds,
            texts_sha256=inspector.texts_sha256(pack),
        )

    def inspect(self, recipe: LoadedRecipe, image: Rgb) -> Future[Scored]:
        """What a recipe finds in a picture (RGB, H x W x 3, `uint8`), in time that no part needs.

        Raises:
            InferenceStoppedError: the service is stopping.
        """
        tiling = recipe.tiling((image.shape[0], image.shape[1]))
        return self._inference.submit_spare(
            recipe.inspector, image, recipe.text, recipe.index, tiling=tiling, threshold=recipe.threshold
        )

    @contextmanager
    def text_half(self) -> Iterator[None]:
        """Inside, the text half of the model stays in memory once it was needed; the last to leave lets go of it.

        Unless a method computes with it: on a CPU that is the very same, and would be read a second time.
        """
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0 and not self._methods.keep_text_half:
                    self._backbone.text.release()

    @property
    def text_loaded(self) -> bool:
        """Whether the text half of the model is in memory."""
        return self._backbone.text.loaded

    def _text(self, inspector: AnyInspector, pack: PromptPack) -> Texts:
        key = inspector, inspector.texts_sha256(pack)
        with self._lock:
            text = self._texts.get(key)
            mine = text is None
            if text is None:
                text = self._texts[key] = Future()
        if mine:
            try:
                text.set_result(self._make(inspector, pack))
            except BaseException as error:
                with self._lock:
                    del self._texts[key]  # the next load tries again
                text.set_exception(error)
        return text.result()

    def _make(self, inspector: AnyInspector, pack: PromptPack) -> Texts:
        with self.text_half():
            if isinstance(inspector, Filo):  # its prompts depend on the image: only tokens can be made before
                ids = inspector.ids(pack)  # here: no frame is to wait for the tokenizer
                return self._inference.ask(inspector, lambda _: inspector.texts(pack, ids), line=pack.name).result()
            assert isinstance(inspector, Alfa)
            compiled = self._packs.get(self._backbone, pack, partial(self._embed, inspector, pack.name))
        return self._inference.ask(inspector, lambda _: inspector.text(compiled), line=pack.name).result()

    def _embed(self, inspector: AnyInspector, pack: str, sentences: Sequence[str]) -> Tensor:
        """In the inference thread, with passes between."""
        self._backbone.text.load()  # here: no frame is to wait for the disk
        rows = []
        for start in range(0, len(sentences), _SENTENCES):
            part = sentences[start : start + _SENTENCES]
            rows.append(self._inference.ask(inspector, partial(_embed_part, sentences=part), line=pack).result())
        return torch.cat(rows)


def _embed_part(inspector: AnyInspector, sentences: Sequence[str]) -> Tensor:
    return inspector.backbone.text.embed(sentences)
