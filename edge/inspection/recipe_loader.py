"""What lines judge by, made ready: the model, the method on it, and what it makes of each pack."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.backbone import BUNDLED, Backbone, load_backbone
from core.model_error import ModelError
from core.overrides import Overrides
from core.packs.compiled import CompiledPacks
from core.packs.pack import PromptPack
from core.tiles import tiles_name
from core.towers import LITE0, Tower, load_tower
from core.weights.store import Store
from edge.control.provisional import is_provisional, thresholds
from edge.inference import Inference
from edge.inspection.recipe import LoadedRecipe
from edge.messages import Model, Recipe
from edge.settings import MethodSettings, ModelSettings, store_dir
from edge.storage.recipe_tables import StoredRecipe

log = logging.getLogger(__name__)

_SENTENCES = 8  # embedded at a time while frames wait: with fewer each takes longer, with more frames wait longer


def make_alfa(model: ModelSettings, method: MethodSettings) -> Alfa:
    """The configured method on the configured model.

    Raises:
        ModelError: model, weights, device or dtype cannot be had, parts of the method do not go together, or they do
            not fit the model: a window is larger than its grid, it has no such blocks.
    """
    try:
        chosen = Method(**dict(method))
    except ValueError as error:
        raise ModelError(f"the parts of [method] do not go together: {error}") from error
    store = Store(store_dir(model.store))
    backbone = load_backbone(model.name, model.weights, model.device, model.dtype, store, overrides_of(model))
    if backbone.assumed:
        log.warning("%s; set model.mean, model.std and model.quick_gelu as their maker says", backbone.assumed)
    tower = None if method.few_shot == "alfa" else make_tower(model, store)
    try:
        return Alfa(backbone, chosen, patches=True, tower=tower)  # shots may come while it runs
    except ValueError as error:
        raise ModelError(f"the method does not fit the model: {error}") from error


def overrides_of(model: ModelSettings) -> Overrides:
    """What is set of the model by hand."""
    return Overrides(model.image_size, model.mean, model.std, model.quick_gelu)


def make_tower(model: ModelSettings, store: Store) -> Tower | None:
    """The configured tower; None for none.

    Raises:
        ModelError: it cannot be had as configured.
    """
    name = model.tower
    if name == "auto":
        name = LITE0 if model.name == BUNDLED else "none"
    if name == "none":
        return None
    return load_tower(name, weights=model.tower_weights, layers=model.tower_layers, device=model.device, store=store)


def model_part(backbone: Backbone, method: Method, tower: Tower | None = None) -> Model:
    """The model as every verdict names it."""
    return Model(
        name=backbone.name,
        fingerprint=backbone.fingerprint,
        device=str(backbone.device),
        dtype=backbone.dtype,
        scales=method.scales,
        windows=method.windows,
        tower=None if tower is None else tower.name,
        few_shot=method.few_shot,
    )


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
    """Loads recipes; lines whose packs are the same share what the model makes of them, and a pass.

    Any thread may call it. Whatever uses the model goes through the inference thread, a few sentences at a time, so
    that frames go between.
    """

    def __init__(self, alfa: Alfa, model: ModelSettings, inference: Inference) -> None:
        """`inference` is that of `alfa`; it has to run before a recipe is loaded."""
        self._backbone = alfa.backbone
        self._inference = inference
        self._packs = CompiledPacks(store_dir(model.store) / "compiled")
        self._lock = threading.Lock()  # guards what follows
        self._texts: dict[str, Future[TextFeatures]] = {}  # by the SHA-256 of the pack's texts
        self._users = 0  # of the text half

    def load(self, stored: StoredRecipe, pack: PromptPack) -> LoadedRecipe:
        """A recipe with its pack, without shots and calibration; waits while the pack is compiled.

        Raises:
            ModelError: the pack is not compiled yet, and cannot be.
            InferenceStoppedError: the service is stopping.
        """
        settings = stored.settings
        wire = recipe_part(pack, settings.threshold_source, tiles_name(settings.tiles, settings.overlap))
        named = {"name": stored.name, "number": stored.number, "revision": stored.revision}
        return LoadedRecipe(
            self._text(pack),
            *thresholds(settings),
            wire=wire.model_copy(update=named),
            settings=settings,
            key=stored.key,
            provisional=is_provisional(settings),
            texts_sha256=pack.texts_sha256,
        )

    @contextmanager
    def text_half(self) -> Iterator[None]:
        """Inside, the text half of the model stays in memory once it was needed; the last to leave lets go of it."""
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._backbone.text.release()

    @property
    def text_loaded(self) -> bool:
        """Whether the text half of the model is in memory."""
        return self._backbone.text.loaded

    def _text(self, pack: PromptPack) -> TextFeatures:
        key = pack.texts_sha256
        with self._lock:
            text = self._texts.get(key)
            mine = text is None
            if text is None:
                text = self._texts[key] = Future()
        if mine:
            try:
                text.set_result(self._compile(pack))
            except BaseException as error:
                with self._lock:
                    del self._texts[key]  # the next load tries again
                text.set_exception(error)
        return text.result()

    def _compile(self, pack: PromptPack) -> TextFeatures:
        with self.text_half():
            compiled = self._packs.get(self._backbone, pack, partial(self._embed, pack.name))
        return self._inference.ask(lambda alfa: alfa.text(compiled), line=pack.name).result()

    def _embed(self, pack: str, sentences: Sequence[str]) -> Tensor:
        """In the inference thread, with passes between."""
        self._backbone.text.load()  # here: no frame is to wait for the disk
        rows = []
        for start in range(0, len(sentences), _SENTENCES):
            part = sentences[start : start + _SENTENCES]
            rows.append(self._inference.ask(partial(_embed_part, sentences=part), line=pack).result())
        return torch.cat(rows)


def _embed_part(alfa: Alfa, sentences: Sequence[str]) -> Tensor:
    return alfa.backbone.text.embed(sentences)
