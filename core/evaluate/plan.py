"""What an evaluation is to run: the ways to score, the numbers of shots, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from core.evaluate.few_shot import FewShot
from core.method import Method


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
    """FiLo's scores in the place of the method's."""

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
