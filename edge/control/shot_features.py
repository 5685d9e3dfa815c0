"""The features of recipes' shots: made on the device one view at a time, kept in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from core.bank.augment import augment, variants
from core.bank.memory import Index, Memory
from core.bank.memory_bank import FeaturesOfOthersError, Shot
from core.bank.tiled_index import AnyIndex, TiledIndex
from core.encoding import Encoding, encoding_of
from core.image import Rgb
from core.inspector import AnyInspector
from core.steps import Steps
from core.tiles import WHOLE, Tiling, tiling_of
from edge.inference import Inference
from edge.inspection.recipe import LoadedRecipe
from edge.ops.logs import line_log
from edge.storage.recipe_tables import recipe_of_key
from edge.storage.settings_database import SettingsDatabase

T = TypeVar("T")

ShotView = tuple[Shot, int, Memory]
"""A shot, the variant of its picture, and the features of that."""


class ShotFeatures:
    """Makes and reads the features of shots, for the thread that changes the recipe's shots.

    The device's thread gets one pass at a time, so that the parts of all lines are judged in between; the database's
    thread gets jobs that only write.
    """

    def __init__(self, scorer: Inference, database: SettingsDatabase) -> None:
        self._scorer = scorer
        self._database = database

    def ask(self, inspector: AnyInspector, work: Callable[[AnyInspector], T]) -> T:
        """What `work` makes of a method in the device's thread; it is short, as parts wait meanwhile."""
        return self._scorer.ask(inspector, work).result()

    def make(self, recipe: LoadedRecipe, image: Rgb) -> dict[int, Memory]:
        """Of a picture and, as the recipe's settings want, of it turned and mirrored; on the CPU.

        Raises:
            TilingError: the picture is too small for the recipe's tiles.
        """
        shape = self._shape(recipe, image)
        tiling = self._tiling(recipe, shape)
        found = {}
        for variant in variants(recipe.settings.shots.augment):
            view = augment(image, variant)
            remember = partial(type(recipe.inspector).remember, frame=view, shape=shape, tiling=tiling)
            found[variant] = self.ask(recipe.inspector, remember)
        return found

    def encoding(self, recipe: LoadedRecipe, image: Rgb | None = None) -> Encoding:
        """What the recipe's features are made by; for one that has no shot yet, those of `image`."""
        shape = self._shape(recipe, image)
        return encoding_of(recipe.inspector, shape, self._tiling(recipe, shape))

    def views(self, recipe: LoadedRecipe) -> list[ShotView]:
        """The features of the recipe's shots: those that others made, or that are not there, are made anew first.

        So are those of shots that lack a view that the recipe's settings want; views that they do not are left out.

        Raises:
            BankError: a shot's picture or features are damaged.
        """
        encoding = self.encoding(recipe)
        wanted = set(variants(recipe.settings.shots.augment))

        try:
            found = self._database.read(lambda tables: tables.bank.memory(recipe.key, encoding))
            wanted_views = [view for view in found if view[1] in wanted]
            if len(wanted_views) == len(wanted) * len({shot.id for shot, _, _ in found}):
                return wanted_views
            line_log(__name__, recipe_of_key(recipe.key)[0]).info("views of shots are made from their pictures")
        except FeaturesOfOthersError:
            line_log(__name__, recipe_of_key(recipe.key)[0]).warning(
                "the shots were embedded by another model or method, or in other tiles, than are used now: "
                "their features are made anew from the kept pictures, which takes a moment for each, once"
            )
        self.embed_missing(recipe)
        found = self._database.read(lambda tables: tables.bank.memory(recipe.key, encoding))
        return [view for view in found if view[1] in wanted]

    def embed_missing(self, recipe: LoadedRecipe) -> list[Shot]:
        """Makes the features of shots that have none of this model, or damaged ones, anew from the kept pictures."""
        encoding, wanted = self.encoding(recipe), variants(recipe.settings.shots.augment)
        missing = self._database.read(lambda tables: tables.bank.missing(recipe.key, encoding, wanted))
        for shot in missing:
            self._embed(recipe, shot.id, encoding)
        return missing

    def _embed(self, recipe: LoadedRecipe, shot: int, encoding: Encoding) -> None:
        features = self.make(recipe, self.picture(shot))
        self._database.run(lambda tables: tables.bank.embed(shot, features, encoding))

    def picture(self, shot: int) -> Rgb:
        """The picture of a shot.

        Raises:
            BankError: there is no such shot, or its picture is damaged.
        """
        return self._database.read(lambda tables: tables.bank.image(shot))

    def index(self, recipe: LoadedRecipe, views: Sequence[ShotView]) -> AnyIndex | None:
        """What the recipe's parts are compared with; None without views."""
        shape = self._shape(recipe)
        if not views or shape is None:
            return None
        memories, owners = [memory for _, _, memory in views], [shot.id for shot, _, _ in views]
        limit = recipe.settings.shots.limit
        tiling = self._tiling(recipe, shape)
        inspector = recipe.inspector
        steps = inspector.index_in_steps(memories, owners, shape, limit=limit, tiling=tiling)
        return self._in_steps(inspector, steps)

    def sees(self, inspector: AnyInspector, index: AnyIndex | None) -> tuple[int, int]:
        """Height and width of the model's finest input, pixels, where parts are compared with `index`."""
        tile = None if index is None else index.tiles[0].shape
        return inspector.backbone.pixels.size if tile is None else inspector.feature_maps(tile).sees

    def size(self, recipe: LoadedRecipe) -> tuple[int, int] | None:
        """Height and width of the recipe's pictures, pixels, as its shots or its region tell; else None."""
        roi = recipe.settings.roi
        return self._shape(recipe) or (None if roi is None else (roi.height, roi.width))

    def without(self, recipe: LoadedRecipe, shot: int) -> AnyIndex | None:
        """The index of the recipe's other shots, taken from that of all of them: nothing is thinned for each anew."""
        index = recipe.index
        if index is not None and (others := self.ask(recipe.inspector, lambda _: index.without(shot))) is not None:
            return others
        # So few features are kept that all of a kind are the shot's own.
        return self.index(recipe, [view for view in self.views(recipe) if view[0].id != shot])

    def hear(self, recipe: LoadedRecipe, index: AnyIndex | None, basis: tuple[str, str]) -> AnyIndex | None:
        """`index` with what the text side says of the shots; the database keeps that, as each shot takes a pass.

        Args:
            recipe: Whose prompts are used.
            index: Of the recipe's shots.
            basis: What the scores depend on besides the shot, as `SettingsTables.shot_texts` takes it.
        """
        if index is None:
            return None
        tiles = [self._hear(place, tile, index.tiling, recipe, basis) for place, tile in enumerate(index.tiles)]
        return TiledIndex(index.tiling, tuple(tiles)) if index.tiling.count > 1 else tiles[0]

    def _hear(self, place: int, tile: Index, tiling: Tiling, recipe: LoadedRecipe, basis: tuple[str, str]) -> Index:
        """The index of one place of a tile, with the text side."""
        if tile.evidence is None:
            return tile
        texts = [self._text_scores(shot, place, tiling, recipe, basis) for shot in tile.evidence.owners]
        return self.ask(recipe.inspector, lambda inspector: inspector.hear(tile, texts))

    def _text_scores(
        self, shot: int, place: int, tiling: Tiling, recipe: LoadedRecipe, basis: tuple[str, str]
    ) -> tuple[float, float]:
        if tiling.name:
            basis = f"{basis[0]} {tiling.name} {place}", basis[1]
        kept = self._database.run(lambda tables: tables.shot_texts(shot, *basis))
        if kept is not None:
            return kept
        tile = tiling.cut(self.picture(shot))[place]
        scores = self.ask(recipe.inspector, lambda inspector: inspector.text_scores(tile, recipe.text))
        self._database.run(lambda tables: tables.keep_shot_texts(shot, *basis, scores))
        return scores

    def _tiling(self, recipe: LoadedRecipe, shape: tuple[int, int] | None) -> Tiling:
        """How the recipe's pictures are cut, by the shape of all of them."""
        settings = recipe.settings
        return WHOLE if shape is None else tiling_of(settings.tiles, settings.overlap, shape)

    def _shape(self, recipe: LoadedRecipe, image: Rgb | None = None) -> tuple[int, int] | None:
        """Height and width of the pictures that the recipe's feature maps are made for."""
        shape = self._database.run(lambda tables: tables.bank.shape(recipe.key))
        if shape is None and image is not None:
            shape = (image.shape[0], image.shape[1])
        return shape

    def _in_steps(self, inspector: AnyInspector, steps: Steps[T]) -> T:
        """The result of `steps`, each of them done in the device's thread when it is its turn."""
        result: list[Any] = []

        def step(_inspector: AnyInspector) -> bool:
            try:
                next(steps)
            except StopIteration as end:
                result.append(end.value)
            return not result

        while self.ask(inspector, step):
            pass
        return result[0]  # type: ignore[no-any-return]
