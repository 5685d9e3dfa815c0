"""What FiLo says of a class of object: its normal states, and its defects at each of the nine positions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from core.filo.positions import POSITIONS
from core.packs.pack import NORMAL_STATES, PromptPack

GENERIC_STATES = ("damaged {}", "broken {}", "{} with flaw", "{} with defect", "{} with damage")


@dataclass(frozen=True)
class Wording:
    """The sentences of one pack, without the learned context that stands before them.

    Attributes:
        noun: The class of object.
        normal: The normal sentences.
        abnormal: S x 9 abnormal sentences: each state at each position, position fastest.
        descriptions: Of the S states, in words for people: the pack's own phrase, or a generic state.
        defects: Of the S states the kind of defect, a key of the pack's `[defects]`; empty for a generic one.
    """

    noun: str
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    descriptions: tuple[str, ...]
    defects: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """SHA-256, hexadecimal, of all of it."""
        said = json.dumps([self.normal, self.abnormal, self.descriptions, self.defects])
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def phrases(self) -> tuple[str, ...]:
        """The pack's own phrases, which are the first states."""
        return tuple(text for text, kind in zip(self.descriptions, self.defects, strict=True) if kind)


def wording_of(pack: PromptPack) -> Wording:
    """The sentences of a pack."""
    noun = pack.class_name
    told = [(phrase, kind) for kind, phrases in pack.defects.items() for phrase in phrases]
    generic = [state.format(noun) for state in GENERIC_STATES]
    states = [*(f"abnormal {noun} with {phrase}" for phrase, _ in told), *generic]
    return Wording(
        noun=noun,
        normal=tuple(f"{state.format(noun)}." for state in NORMAL_STATES),
        abnormal=tuple(f"{state} at {position}." for state in states for position in POSITIONS),
        descriptions=(*(phrase for phrase, _ in told), *generic),
        defects=(*(kind for _, kind in told), *("" for _ in generic)),
    )


def released_packs(packs: Sequence[PromptPack]) -> list[PromptPack]:
    """For each of `packs` the one whose prompts the release uses: of those with one noun the last.

    The release keeps prompts by noun, so that classes that share it (macaroni1 and macaroni2) share one set.
    """
    last = {pack.class_name: pack for pack in packs}
    return [last[pack.class_name] for pack in packs]
