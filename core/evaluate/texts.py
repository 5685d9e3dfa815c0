"""What the variants of an evaluation say: each set of prompts is embedded once for a pack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.evaluate.plan import Variant
from core.packs.pack import PromptPack, winclip_prompts


class VariantTexts:
    """The text features of variants; those with the same prompts share them.

    Args:
        scorers: Of each variant.
        variants: In the same order.
    """

    def __init__(self, scorers: Sequence[Alfa], variants: Sequence[Variant]) -> None:
        self._scorers = scorers
        self._variants = variants
        self._made: dict[tuple[str, bool, bool, bool], TextFeatures] = {}

    def of(self, pack: PromptPack, variants: Iterable[int]) -> dict[int, TextFeatures]:
        """By the place of a variant, for those that are not FiLo's, which has its own."""
        return {index: self._of(index, pack) for index in variants if not self._variants[index].filo}

    def _of(self, index: int, pack: PromptPack) -> TextFeatures:
        variant = self._variants[index]
        key = (pack.sha256, variant.winclip_prompts, variant.method.llm_prompts, variant.method.unit_prompts)
        if key not in self._made:
            prompts = winclip_prompts(pack.class_name) if variant.winclip_prompts else pack.prompts(key[2])
            self._made[key] = self._scorers[index].embed(prompts)
        return self._made[key]
