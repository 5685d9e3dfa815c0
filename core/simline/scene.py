"""A part in its place: what the camera looks at, layer upon layer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from core.simline.board import Board, Colour, Field, Picture


@dataclass(frozen=True, eq=False)
class Scene:
    """A part on its background.

    Attributes:
        board: The part's place and coordinates.
        picture: float32 [size, size, 3], RGB, about 0..255, evenly lit.
        background: As above, without the part.
        surface: float32 [size, size], coverage of the part in [0, 1].
        features: Components that can be out of place: column, row and radius in pixels.
    """

    board: Board
    picture: Picture
    background: Picture
    surface: Field
    features: tuple[tuple[float, float, float], ...] = field(default=())

    def lay(self, coverage: Field, colour: Colour | Picture, gain: Field | float = 1.0) -> Scene:
        """With a layer of the part on top: `colour` times `gain` where `coverage` is above 0."""
        return replace(
            self,
            picture=paint(self.picture, coverage, colour, gain),
            surface=np.maximum(self.surface, coverage),
        )

    def cut(self, coverage: Field) -> Scene:
        """With an opening through which the background is seen."""
        return replace(
            self,
            picture=paint(self.picture, coverage, self.background),
            surface=self.surface * (1.0 - coverage),
        )

    def mark(self, coverage: Field, colour: Colour | Picture, gain: Field | float = 1.0) -> Scene:
        """With print or another layer on the part alone; its outline stays."""
        return replace(self, picture=paint(self.picture, coverage * self.surface, colour, gain))

    def shade(self, gain: Field) -> Scene:
        """With the part, not the background, brighter by `gain`."""
        change = (1.0 + self.surface * (gain - 1.0)).astype(np.float32, copy=False)
        return replace(self, picture=self.picture * change[..., None])

    def shadow(self, coverage: Field, depth: float) -> Scene:
        """With the background darker by `depth` (0..1) where `coverage` is above 0."""
        dark = (1.0 - depth * coverage)[..., None]
        return replace(self, picture=self.picture * dark, background=self.background * dark)

    def feature(self, x: float, y: float, radius: float) -> Scene:
        """With a component noted at (x, y) in the part's units."""
        col, row = self.board.pixel(x, y)
        return replace(self, features=(*self.features, (col, row, radius * self.board.unit)))


def paint(picture: Picture, coverage: Field, colour: Colour | Picture, gain: Field | float = 1.0) -> Picture:
    """`picture` with `colour` times `gain` laid over it where `coverage` is above 0."""
    left, top, width, height = cv2.boundingRect((coverage > 0.0).view(np.uint8))
    here = np.s_[top : top + height, left : left + width]  # most layers are small
    layer = np.asarray(colour, np.float32)
    layer = layer[here] if layer.ndim == 3 else layer
    if isinstance(gain, np.ndarray):
        layer = layer * gain[here].astype(np.float32, copy=False)[..., None]
    elif gain != 1.0:
        layer = layer * np.float32(gain)
    painted = picture.astype(np.float32)
    painted[here] += coverage[here].astype(np.float32, copy=False)[..., None] * (layer - painted[here])
    return painted


def table(board: Board, colour: Colour, texture: Field | float = 0.0) -> Scene:
    """An empty background."""
    picture = np.empty((board.size, board.size, 3), np.float32)
    picture[:] = np.asarray(colour, np.float32)
    if isinstance(texture, np.ndarray):
        picture += texture[..., None]
    return Scene(board, picture, picture, np.zeros((board.size, board.size), np.float32))


def sheet(board: Board, colour: Colour | Picture, gain: Field) -> Scene:
    """A surface that fills the picture."""
    flat = np.empty((board.size, board.size, 3), np.float32)
    flat[:] = np.asarray(colour, np.float32)
    picture = flat * gain.astype(np.float32, copy=False)[..., None]
    return Scene(board, picture, np.full_like(picture, 12.0), np.ones((board.size, board.size), np.float32))
