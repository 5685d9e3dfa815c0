"""The methods that recipes need, each made once, on one model."""

from __future__ import annotations

import logging
import threading
from functools import cached_property

from core.alfa import Alfa, Method
from core.backbone import BUNDLED, load_backbone
from core.filo.filo import Filo, Gate
from core.filo.grounding import Grounding, load_grounding, require_weights
from core.filo.heads import find_head
from core.inspector import AnyInspector
from core.model_error import ModelError
from core.overrides import Overrides
from core.towers import LITE0, Tower, load_tower
from core.weights.store import Store
from edge.messages import Model
from edge.settings import MethodSettings, ModelSettings, RecipeSettings, Settings, store_dir

log = logging.getLogger(__name__)


class Methods:
    """Makes methods, by their settings, on the configured model. Any thread may call it.

    Attributes:
        backbone: The model.
    """

    def __init__(self, model: ModelSettings) -> None:
        """Loads the model.

        Raises:
            ModelError: model, weights, device or dtype cannot be had.
        """
        self._model = model
        self._store = Store(store_dir(model.store))
        self._lock = threading.Lock()  # while one is made
        self._made: dict[MethodSettings, AnyInspector] = {}
        self._grounding: dict[str, Grounding] = {}
        self.backbone = load_backbone(
            model.name, model.weights, model.device, model.dtype, self._store, overrides_of(model)
        )
        if self.backbone.assumed:
            log.warning("%s; set model.mean, model.std and model.quick_gelu as their maker says", self.backbone.assumed)

    @cached_property
    def tower(self) -> Tower | None:
        """The tower, which all methods share that compare feature maps; None where none is configured.

        Raises:
            ModelError: it cannot be had as configured.
        """
        return make_tower(self._model, self._store)

    @property
    def keep_text_half(self) -> bool:
        """Whether a method computes with the very text half that the model has in memory."""
        return self.backbone.device.type == "cpu" and any(made.keeps_text_half for made in tuple(self._made.values()))

    def get(self, settings: MethodSettings) -> AnyInspector:
        """The method of these settings: the same object whenever they are the same.

        Raises:
            ModelError: its parts do not go together, or do not fit the model: a window is larger than its grid, it has
                no such blocks, the head is of another; or tower, head or Grounding DINO cannot be had.
        """
        with self._lock:
            if settings not in self._made:
                self._made[settings] = self._make(settings)
            return self._made[settings]

    def _make(self, settings: MethodSettings) -> AnyInspector:
        if settings.name == "filo":
            return self._make_filo(settings)
        try:
            method = Method(**{name: value for name, value in settings if name not in ("name", "filo")})
        except ValueError as error:
            raise ModelError(f"the parts of [method] do not go together: {error}") from error
        tower = None if method.few_shot == "alfa" else self.tower
        try:
            return Alfa(self.backbone, method, patches=True, tower=tower)  # shots may come while it runs
        except ValueError as error:
            raise ModelError(f"the method does not fit the model: {error}") from error

    def _make_filo(self, settings: MethodSettings) -> Filo:
        chosen, method = settings.filo, Method(memory_layers=settings.memory_layers)
        assert chosen.checkpoint is not None  # which the settings see to
        head = find_head(chosen.checkpoint, self._store)
        grounding = None if chosen.gate == "off" else self._grounding_of(chosen.grounding)
        gate: Gate = "suspects" if chosen.gate == "suspects" else "all"
        try:
            made = Filo(self.backbone, head, grounding=grounding, gate=gate, method=method, tower=self.tower)
        except ValueError as error:
            raise ModelError(f"the method does not fit the model: {error}") from error
        if made.remark:
            log.info("FiLo, head %s: %s", chosen.checkpoint, made.remark)
        return made

    def _grounding_of(self, source: str) -> Grounding:
        """Grounding DINO, which all heads share that ask the same one."""
        if source not in self._grounding:
            self._grounding[source] = load_grounding(source, self.backbone.device)
        return self._grounding[source]


def method_of(settings: Settings, recipe: RecipeSettings) -> MethodSettings:
    """The settings of the method that judges by a recipe: its own, else those of the service."""
    return settings.method if recipe.method is None else recipe.method


def check_method(settings: MethodSettings, store: Store) -> None:
    """Looks whether a method's head, extra and Grounding DINO are here, without the model.

    Raises:
        ModelError: one is not.
    """
    if settings.name == "filo":
        assert settings.filo.checkpoint is not None  # which the settings see to
        find_head(settings.filo.checkpoint, store)
        if settings.filo.gate != "off":
            require_weights(settings.filo.grounding)


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


def model_part(inspector: AnyInspector) -> Model:
    """Model and method as every verdict names them."""
    backbone, method, tower = inspector.backbone, inspector.method, inspector.tower
    return Model(
        name=backbone.name,
        fingerprint=backbone.fingerprint,
        device=str(backbone.device),
        dtype=backbone.dtype,
        method=inspector.name,
        head=inspector.head.fingerprint if isinstance(inspector, Filo) else None,
        scales=() if isinstance(inspector, Filo) else method.scales,
        windows="none" if isinstance(inspector, Filo) else method.windows,
        tower=None if tower is None else tower.name,
        few_shot=method.few_shot,
    )
