"""The settings of one product on a line: what is looked at, by what, and when a part is anomalous."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edge.settings_method import MethodSettings
from edge.settings_section import Label, Section, shows_as_itself

FIRST = 1
"""The number of a line's first recipe, which the configuration describes."""
FIRST_NAME = "default"
"""Its name."""
MOST_NUMBER = 65_535
"""The largest number of a recipe: controllers have 16 bits for it."""


def _is_recipe_name(name: str) -> str:
    shows_as_itself(name)
    if name != name.strip() or "/" in name or name.startswith("-") or re.fullmatch(r"[0-9]+|\.+", name):
        raise ValueError(
            f"{name!r} is no name of a recipe: digits alone are a number, and it has no / in it, no - at its beginning "
            "and no space at its ends"
        )
    return name


RecipeName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_is_recipe_name)]
RecipeNumber = Annotated[int, Field(ge=1, le=MOST_NUMBER)]


class HealthSettings(Section):
    """When a frame is not judged. Each check answers the part with an `error`; 0 switches it off."""

    frozen_s: float = Field(default=10.0, ge=0, le=3600)
    """Seconds after which frames that are equal to the last bit mean that the picture stands still."""
    dark: float = Field(default=4.0, ge=0, le=255)
    """A frame whose mean brightness (0..255) is below it is black."""
    bright: float = Field(default=251.0, ge=0, le=255)
    """A frame whose mean brightness (0..255) is above it is white."""
    blur: float = Field(default=0.0, ge=0)
    """A frame whose sharpness (variance of the Laplacian, as `alfa-edge status` shows it) is below it is blurred."""
    torn: bool = True
    """Refuse frames whose lower part is missing: one row repeated to the bottom."""
    size: tuple[int, int] | None = None
    """Width and height that frames must have, pixels. Default: any."""
    flat: bool = True
    """Refuse pictures whose inspected region shows nothing, files' too: it is even but for noise, a test picture, or
    nothing in it is sharp. Switch it off for parts that are really so plain."""
    saturated: float = Field(default=0.3, ge=0, le=1)
    """Share of the inspected region that may be saturated beyond what is in the shots; 0 or 1: it is not looked at."""
    enrolled_size: bool = True
    """Refuse frames of another size than all shots have, where the whole frame is inspected."""


class Roi(Section):
    """The inspected region of the frame, pixels."""

    x: int = Field(ge=0)
    """Left edge."""
    y: int = Field(ge=0)
    """Top edge."""
    width: int = Field(ge=16)
    """Width."""
    height: int = Field(ge=16)
    """Height."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height, self.width


class ShotSettings(Section):
    """How the normal shots of a line are used."""

    augment: Literal["none", "flips", "rotations", "all", "angles"] = "none"
    """Each shot also mirrored, or turned by quarters, or both, or (`angles`) by every 30 degrees, where parts come like
    that: 1, 3, 4, 8 or 12 views of it."""
    limit: int = Field(default=20_000, ge=1, le=100_000)
    """The most features of a kind that a part is compared with; more are thinned to a coreset."""


MOST_TILES = 64
"""Of a frame; the same as of `core.tiles`, without its imports."""


def _not_too_many(tiles: tuple[int, int]) -> tuple[int, int]:
    if tiles[0] * tiles[1] > MOST_TILES:
        raise ValueError(f"{tiles[0]} x {tiles[1]} tiles are more than {MOST_TILES}; each is a row of the pass")
    return tiles


_Count = Annotated[int, Field(ge=1, le=MOST_TILES)]


class RecipeSettings(Section):
    """A product: what is looked at, what it is compared with, and when a part is anomalous."""

    pack: str = Field(default="generic", min_length=1, max_length=4096)
    """Name of a prompt pack, or the path of a pack file."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """A part whose score is at or above it is anomalous."""
    threshold_source: Label = "uncalibrated"
    """Where the threshold comes from; every verdict says it. With `uncalibrated` the verdicts are provisional."""
    pixel_threshold: float | None = Field(default=None, ge=0, le=1)
    """Heatmap values at or above it form regions. Default: the threshold."""
    shots: ShotSettings = ShotSettings()
    """Its normal shots."""
    expected_defects: float = Field(default=0.02, ge=0, lt=1)
    """Share of parts that are really defective, at most: alarms up to it are no drift."""
    roi: Roi | None = None
    """The inspected region. Default: the whole frame."""
    tiles: Literal["auto"] | Annotated[tuple[_Count, _Count], AfterValidator(_not_too_many)] = (1, 1)
    """Rows and columns into which the inspected region is cut, for defects that are small in it. Each tile is seen at
    the model's full size, and takes as long as a part without tiles. `auto` cuts along the longer side, into nearly
    square tiles. `alfa-edge doctor` says the smallest defect that is seen. Other tiles need a new calibration."""
    overlap: float = Field(default=0.2, ge=0, le=0.5)
    """What neighbouring tiles share, in shares of a tile's side."""
    health: HealthSettings = HealthSettings()
    """When a frame is not judged."""
    method: MethodSettings | None = None
    """The method that judges, all of it. Default: that of the table `method`."""
    note: str = Field(default="", max_length=500)
    """What there is to say of the product."""

    @property
    def inspected_size(self) -> tuple[int, int] | None:
        """Height and width of the pictures that are inspected, pixels; None where no setting tells."""
        if self.roi is not None:
            return self.roi.size
        return None if self.health.size is None else (self.health.size[1], self.health.size[0])
