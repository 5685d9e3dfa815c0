"""The public face: `Detector("bottle").judge(picture)`, for notebooks, tests and pictures on disk."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from core.alfa import ALFA, Alfa, Inspection, Method
from core.arguments import (
    DetectorError,
    backbone_of,
    check_kinds,
    check_threshold,
    is_number,
    is_whole,
    pack_of,
    store_of,
    tiles_of,
)
from core.backbone import BUNDLED, UNTRAINED, Backbone
from core.basis import Basis, Shot, Source
from core.bit_depth import BitDepth
from core.calibration import Calibration, calibrate, pixel_threshold
from core.filo.filo import Filo
from core.filo.head import FiloHead
from core.image import ImageError, Rgb
from core.inspector import AnyInspector, Texts
from core.judgement import Judgement
from core.model_error import ModelError
from core.packs.compiled import CompiledPack, CompiledPacks, compile_pack
from core.packs.pack import PromptPack
from core.picture import Picture, Pictures, check_colour, each, to_frame
from core.picture_check import flat, other_proportions
from core.structure import structure_of
from core.tiles import OVERLAP, Tiling, TilingError, tiling_of
from core.towers import LITE0, Tower, load_tower
from core.weights.location import COMPILED

BATCH = 4
"""Pictures in one pass."""
T = TypeVar("T")


class Detector:
    """Judges pictures of one kind of part. Several threads may use it: their passes come one after the other.

    Attributes:
        pack: What is said of the parts.
        backbone: The model.
        colour: Order of the channels of arrays.
        tiles: How pictures are cut, and what neighbours share (`overlap`).
        bits: That files of 16 bits use; None: as each file or its values say.
    """

    def __init__(
        self,
        pack: str | os.PathLike[str] | PromptPack = "generic",
        *,
        normal: Pictures | None = None,
        model: str | Backbone | None = None,
        weights: str | os.PathLike[str] | None = None,
        device: str | None = None,
        dtype: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        tower: str | Tower | None = "auto",
        tiles: tuple[int, int] | str | None = None,
        overlap: float = OVERLAP,
        threshold: float | None = None,
        colour: str = "rgb",
        method: Method | FiloHead = ALFA,
        store: str | os.PathLike[str] | None = None,
        plain: bool = False,
        bits: int | None = None,
    ) -> None:
        """Loads the model. Nothing is downloaded, and nothing is used in the place of what was asked for.

        Args:
            pack: What the pictures show: the name of a prompt pack, the path of a pack file, or a pack.
            normal: Pictures of good parts, as of `enrol`.
            model: A name of open_clip; `bundled`, the small one that comes along; or one that is loaded. Default: the
                paper's where there are `weights`, else `bundled`.
            weights: A tag that was fetched, or a file.
            device: `cpu`, `cuda` or `cuda:N`. Default: `cpu`.
            dtype: `auto`, `fp32`, `bf16` or `fp16`. Default: `auto`.
            image_size: Another input size of the model, pixels, or (height, width); multiples of its patch. A larger
                one shows smaller defects, and costs more.
            tower: The second model that good parts are compared in: `efficientnet-lite0`, a name of timm, one that is
                loaded, or None. `auto`: `efficientnet-lite0` beside `bundled`, else none. It is loaded with the first
                normal picture.
            tiles: (rows, columns) that each picture is cut into, for small defects; `auto`: along its longer side, into
                nearly square ones. Each takes as long as a picture without tiles.
            overlap: What neighbouring tiles share, in shares of their side, 0 to 0.5.
            threshold: In [0, 1]; an anomaly scores so much or more. Default: as `threshold_source` says.
            colour: Order of the channels of arrays: `rgb`, or `bgr` as cv2 has it.
            method: The parts of ALFA; or a trained head, by which FiLo judges.
            store: Folder of fetched weights. Default: that of this user.
            plain: Whether good parts are so plain that a picture without any structure may show one.
            bits: That files of 16 bits use, 9 to 16. Default: as each file or its values say.

        Raises:
            ValueError: something cannot be had as asked, or `normal` holds something that is no picture.
        """
        check_colour(colour)  # what takes no model first
        BitDepth(bits)
        if threshold is not None:
            check_threshold(threshold)
        check_kinds(method, tower)
        shots = None if normal is None else each(normal, "normal")
        self.tiles = tiles_of(tiles, overlap)
        self.overlap = overlap
        self.colour = colour
        self.pack = pack_of(pack)
        self._store = store_of(store)
        self.backbone = backbone_of(model, weights, device, dtype, image_size, self._store)
        self._tower = tower
        self._plain = plain
        self.bits = bits
        self._method = method
        inspector = self._inspector()
        self._text = self._texts(inspector)
        self._using = threading.RLock()  # the pass is for one thread at a time
        self._basis = Basis(inspector)
        if threshold is not None:
            self.threshold = threshold
        if shots is not None:
            self._enrol(shots)

    def judge(self, picture: Picture, *, colour: str | None = None) -> Judgement:
        """The judgement on one picture.

        Args:
            picture: An array, uint8 [H, W, 3] or grey [H, W]; an image of Pillow; or a path.
            colour: Order of an array's channels. Default: the detector's.

        Raises:
            ValueError: it is no such picture, or shows nothing; the message says what to do.
        """
        [(_, frame)] = self._frames([("the picture", picture)], colour)
        return self._judge(self._basis, [frame])[0]

    def judge_all(self, pictures: Pictures, *, colour: str | None = None, batch: int = BATCH) -> list[Judgement]:
        """The judgements on several pictures, in their order, `batch` of them in one pass.

        Each judgement keeps its picture: of more than memory holds, give some at a time.

        Args:
            pictures: A list, a generator, a stack [N, H, W, 3] or a folder; sizes may differ.
            colour: As of `judge`.
            batch: 1 or more.

        Raises:
            ValueError: there is no picture, or one is none; the message says which one.
        """
        if not is_whole(batch) or batch < 1:
            raise DetectorError(f"batch {batch!r} is no number of pictures; give 1 or more")
        basis = self._basis
        frames = self._frames(each(pictures, "pictures"), colour)
        return [one for some in _batches(frames, batch) for one in self._judge(basis, [frame for _, frame in some])]

    def enrol(self, pictures: Pictures, *, colour: str | None = None) -> Detector:
        """Compares parts with these pictures of good ones from now on, too; all are enrolled, or none.

        A threshold that was calibrated no longer holds, and is provisional again.

        Args:
            pictures: Of good parts, each another one, as they will be judged.
            colour: As of `judge`.

        Returns:
            The detector itself.

        Raises:
            ValueError: there is no picture, one is none, or the same one comes twice.
        """
        self._enrol(each(pictures, "pictures"), colour)
        return self

    def calibrate(self, good: Pictures, rate: float = 0.05, *, colour: str | None = None) -> Calibration:
        """Sets the threshold so that the next good part is an anomaly with a probability of at most `rate`.

        Args:
            good: Pictures of other good parts than the enrolled ones, in the order in which they came.
            rate: In (0, 1). It takes 1 / rate - 1 parts: 19 for 0.05, 99 for 0.01.
            colour: As of `judge`.

        Returns:
            The threshold and what it promises.

        Raises:
            ValueError: there are too few, one is no picture, the same one comes twice, or one is enrolled.
        """
        if not is_number(rate) or not 0 < rate < 1:
            raise DetectorError(f"rate {rate!r} is no share between 0 and 1; give 0.05 for 5 %")
        with self._using:
            basis = self._basis
            known = {shot.digest: "a normal picture that is enrolled" for shot in basis.shots}
            found: list[Inspection] = []
            for some in _batches(_distinct(self._frames(each(good, "good"), colour), known), BATCH):
                found += self._inspect(basis, [frame for _, frame, _ in some])
            calibration = calibrate([one.score for one in found], float(rate))
            if calibration.rate > rate:
                raise DetectorError(f"{calibration.note}; give more, or ask for what these promise")
            self._basis = replace(
                basis,
                threshold=calibration.threshold,
                region_threshold=pixel_threshold([float(one.patch_map.max()) for one in found], float(rate)),
                source="calibrated",
                calibration=calibration,
            )
        return calibration

    def check(self, frame: Rgb, name: str = "the picture") -> None:
        """Raises ImageError or TilingError, which begin with `name`, where a frame is not judged.

        It is even, noise, a test picture or out of focus, has other proportions than all normal pictures, or is too
        small for its tiles.
        """
        basis, structure = self._basis, structure_of(frame)
        if not self._plain and (fault := flat(structure, basis.figures)):
            raise ImageError(f"{name} {fault.message}")
        if fault := other_proportions(structure, basis.figures):
            raise ImageError(f"{name} {fault.message}")
        try:
            self._tiling(basis, structure.size).tile_size(structure.size)
        except TilingError as error:
            raise TilingError(f"{name}: {error}") from error

    @property
    def threshold(self) -> float:
        """A picture is an anomaly whose score is at or above it. What is set here is set by hand, in [0, 1]."""
        return self._basis.threshold

    @threshold.setter
    def threshold(self, threshold: float) -> None:
        check_threshold(threshold)
        with self._using:
            self._basis = replace(
                self._basis,
                threshold=float(threshold),
                region_threshold=float(threshold),
                source="hand",
                calibration=None,
            )

    @property
    def threshold_source(self) -> Source:
        """`default`: 0.5, which knows nothing of the parts. `shots`: just above what normal pictures score, each
        against the others. `hand`: somebody set it. `calibrated`: from good parts, with a promise.
        """
        return self._basis.source

    @property
    def provisional(self) -> bool:
        """Whether the threshold is neither calibrated nor set by hand: verdicts then say little."""
        return self._basis.provisional

    @property
    def calibration(self) -> Calibration | None:
        """What the threshold promises; None where it was not calibrated."""
        return self._basis.calibration

    @property
    def shots(self) -> int:
        """Normal pictures that parts are compared with."""
        return len(self._basis.shots)

    @property
    def inspector(self) -> AnyInspector:
        """The method on the model."""
        return self._basis.inspector

    @property
    def tower(self) -> Tower | None:
        """The second model; None without normal pictures."""
        return self._basis.inspector.tower

    @property
    def method(self) -> Method:
        """The parts of the method that are used, what suits the model included; FiLo uses its `memory_layers` alone."""
        return self._basis.inspector.method

    def __repr__(self) -> str:
        model = f"{self.backbone.name} on {self.backbone.device} in {self.backbone.dtype}"
        return (
            f"<Detector of {self.pack.name}: {model}; {self.shots} normal pictures; "
            f"threshold {self.threshold:.3f} ({self.threshold_source})>"
        )

    def _frames(self, pictures: Iterable[tuple[str, object]], colour: str | None) -> Iterator[tuple[str, Rgb]]:
        """The frames of pictures, and what messages call each."""
        order = self._order(colour)
        for name, picture in pictures:
            frame = to_frame(picture, order, name, BitDepth(self.bits))
            self.check(frame, name)
            yield name, frame

    def _order(self, colour: str | None) -> str:
        return self.colour if colour is None else colour

    def _judge(self, basis: Basis, frames: list[Rgb]) -> list[Judgement]:
        inspections = self._inspect(basis, frames)
        for frame in frames:
            frame.flags.writeable = False
        return [
            Judgement(frame, found, basis.threshold, basis.region_threshold, basis.provisional, self._text.phrases)
            for frame, found in zip(frames, inspections, strict=True)
        ]

    def _inspect(self, basis: Basis, frames: list[Rgb]) -> list[Inspection]:
        with self._using:
            count = len(frames)
            tilings = [self._tiling(basis, (frame.shape[0], frame.shape[1])) for frame in frames]
            found = basis.inspector.inspect(frames, [self._text] * count, [basis.index] * count, tilings)
        return list(found)

    def _enrol(self, pictures: Iterable[tuple[str, object]], colour: str | None = None) -> None:
        with self._using:
            basis = self._basis
            known = {shot.digest: "a normal picture that is enrolled" for shot in basis.shots}
            inspector, shape, shots = basis.inspector, basis.shape, list(basis.shots)
            for _, frame, digest in _distinct(self._frames(pictures, colour), known):
                if shape is None:
                    shape = frame.shape[0], frame.shape[1]
                    inspector = self._inspector(self._load_tower())
                tiling = self._tiling(basis, shape)
                texts = tuple(inspector.text_scores(tile, self._text) for tile in tiling.cut(frame))
                shots.append(Shot(digest, inspector.remember(frame, shape, tiling), texts, structure_of(frame)))
            assert shape is not None  # there is a picture
            self._basis = basis.with_shots(inspector, shots, shape, tiling)

    def _tiling(self, basis: Basis, size: tuple[int, int]) -> Tiling:
        """How a picture of `size` (height, width) is cut: as the normal ones are."""
        return tiling_of(self.tiles, self.overlap, size if basis.shape is None else basis.shape)

    def _inspector(self, tower: Tower | None = None) -> AnyInspector:
        if isinstance(self._method, FiloHead):
            return Filo(self.backbone, self._method, tower=tower)
        return Alfa(self.backbone, self._method, patches=True, tower=tower)

    def _texts(self, inspector: AnyInspector) -> Texts:
        if isinstance(inspector, Filo):
            return inspector.texts(self.pack)
        assert isinstance(inspector, Alfa)
        return inspector.text(self._compiled())

    def _load_tower(self) -> Tower | None:
        name = self._tower
        if name == "auto":
            name = LITE0 if self.backbone.name.startswith(BUNDLED) else None
        if name in (None, "none") or self.method.few_shot == "alfa":
            return None
        if isinstance(name, Tower):
            return name
        try:
            return load_tower(name, device=str(self.backbone.device), store=self._store)
        except ModelError as error:
            raise ModelError(f"{error}; or do without a tower, None") from error

    def _compiled(self) -> CompiledPack:
        """What the model makes of the pack. A large text tower takes long, so that what it says is kept."""
        if self.backbone.name.startswith((BUNDLED, UNTRAINED)):
            return compile_pack(self.backbone, self.pack)
        return CompiledPacks(self._store.root / COMPILED).get(self.backbone, self.pack)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _distinct(frames: Iterable[tuple[str, Rgb]], known: dict[str, str]) -> Iterator[tuple[str, Rgb, str]]:
    """The frames with their digests; ValueError for one that is in `known`, which they are added to."""
    for name, frame in frames:
        digest = hashlib.sha256(repr(frame.shape).encode() + frame.tobytes()).hexdigest()
        if digest in known:
            raise DetectorError(f"{name} is the same picture as {known[digest]}; leave it out, each part counts once")
        known[digest] = name
        yield name, frame, digest
