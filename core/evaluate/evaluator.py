"""Runs the settings of an evaluation over a data set: each picture is encoded once, and scored by all of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.bank.memory import Memory, distances, reference_map, remember
from core.evaluate.cache import FeatureCache
from core.evaluate.datasets import DataClass, MaskSurvey, Sample, read_mask
from core.evaluate.few_shot import MapStore, judge_of, median_shape, mutual_judge, to_numpy, views
from core.evaluate.filo_scores import FiloScores
from core.evaluate.map_cache import MapCache, View
from core.evaluate.plan import Plan, held_out
from core.evaluate.result import ClassResult, Picture
from core.evaluate.setting import FALSE_ALARM_RATE as FALSE_ALARM_RATE
from core.evaluate.setting import Score, Setting, finite, run_of
from core.evaluate.texts import VariantTexts
from core.heatmap import to_frame
from core.image import ImageError, read
from core.packs.pack import PromptPack
from core.printable import encodable
from core.regions import grown
from core.tiles import WHOLE, Tiling, TilingError, tiling_of
from core.vision import Features

CALIBRATION = 50
"""Good training pictures that the operating threshold comes from, at most; none of them is a shot."""


class ClassEvaluator:
    """Evaluates one class of a data set.

    Args:
        alfa: What encodes; its method is the first variant's.
        cache: Where the features are.
        plan: What to run.
        scored: Called after each picture.
        store: Where the feature maps are, for variants that compare them.
        filo: What scores in the variants that are FiLo's.
    """

    def __init__(
        self,
        alfa: Alfa,
        cache: FeatureCache,
        plan: Plan,
        scored: Callable[[], None],
        store: MapStore | None = None,
        filo: FiloScores | None = None,
    ) -> None:
        self._scorers = [alfa, *(alfa.with_method(variant.method) for variant in plan.variants[1:])]
        self._cache = cache
        self._plan = plan
        self._scored = scored
        self._store = store
        self._filo, self._only_filo = filo, all(variant.filo for variant in plan.variants)
        self._maps: MapCache | None = None  # of the class at hand
        self._tiling = WHOLE  # the same
        self._tilings: dict[Path, Tiling] = {}
        self._mutual: dict[str, NDArray[np.float32]] = {}  # maps of pictures that were scored by each other
        self._sizes: dict[Path, tuple[int, int]] = {}
        self._texts = VariantTexts(self._scorers, plan.variants)

    def evaluate(self, data: DataClass, pack: PromptPack, root: Path) -> ClassResult:
        """The result of one class; pictures and masks that cannot be read are named in it and left out."""
        broken: list[str] = []
        survey = MaskSurvey()
        test = [sample for sample in data.test if self._readable(sample, survey, broken)]
        train = [path for path in data.train if _opens(path, broken)]
        self._tiling = self._choose_tiling([sample.path for sample in test])
        test = [sample for sample in test if self._fits(sample.path, broken)]
        train = [path for path in train if self._fits(path, broken)]
        most = max(self._plan.shots)
        notes = [*data.notes, *(() if self._filo is None else self._filo.notes_on(data.name))]
        if most and not train:
            train = held_out(data.name, test, self._plan.shots, notes)
            test = [sample for sample in test if sample.path not in set(train)]
        notes += [
            f"Not run with {count} shots: the good pictures for them are only {len(train)}."
            for count in self._plan.shots
            if count > len(train)
        ]
        drawn = [
            random.Random(f"{data.name}:{seed}").sample(train, min(most, len(train))) for seed in self._seeds(most)
        ]
        shots = sorted({path for paths in drawn for path in paths})
        rest = [path for path in train if path not in set(shots)]
        normals = sorted(random.Random(f"{data.name}:calibration").sample(rest, min(CALIBRATION, len(rest))))
        digests = self._encode([*(sample.path for sample in test), *shots, *normals], pack)
        texts = self._texts.of(pack, range(len(self._scorers)))
        settings = list(self._settings(drawn, shots))
        plain = any(setting.shots and self._plan.variants[setting.variant].few is None for setting in settings)
        memories = self._remember([digests[path] for path in shots] if plain else [])
        tests = [View(sample.path, digests[sample.path]) for sample in test]
        self._ready(settings, texts, tests, [View(path, digests[path]) for path in (*shots, *normals)])
        for path in normals:
            scored = finite(path, self._score(digests[path], texts, memories, settings))
            for setting, (score, patch_map) in zip(settings, scored, strict=True):
                setting.normals.append(score)
                setting.peaks.append(float(patch_map.max()))
            self._scored()
        pictures = []
        for sample in test:
            mask = read_mask(sample, self._plan.resolution, self._sizes[sample.path], survey.inverted)
            pictures.append(self._take(sample, mask, digests[sample.path], texts, memories, settings, root))
            self._scored()
        names = [name_of(path, root) for path in shots]
        return ClassResult(
            name=data.name,
            layout=data.layout,
            pack=pack.name,
            pack_version=pack.version,
            pack_sha256=pack.sha256,
            train=len(train),
            pictures=tuple(pictures),
            broken=tuple(broken),
            masks_inverted=survey.inverted,
            notes=(*notes, *survey.notes(root)),
            runs=tuple(
                run_of(setting, self._plan.variants[setting.variant].name, pictures, names) for setting in settings
            ),
        )

    def heatmap(
        self, paths: Sequence[Path], pack: PromptPack, variant: str, shots: Sequence[Path] = ()
    ) -> list[NDArray[np.float32]]:
        """The maps [rows, cols] of pictures by a variant, zero-shot or with `shots`; for the report."""
        index = next(place for place, one in enumerate(self._plan.variants) if one.name == variant)
        self._tiling = self._tilings.get(paths[0], WHOLE) if paths else WHOLE
        digests = {path: self._encode([path], pack)[path] for path in (*paths, *shots)}
        if self._plan.variants[index].mutual:
            return [self._mutual[digests[path]] for path in paths]
        texts = self._texts.of(pack, [index])
        setting = Setting(index, tuple(range(len(shots))), 0)
        tests, known = ([View(path, digests[path]) for path in some] for some in (paths, shots))
        self._ready([setting], texts, tests, known)
        memories = self._remember([view.digest for view in known] if not setting.judges else [])
        return [self._score(digests[path], texts, memories, [setting])[0][1] for path in paths]

    def _encode(self, paths: Sequence[Path], pack: PromptPack) -> dict[Path, str]:
        """Has what the variants score by of all `paths`; returns the SHA-256 of each."""
        digests = self._cache.digests(paths) if self._only_filo else self._cache.encode(paths, self._tiling)
        if self._filo is not None:
            self._filo.inspect(digests, pack)
        return digests

    def _choose_tiling(self, paths: Sequence[Path]) -> Tiling:
        """The tiling of a class: by the shape of most of its pictures."""
        shape = median_shape([self._size(path) for path in paths]) if paths else (1, 1)
        tiling = tiling_of(self._plan.tiles, self._plan.overlap, shape)
        self._tilings.update(dict.fromkeys(paths, tiling))
        return tiling

    def _fits(self, path: Path, broken: list[str]) -> bool:
        """Whether a picture is large enough for its tiles."""
        try:
            if self._tiling.count > 1:
                self._tiling.tile_size(self._size(path))
        except TilingError as error:
            broken.append(f"{path}: {error}")
            return False
        return True

    def _size(self, path: Path) -> tuple[int, int]:
        if path not in self._sizes:
            height, width = read(path).shape[:2]
            self._sizes[path] = (height, width)
        return self._sizes[path]

    def _ready(
        self,
        settings: Sequence[Setting],
        texts: Mapping[int, TextFeatures],
        tests: Sequence[View],
        train: Sequence[View],
    ) -> None:
        """Has the feature maps of all pictures, and gives each setting that compares them its judge.

        The shots of a setting are indices into `train`.
        """
        self._maps = None
        asked = [(setting, few) for setting in settings if (few := self._plan.variants[setting.variant].few)]
        asked = [one for one in asked if one[0].shots or one[1].scorer == "mutual"]
        if not asked or self._store is None:
            return
        used = [train[index] for index in sorted({index for setting, _ in asked for index in setting.shots})] or tests
        self._maps = self._store.cache(asked[0][1], [self._size(view.path) for view in used], self._tiling)
        self._maps.encode([*tests, *train])
        for view in used:
            self._maps.encode(views(asked[0][1], view.path, view.digest)[1:])
        for setting, few in asked:
            if few.scorer == "mutual":
                setting.judges = tuple(mutual_judge(few, self._maps, tests, place) for place in self._places)
                continue
            chosen = [train[index] for index in setting.shots]
            shots = [views(few, one.path, one.digest) for one in chosen]
            known = [self._load(one.digest) for one in chosen]
            judges = []
            for place in self._places:
                said = [
                    self._said(self._zero_shots([setting.variant], place, features, one.digest, texts)[setting.variant])
                    for one, features in zip(chosen, known, strict=True)
                ]
                judges.append(judge_of(few, self._maps, shots, torch.cat(said), place))
            setting.judges = tuple(judges)

    @property
    def _places(self) -> range:
        """Of tiles."""
        return range(self._tiling.count)

    @staticmethod
    def _said(zero: tuple[Tensor, Tensor | None]) -> Tensor:
        """What the text side says of a picture: S_G and, with windows, the largest S~_L; [1, 1] or [1, 2]."""
        s_global, s_local = zero
        return s_global if s_local is None else torch.cat([s_global, s_local.amax(-1, keepdim=True)], -1)

    def _seeds(self, most: int) -> range:
        return range(self._plan.seeds if most else 0)

    def _settings(self, drawn: Sequence[Sequence[Path]], shots: Sequence[Path]) -> list[Setting]:
        """Every run: the shots of a seed are nested, so that four of them hold the two and the one."""
        settings = []
        variants = list(enumerate(self._plan.variants))
        for count in self._plan.shots:
            if count == 0:
                settings += [Setting(index, (), 0) for index, one in variants if one.at != "few"]
                continue
            for index in (index for index, one in variants if one.at == "few" or (index == 0 and not one.at)):
                for seed, paths in enumerate(drawn):
                    if len(paths) >= count:
                        settings.append(Setting(index, tuple(shots.index(path) for path in paths[:count]), seed))
        return settings

    def _readable(self, sample: Sample, survey: MaskSurvey, broken: list[str]) -> bool:
        try:
            height, width = read(sample.path).shape[:2]
            survey.look(sample, (height, width))
            self._sizes[sample.path] = (height, width)
        except ImageError as error:
            broken.append(str(error))
            return False
        return True

    def _remember(self, digests: Sequence[str]) -> list[Memory]:
        """The features of shots for each place of a tile; nothing without shots."""
        held = [remember(self._cache.load(digest, self._tiling)) for digest in digests]
        memories = []
        for place in self._places if held else ():
            here = [one.take(place) for one in held]
            windows = tuple(torch.cat(scale) for scale in zip(*(one.windows for one in here), strict=True))
            memories.append(Memory(windows, torch.cat([one.patches for one in here])))
        return memories

    @torch.inference_mode()
    def _score(
        self, digest: str, texts: Mapping[int, TextFeatures], memories: Sequence[Memory], settings: Sequence[Setting]
    ) -> list[Score]:
        """S and the patch map [rows, cols] of one picture in each setting; of tiles the largest S, and all maps."""
        features = self._load(digest)
        maps: tuple[Tensor, ...] = ()
        if self._maps is not None and any(setting.judges for setting in settings):
            maps = self._maps.load(View(Path(), digest))
        by_tile = [
            self._score_tile(
                place,
                features,
                [one[place : place + 1] for one in maps],
                digest,
                texts,
                memories[place] if memories else None,
                settings,
            )
            for place in self._places
        ]
        return [
            (max(score for score, _ in tiles), self._tiling.merge([patch_map for _, patch_map in tiles]))
            for tiles in zip(*by_tile, strict=True)
        ]

    def _score_tile(
        self,
        place: int,
        features: Features | None,
        maps: Sequence[Tensor],
        digest: str,
        texts: Mapping[int, TextFeatures],
        memory: Memory | None,
        settings: Sequence[Setting],
    ) -> list[Score]:
        zero = self._zero_shots({setting.variant for setting in settings}, place, features, digest, texts)
        scored = []
        choices = [setting.shots for setting in settings if setting.shots and not setting.judges]
        reference = None
        if choices and memory is not None and features is not None:
            found = distances(features.take([place]), memory).nearest(choices)
            reference = iter(reference_map(found, self._scorers[0].windows)[0].unbind(0))
        for setting in settings:
            filo = self._filo if self._plan.variants[setting.variant].filo else None
            if setting.judges:
                score, patch_map = setting.judges[place](maps, self._said(zero[setting.variant]), digest)
                found_map = to_numpy(patch_map)
                scored.append((float(score.clamp(0, 1)), filo.beside(digest, found_map) if filo else found_map))
                continue
            if filo is not None:
                scored.append(filo.zero_shot(digest))
                continue
            near = next(reference)[None] if setting.shots and reference is not None else None
            scored.append(self._one(setting, zero[setting.variant], near))
        return scored

    def _zero_shots(
        self,
        variants: Iterable[int],
        place: int,
        features: Features | None,
        digest: str,
        texts: Mapping[int, TextFeatures],
    ) -> dict[int, tuple[Tensor, Tensor | None]]:
        """S_G [1, 1] and, with windows, S~_L [1, N] of a tile by variants; of FiLo what image and map say."""
        found: dict[int, tuple[Tensor, Tensor | None]] = {}
        for index in variants:
            if self._plan.variants[index].filo and self._filo is not None:
                found[index] = self._filo.parts(digest)
            elif features is not None:
                zero_shot = self._scorers[index].zero_shot(features.take([place]), texts[index])
                found[index] = (zero_shot.s_global, zero_shot.s_local)
        return found

    def _load(self, digest: str) -> Features | None:
        """Of a picture; None where FiLo alone scores."""
        return None if self._only_filo else self._cache.load(digest, self._tiling)

    def _one(
        self, setting: Setting, zero: tuple[Tensor, Tensor | None], reference: Tensor | None
    ) -> tuple[float, NDArray[np.float32]]:
        alfa, parts = self._scorers[setting.variant], self._plan.variants[setting.variant].parts
        s_global, s_local = zero
        score, s_map = alfa.fuse(s_global, s_local, reference)
        if parts != "both":
            score = s_global if parts == "global" else s_map.amax(-1, keepdim=True)
        patch_map = s_map[0].clamp(0, 1).reshape(alfa.backbone.grid).cpu().numpy()
        return float(score.clamp(0, 1)), patch_map

    def _take(
        self,
        sample: Sample,
        mask: NDArray[np.bool_],
        digest: str,
        texts: Mapping[int, TextFeatures],
        memories: Sequence[Memory],
        settings: Sequence[Setting],
        root: Path,
    ) -> Picture:
        """Scores one test picture in every setting."""
        masked = not sample.anomalous or bool(sample.masks)
        near = grown(mask, self._tiling.grid(self._scorers[0].backbone.grid)) if mask.any() else None
        scored = finite(sample.path, self._score(digest, texts, memories, settings))
        for setting, (score, patch_map) in zip(settings, scored, strict=True):
            heatmap = to_frame(patch_map, self._plan.resolution)
            setting.scores.append(score)
            if self._plan.variants[setting.variant].mutual:
                self._mutual[digest] = patch_map
            setting.hits.append(None if near is None else bool(near.flat[int(heatmap.argmax())]))
            if masked:
                setting.pixels.update(heatmap, mask)
        return Picture(
            path=name_of(sample.path, root),
            anomalous=sample.anomalous,
            defect=sample.defect,
            masked=masked,
            area=float(mask.mean()) if mask.any() else None,
        )


def _opens(path: Path, broken: list[str]) -> bool:
    try:
        read(path)
    except ImageError as error:
        broken.append(str(error))
        return False
    return True


def name_of(path: Path, root: Path) -> str:
    """What a result calls the file: its path below the data set's root."""
    return encodable(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name)
