"""What an evaluation runs: ways to score, numbers of shots, seeds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.alfa import Method
from core.evaluate.datasets import Sample
from core.evaluate.few_shot import FewShot
from core.tiles import OVERLAP, Tiles


@dataclass(frozen=True)
class Variant:
    """A way to score: a method, and which prompts it is given."""

    name: str
    method: Method
    winclip_prompts: bool = False
    parts: str = "both"
    """`both`, or the one part of Eq. 12 that the image score is: `global` or `local`."""
    few: FewShot | None = None
    """How normal shots are compared; None: as in Eq. 12."""
    at: str = ""
    """`zero` or `few`: without or with shots only. Otherwise as `Plan` says."""
    filo: bool = False
    """FiLo's scores in the place of the method's; of whole pictures alone."""

    @property
    def mutual(self) -> bool:
        """Whether pictures score each other, without shots."""
        return self.few is not None and self.few.scorer == "mutual"


@dataclass(frozen=True)
class Plan:
    """What to run. The first variant is run with every number of shots, the others with none, unless they say so."""

    variants: tuple[Variant, ...]
    shots: tuple[int, ...]
    seeds: int
    resolution: tuple[int, int]
    """Height and width at which pixel metrics are taken."""
    tiles: Tiles = (1, 1)
    """Into which the pictures of a class are cut, with the overlap."""
    overlap: float = OVERLAP


def held_out(name: str, test: Sequence[Sample], shots: Sequence[int], notes: list[str]) -> list[Path]:
    """Half of the good test pictures, or as many as the shots take that leave one to be tested; `notes` says so."""
    goods = [sample.path for sample in test if not sample.anomalous]
    count = max(len(goods) // 2, *(count for count in (0, *shots) if count < len(goods)), 0)
    notes.append(f"Held out of the test, for shots and the threshold: {count} of {len(goods)} good pictures.")
    return sorted(random.Random(f"{name}:held out").sample(goods, count))
