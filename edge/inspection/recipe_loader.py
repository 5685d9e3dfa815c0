"""What lines judge by, made ready: the model, the method on it, and what it makes of each pack."""

from __future__ import annotations

from core.adaptation import TextFeatures
from core.alfa import Alfa, Method
from core.backbone import BUNDLED, Backbone, load_backbone
from core.compiled import CompiledPacks
from core.model_error import ModelError
from core.packs import PromptPack
from core.store import Store
from core.towers import LITE0, Tower, load_tower
from edge.control.provisional import is_provisional, thresholds
from edge.inspection.recipe import LoadedRecipe
from edge.messages import Model, Recipe
from edge.settings import LineSettings, MethodSettings, ModelSettings, store_dir


def make_alfa(model: ModelSettings, method: MethodSettings) -> Alfa:
    """The configured method on the configured model.

    Raises:
        ModelError: model, weights, device or dtype cannot be had, or the method's parts do not fit the model: a window
            is larger than its grid, it has no such blocks.
        ValueError: parts of the method do not go together.
    """
    chosen = Method(
        scales=method.scales,
        stride=method.stride,
        windows=method.windows,
        adaptation=method.adaptation,
        llm_prompts=method.llm_prompts,
        aligner=method.aligner,
        few_shot=method.few_shot,
        memory_layers=method.memory_layers,
    )
    store = Store(store_dir(model.store))
    backbone = load_backbone(model.name, model.weights, model.device, model.dtype, store)
    tower = None if method.few_shot == "alfa" else make_tower(model, store)
    try:
        return Alfa(backbone, chosen, patches=True, tower=tower)  # shots may come while it runs
    except ValueError as error:
        raise ModelError(f"the method does not fit the model: {error}") from error


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


def recipe_part(pack: PromptPack, threshold_source: str) -> Recipe:
    """The recipe as every verdict names it."""
    return Recipe(pack=pack.name, pack_version=pack.version, pack_sha256=pack.sha256, threshold_source=threshold_source)


class Recipes:
    """Loads recipes; lines whose packs are the same share what the model makes of them, and a pass."""

    def __init__(self, alfa: Alfa, model: ModelSettings) -> None:
        self._alfa = alfa
        self._packs = CompiledPacks(store_dir(model.store) / "compiled")
        self._texts: dict[str, TextFeatures] = {}

    def load(self, line: LineSettings, pack: PromptPack) -> LoadedRecipe:
        """The recipe of a line with `pack`.

        Raises:
            ModelError: the pack is not compiled yet, and cannot be.
        """
        if pack.sha256 not in self._texts:
            self._texts[pack.sha256] = self._alfa.text(self._packs.get(self._alfa.backbone, pack))
        return LoadedRecipe(
            self._texts[pack.sha256],
            *thresholds(line),
            wire=recipe_part(pack, line.threshold_source),
            provisional=is_provisional(line),
        )

    def release(self) -> None:
        """Lets go of the text half of the model, which compiled packs do not need."""
        self._alfa.backbone.text.release()

    @property
    def text_loaded(self) -> bool:
        """Whether the text half of the model is in memory."""
        return self._alfa.backbone.text.loaded
