"""What is set of a model by hand, in place of what its tag, its record or its architecture says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from core.model_error import ModelError


@dataclass(frozen=True)
class Overrides:
    """Settings of a model that are set by hand; None: as the model has it.

    Attributes:
        image_size: Height and width of the input, pixels, or one for both; multiples of the patch. At another size than
            the model's own the position embeddings are interpolated.
        mean: Of the input's channels, RGB, in [0, 1].
        std: Of the input's channels, RGB, above 0.
        quick_gelu: Whether the activation is QuickGELU, as in OpenAI's models, or GELU.

    Raises:
        ModelError: a value is outside its range.
    """

    image_size: int | tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    quick_gelu: bool | None = None

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and (len(values) != 3 or not all(map(math.isfinite, values))):
                raise ModelError(f"{name} {list(values)}: name three finite numbers, for red, green and blue")
        if self.std is not None and min(self.std) <= 0:
            raise ModelError(f"std {list(self.std)}: each has to be above 0")

    @property
    def settings(self) -> dict[str, Any]:
        """Those of them that weights bring along, under open_clip's names, as far as they are set."""
        found = {"mean": self.mean, "std": self.std, "quick_gelu": self.quick_gelu}
        return {key: value for key, value in found.items() if value is not None}

    def size(self, native: tuple[int, int], patch: int, name: str) -> tuple[int, int] | None:
        """The input's height and width where they are not the model's own, else None.

        Args:
            native: The size that the model was made for, pixels.
            patch: Side of its patches, pixels.
            name: Of the model, for messages.

        Raises:
            ModelError: it is no multiple of the patch.
        """
        if self.image_size is None:
            return None
        asked = (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size
        height, width = asked
        if min(asked) < patch or height % patch or width % patch:
            near = " x ".join(str(max(1, round(side / patch)) * patch) for side in asked)
            raise ModelError(
                f"image size {height} x {width}: the patches of {name} are {patch} pixels wide; use multiples of that, "
                f"for instance {near}"
            )
        return None if (height, width) == native else (height, width)


NONE = Overrides()
