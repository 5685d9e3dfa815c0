"""What every method is to those who use it: frames in, inspections out, beside normal shots or without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from torch import Tensor

from core.backbone import Backbone
from core.bank.feature_maps import FeatureMaps
from core.bank.indexer import Indexer
from core.bank.memory import Index, Memory
from core.bank.tiled_index import AnyIndex
from core.image import Rgb
from core.inspection import Inspection
from core.method import Method
from core.packs.pack import PromptPack
from core.steps import Steps, finish
from core.tiles import WHOLE, Tiling
from core.towers import Tower
from core.windows import Windows


class Texts(Protocol):
    """What a method makes of a pack."""

    @property
    def fingerprint(self) -> str:
        """Of the model that embedded them; empty where they were made by hand."""
        ...

    @property
    def phrases(self) -> tuple[str, ...]:
        """What an anomaly is named by."""
        ...


AnyTexts = TypeVar("AnyTexts", bound=Texts)


class Inspector(ABC, Generic[AnyTexts]):
    """A method on one model. Not for several threads at once.

    Several may share a model: what each of them keeps besides is small.

    Attributes:
        name: Of the method.
        backbone: The model.
        tower: A second model whose feature maps normal shots are compared in, on the same device; None: without.
        method: The parts that are used, what suits the model included.
        windows: Tables of the windows that are embedded, one a scale; none for a method without.
    """

    name: ClassVar[str]

    def __init__(self, backbone: Backbone, method: Method, tower: Tower | None) -> None:
        self.backbone = backbone
        self.tower = tower
        self.windows: list[Windows] = []
        self._choose(method)

    def _choose(self, method: Method) -> None:
        self.method = method.on(self.backbone.traits)
        self._indexer = Indexer(self.backbone, self.tower, self.method)

    @property
    def basis(self) -> str:
        """What scores depend on besides texts and normal shots: thresholds of another basis say nothing."""
        tower = None if self.tower is None else self.tower.fingerprint
        return f"{self.backbone.fingerprint} {tower} {self.method!r}"

    @property
    def needs_shots(self) -> bool:
        """Whether it refuses frames without normal shots."""
        return False

    @property
    def remark(self) -> str:
        """What of the method is left out, in words; empty where nothing is."""
        return ""

    @property
    def weights(self) -> str:
        """What it computes with, in words."""
        return f"the weights of the model {self.backbone.name}"

    @property
    def keeps_text_half(self) -> bool:
        """Whether it needs the model's text half for each frame."""
        return False

    def texts_sha256(self, pack: PromptPack) -> str:
        """SHA-256, hexadecimal, of all that it takes from a pack, as it is rendered."""
        return pack.texts_sha256

    def feature_maps(self, shape: tuple[int, int]) -> FeatureMaps:
        """As `Indexer.feature_maps`."""
        return self._indexer.feature_maps(shape)

    @abstractmethod
    def patches(self, frame: Rgb) -> Tensor:
        """The patch features of one frame, unit length, float32 [rows, cols, w], on the CPU."""

    @abstractmethod
    def remember(self, frame: Rgb, shape: tuple[int, int] | None = None, tiling: Tiling = WHOLE) -> Memory:
        """The memory of one frame, or of its tiles, row by row, on the CPU.

        `shape` is what feature maps are made for, height and width of a frame; by default its own.

        Raises:
            TilingError: the frame or `shape` is too small for its tiles.
        """

    def index(
        self,
        memories: Sequence[Memory],
        owners: Sequence[int],
        shape: tuple[int, int],
        *,
        limit: int | None = None,
        tiling: Tiling = WHOLE,
    ) -> AnyIndex:
        """What parts are compared with; as `Indexer.index_in_steps`."""
        return finish(self.index_in_steps(memories, owners, shape, limit=limit, tiling=tiling))

    def index_in_steps(
        self,
        memories: Sequence[Memory],
        owners: Sequence[int],
        shape: tuple[int, int],
        *,
        limit: int | None = None,
        tiling: Tiling = WHOLE,
    ) -> Steps[AnyIndex]:
        """As `Indexer.index_in_steps`."""
        return self._indexer.index_in_steps(memories, owners, shape, limit=limit, tiling=tiling)

    def hear(self, index: Index, texts: Sequence[tuple[float, float]]) -> Index:
        """`index` with the text side, as `text_scores` gives it of the shots that are left out in turn."""
        return self._indexer.hear(index, texts)

    @abstractmethod
    def text_scores(self, frame: Rgb, text: AnyTexts) -> tuple[float, float]:
        """The two parts of a frame's score without normal shots, each in [0, 1]: of the image, and of the map."""

    @abstractmethod
    def warm_up(self, batch: int) -> None:
        """Readies the device for batches of 1 to `batch` frames.

        Raises:
            BatchTooLargeError: the device's memory does not take `batch`.
        """

    @abstractmethod
    def inspect(
        self,
        frames: Sequence[Rgb],
        texts: Sequence[AnyTexts],
        indexes: Sequence[AnyIndex | None] | None = None,
        tilings: Sequence[Tiling] | None = None,
        *,
        thresholds: Sequence[float] | None = None,
    ) -> Sequence[Inspection]:
        """Inspects frames (uint8 [H, W, 3], RGB, of any sizes), each by its own texts, in one pass.

        A frame that has an index of normal shots is also compared with them. Tiles of a frame are rows of the same
        pass. Without `tilings` a frame has that of its index, and none without an index.

        A method may look again at frames that score as much as their `thresholds`, which are those of their recipes.
        That never makes an anomaly of a frame that scored less. Without `thresholds` it does not.

        Raises:
            ValueError: a frame is something else, there are not as many of each, or it needs an index.
            NotFiniteError: what the model says of a frame is no number.
            TilingError: a frame is to be cut in another way than the shots of its index, or is too small.
            OtherIdentityError: a text or an index was made by another model, or for other windows or feature maps.
        """


AnyInspector = Inspector[Any]
"""A method of any kind; its own texts are to be given to it."""
